//! Checkpoints: everything a run needs to go on after an epoch as if it had never stopped.
//!
//! One safetensors file: `network.*`, `optimizer.first.*`, `optimizer.second.*`, and in the metadata the position, the
//! history and the identity of the run. Random generators need no state: every draw derives from (seed, position).

use serde::{Deserialize, Serialize};
use tch::Tensor;
use ursa_domain::spec::TrainRecipe;

use crate::LearnError;
use crate::network::Network;
use crate::optimizer::Adam;
use crate::tensor_file::{self, TensorFile};
use crate::training::EpochReport;

const WHAT: &str = "the checkpoint";
const FORMAT: u32 = 1;

/// What makes two runs the same run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunIdentity {
    /// How it trains.
    pub recipe: TrainRecipe,
    /// What it tells apart.
    pub classes: Vec<String>,
    /// Digest of the snapshot it learns from.
    pub snapshot: String,
}

impl RunIdentity {
    fn check(&self, expected: &Self) -> Result<(), LearnError> {
        let differs = |what| Err(LearnError::DifferentRun { what });
        if self.recipe != expected.recipe {
            return differs("the recipe");
        }
        if self.classes != expected.classes {
            return differs("the list of classes");
        }
        if self.snapshot != expected.snapshot {
            return differs("the snapshot");
        }
        Ok(())
    }
}

/// Where a run stands between two epochs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Position {
    /// Epochs done.
    pub epochs: u32,
    /// Batches done.
    pub steps: u64,
    /// Steps of the present optimizer.
    pub optimizer_steps: u64,
    /// State of the loss average.
    pub smooth: (f64, u64),
    /// What each epoch gave.
    pub history: Vec<EpochReport>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: u32,
    identity: RunIdentity,
    position: Position,
}

pub(crate) fn write(
    identity: &RunIdentity,
    position: Position,
    network: &Network,
    optimizer: &Adam,
) -> Result<Vec<u8>, LearnError> {
    let header = Header { format: FORMAT, identity: identity.clone(), position };
    let header = serde_json::to_string(&header).map_err(|error| malformed(&error))?;
    let network = network.named().into_iter().map(|(name, tensor)| (network_name(&name), tensor));
    let tensors: Vec<(String, Tensor)> = network.chain(optimizer.named()).collect();
    tensor_file::write(WHAT, &tensors, Some(header))
}

/// A checkpoint whose identity has been checked.
#[derive(Debug)]
pub(crate) struct Checkpoint<'a> {
    file: TensorFile<'a>,
    pub(crate) position: Position,
}

impl<'a> Checkpoint<'a> {
    pub(crate) fn parse(bytes: &'a [u8], expected: &RunIdentity) -> Result<Self, LearnError> {
        let file = TensorFile::parse(WHAT, bytes)?;
        let header = file.metadata().ok_or_else(|| malformed(&"it has no header"))?;
        let header: Header = serde_json::from_str(header).map_err(|error| malformed(&error))?;
        if header.format != FORMAT {
            return Err(malformed(&format!("it has format {}, this software reads {FORMAT}", header.format)));
        }
        header.identity.check(expected)?;
        Ok(Self { file, position: header.position })
    }

    pub(crate) fn restore_network(&self, network: &mut Network) -> Result<(), LearnError> {
        network.load_scope(&self.file, network_name)
    }

    pub(crate) fn restore_optimizer(&self, optimizer: &mut Adam) -> Result<(), LearnError> {
        optimizer.load(&self.file, self.position.optimizer_steps)
    }
}

fn network_name(name: &str) -> String {
    format!("network.{name}")
}

fn malformed(reason: &dyn ToString) -> LearnError {
    LearnError::Malformed { what: WHAT, reason: reason.to_string() }
}
