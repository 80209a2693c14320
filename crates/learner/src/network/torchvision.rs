//! torchvision itself, from Python, as the judge of names, shapes and numbers.

use std::path::Path;
use std::process::Command;

use safetensors::SafeTensors;
use tch::{Device, Kind, Tensor, no_grad};
use ursa_domain::recipe::Architecture;
use ursa_python::{Packages, pytorch};

use super::*;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/network/torchvision_peer.py");

#[test]
fn logits_are_those_of_torchvision_on_the_same_weights() {
    let (python, packages) = match (pytorch(), Packages::install(&["safetensors"])) {
        (Ok(python), Ok(packages)) => (python, packages),
        (Err(reason), _) | (_, Err(reason)) => {
            eprintln!("skipped, nothing was compared with torchvision: {reason}");
            return;
        }
    };
    crate::set_threads(1);
    for &architecture in Architecture::ALL {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(&python);
        command.env("PYTHONPATH", packages.folder()).args([SCRIPT, architecture.as_str()]).arg(folder.path());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        compare(architecture, folder.path());
    }
}

fn compare(architecture: Architecture, folder: &Path) {
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let floats = |name: &str, shape: &[i64]| Tensor::from_data_size(&read(name), shape, Kind::Float);
    let state = read("state.safetensors");
    let mut network = Network::new(architecture, 3, 1, Device::Cpu);
    network.load_body(&state).unwrap();
    let images = floats("images", &[3, 3, 96, 80]);

    let file = TensorFile::parse("test", &state).unwrap();
    let features = Layers::of(architecture).features();
    let layer = |name: &str, shape: &[i64]| {
        let mut tensor = Tensor::zeros(shape, (Kind::Float, Device::Cpu));
        file.read_into(name, &mut tensor).unwrap();
        tensor
    };
    let (weight, bias) = (layer("fc.weight", &[1000, features]), layer("fc.bias", &[1000]));
    let logits = no_grad(|| {
        let pooled = network.body.forward(&images, false, Kind::Float).adaptive_avg_pool2d([1, 1]).flatten(1, -1);
        pooled.linear(&weight, Some(&bias))
    });
    close(architecture, "logits", &logits, &floats("logits", &[3, 1000]));

    let head = read("head.safetensors");
    network.load_weights(&whole(&network, &head)).unwrap();
    let ours = no_grad(|| network.forward(&images, false, Kind::Float));
    close(architecture, "logits with the head of fastai", &ours, &floats("ours", &[3, 3]));
}

/// A model file of ours: the network's body with that head.
fn whole(network: &Network, head: &[u8]) -> Vec<u8> {
    let head = SafeTensors::deserialize(head).unwrap();
    let body = network.named().into_iter().filter(|(name, _)| name.starts_with("body."));
    let head = head.tensors().into_iter().map(|(name, view)| {
        let shape: Vec<i64> = view.shape().iter().map(|&side| side as i64).collect();
        (name, Tensor::from_data_size(view.data(), &shape, Kind::Float))
    });
    tensor_file::write("test", &body.chain(head).collect::<Vec<_>>(), None).unwrap()
}

fn close(architecture: Architecture, what: &str, found: &Tensor, expected: &Tensor) {
    let scale = expected.abs().max().double_value(&[]);
    let difference = (found - expected).abs().max().double_value(&[]) / scale;
    eprintln!("{architecture}, {what}: off by {difference:.1e} of {scale:.2}");
    assert!(scale > 0.1 && difference < 1e-4, "{architecture}, {what}: {difference} of {scale}");
}
