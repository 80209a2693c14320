//! torchvision as the judge of names, shapes and numbers: what it said of drawn pictures, with drawn weights, is kept beside
//! this file. Both are drawn by a formula, which `torchvision_reference.py` follows too; so nobody needs torchvision to be
//! judged by it, and where it is there, what is kept is judged as well.

use std::collections::BTreeMap;
use std::process::Command;

use serde::Deserialize;
use tch::{Device, Kind, Tensor, no_grad};
use ursa_domain::recipe::Architecture;
use ursa_python::pytorch;

use super::*;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/network/torchvision_reference.py");
/// How far a logit may be off, whatever its size.
const TOLERANCE: f64 = 1e-4;

/// What torchvision says of the pictures: a row for each.
#[derive(Debug, Deserialize)]
struct Told {
    /// By its own last layer.
    logits: Vec<Vec<f32>>,
    /// With fastai v1's head in place of that.
    with_head: Vec<Vec<f32>>,
}

/// By the name of the network.
fn kept() -> BTreeMap<String, Told> {
    serde_json::from_str(include_str!("torchvision_logits.json")).unwrap()
}

#[test]
fn logits_are_those_of_torchvision_on_the_same_weights() {
    crate::set_threads(1);
    let (kept, images) = (kept(), images());
    for &architecture in Architecture::ALL {
        let told = &kept[architecture.as_str()];
        let mut network = Network::new(architecture, 3, 1, Device::Cpu);
        network.load_body(&state_dict(&network)).unwrap();
        let (weight, bias) = (drawn("fc.weight", &[10, Layers::of(architecture).features()]), drawn("fc.bias", &[10]));
        let logits = no_grad(|| {
            let pooled = network.body.forward(&images, false, Kind::Float).adaptive_avg_pool2d([1, 1]).flatten(1, -1);
            pooled.linear(&weight, Some(&bias))
        });
        assert_close(&format!("{architecture}, logits"), &logits, &tensor(&told.logits));

        let with_head = no_grad(|| {
            let head = network.named().into_iter().filter(|(name, _)| name.starts_with("head."));
            head.for_each(|(name, mut tensor)| tensor.copy_(&drawn(&name, &tensor.size())));
            network.forward(&images, false, Kind::Float)
        });
        assert_close(&format!("{architecture}, with the head of fastai"), &with_head, &tensor(&told.with_head));
    }
}

#[test]
fn what_is_kept_of_torchvision_is_what_it_says() {
    let python = match pytorch() {
        Ok(python) => python,
        Err(reason) => {
            eprintln!("skipped, what is kept was not made again: {reason}");
            return;
        }
    };
    let output = Command::new(&python).arg(SCRIPT).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said: BTreeMap<String, Told> = serde_json::from_slice(&output.stdout).unwrap();
    let kept = kept();
    assert_eq!(said.keys().collect::<Vec<_>>(), kept.keys().collect::<Vec<_>>());
    for (name, told) in &kept {
        assert_close(name, &tensor(&said[name].logits), &tensor(&told.logits));
        assert_close(name, &tensor(&said[name].with_head), &tensor(&told.with_head));
    }
}

/// Numbers in [−1, 1): the tensor's name and the place decide.
fn draw(name: &str, count: usize) -> impl Iterator<Item = f64> + use<> {
    let seed = name.bytes().fold(2_166_136_261_u32, |seed, byte| (seed ^ u32::from(byte)).wrapping_mul(16_777_619));
    (0..count as u32).map(move |place| {
        let mut x = place.wrapping_mul(2_654_435_761).wrapping_add(seed);
        x = (x ^ (x >> 15)).wrapping_mul(2_246_822_519);
        x = (x ^ (x >> 13)).wrapping_mul(3_266_489_917);
        x ^= x >> 16;
        f64::from(x) / f64::from(1_u32 << 31) - 1.0
    })
}

/// A tensor of that name, of such a size that logits are those of a classifier: a few units.
fn drawn(name: &str, shape: &[i64]) -> Tensor {
    let inputs = shape[1..].iter().product::<i64>() as f64;
    let value = |drawn: f64| match shape.len() {
        4 => drawn * (6.0 / inputs).sqrt(),
        2 => drawn * (24.0 / inputs).sqrt(),
        _ if name.ends_with("running_var") => 1.0 + drawn / 2.0,
        _ if name.ends_with("weight") => 0.6 + drawn / 4.0,
        _ => drawn / 10.0,
    };
    let count = shape.iter().product::<i64>() as usize;
    let values: Vec<f32> = draw(name, count).map(|drawn| value(drawn) as f32).collect();
    Tensor::from_slice(&values).view(shape)
}

/// Two pictures of noise, each with colours of its own.
fn images() -> Tensor {
    const PLANE: usize = 96 * 80;
    let levels: Vec<f64> = draw("levels", 6).collect();
    let pixels = draw("images", 6 * PLANE).enumerate();
    let pixels: Vec<f32> = pixels.map(|(place, noise)| (noise + 2.0 * levels[place / PLANE]) as f32).collect();
    Tensor::from_slice(&pixels).view([2, 3, 96, 80])
}

/// A body for that network as torchvision would write it.
fn state_dict(network: &Network) -> Vec<u8> {
    let theirs = network.named().into_iter().filter_map(|(name, tensor)| {
        let name = name.strip_prefix("body.")?.to_owned();
        let value = drawn(&name, &tensor.size());
        Some((name, value))
    });
    tensor_file::write("test", &theirs.collect::<Vec<_>>(), None).unwrap()
}

fn tensor(rows: &[Vec<f32>]) -> Tensor {
    Tensor::from_slice(&rows.concat()).view([rows.len() as i64, -1])
}

fn assert_close(what: &str, found: &Tensor, expected: &Tensor) {
    assert_eq!(found.size(), expected.size(), "{what}");
    let largest = |tensor: &Tensor| tensor.abs().max().double_value(&[]);
    let (scale, off) = (largest(expected), largest(&(found - expected)));
    eprintln!("{what}: off by {off:.1e} of {scale:.2}");
    assert!((1.0..10.0).contains(&scale) && off < TOLERANCE, "{what}: off by {off} of {scale}");
}
