//! What is exported, looked at from inside, and computed by a runtime that is not ours.

mod onnx_runtime;
mod structure;

use tch::{Device, Kind, Tensor, no_grad};
use ursa_domain::recipe::Architecture;
use ursa_vision::Preprocessing;

use super::{Description, export};
use crate::network::{HeadKind, HeadSpec, Network};
use crate::randomness::noise;

const SIDE: u32 = 64;

/// A network whose running statistics belong to its weights.
fn network(architecture: Architecture, kind: HeadKind) -> Network {
    crate::set_threads(1);
    let network = Network::with_head(architecture, 3, HeadSpec { kind, dropout: 0.0 }, 5, Device::Cpu);
    no_grad(|| (0..20).for_each(|seed| drop(network.forward(&images(8, seed), true, Kind::Float))));
    network
}

fn images(count: i64, seed: u64) -> Tensor {
    noise(&[count, 3, i64::from(SIDE), i64::from(SIDE)], seed)
}

fn exported(network: &Network) -> Vec<u8> {
    let classes: Vec<String> = ["black", "grizzly", "teddy \"bear\""].map(ToOwned::to_owned).into();
    let preprocessing = Preprocessing::imagenet(SIDE);
    export(network, &Description { name: "bears", classes: &classes, preprocessing: &preprocessing }).unwrap()
}
