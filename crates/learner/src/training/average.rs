//! An exponential average of the weights, which often errs less than any weights of its path (Polyak and Juditsky 1992).

use tch::{Tensor, no_grad};

use crate::LearnError;
use crate::network::Network;
use crate::tensor_file::TensorFile;

/// The average of a network's weights and running statistics.
#[derive(Debug)]
pub(crate) struct WeightAverage {
    decay: f64,
    network: Network,
}

impl WeightAverage {
    pub(crate) fn new(decay: f64, network: &Network) -> Self {
        Self { decay, network: network.duplicate() }
    }

    /// The network with the averaged weights.
    pub(crate) fn network(&self) -> &Network {
        &self.network
    }

    /// Takes in `network` as it is after step number `step` (from 1). The first steps leave less of what was there before: the
    /// start is far from everything that follows.
    pub(crate) fn add(&mut self, network: &Network, step: u64) {
        let keep = self.decay.min((1.0 + step as f64) / (10.0 + step as f64));
        no_grad(|| {
            for ((_, mut average), (_, value)) in self.network.named().into_iter().zip(network.named()) {
                let _ = average.lerp_(&value, 1.0 - keep);
            }
        });
    }

    pub(crate) fn named(&self) -> impl Iterator<Item = (String, Tensor)> {
        self.network.named().into_iter().map(|(name, tensor)| (in_file(&name), tensor))
    }

    pub(crate) fn load(&mut self, file: &TensorFile<'_>) -> Result<(), LearnError> {
        self.network.load_scope(file, in_file)
    }
}

fn in_file(name: &str) -> String {
    format!("average.{name}")
}
