//! Checkpoints: everything a run needs to go on after any batch as if it had never stopped.
//!
//! One safetensors file: `network.*`, `optimizer.first.*`, `optimizer.second.*`, `average.*`, and in the metadata the
//! position, the history and the identity of the run. Random generators need no state: every draw derives from (seed,
//! position), the order of the pictures too.

use serde::{Deserialize, Serialize};
use tch::Tensor;
use ursa_domain::conditions::Conditions;
use ursa_domain::recipe::Recipe;

use super::engine::Engine;
use crate::LearnError;
use crate::recorder::{EpochReport, SmoothLoss};
use crate::tensor_file::{self, TensorFile};

const WHAT: &str = "the checkpoint";
const FORMAT: u32 = 2;

/// What makes two runs the same run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunIdentity {
    /// How it trains.
    pub recipe: Recipe,
    /// What it tells apart.
    pub classes: Vec<String>,
    /// Digest of the snapshot it learns from.
    pub snapshot: String,
}

impl RunIdentity {
    fn check(&self, expected: &Self) -> Result<(), LearnError> {
        let differs = |what: &str| Err(LearnError::DifferentRun { what: what.to_owned() });
        if self.recipe != expected.recipe {
            return differs(&format!("the recipe's {}", differing_key(&self.recipe, &expected.recipe)));
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

/// The first key in which two recipes differ.
fn differing_key(one: &Recipe, other: &Recipe) -> String {
    let keys = |recipe: &Recipe| match serde_json::to_value(recipe) {
        Ok(serde_json::Value::Object(keys)) => keys,
        _ => serde_json::Map::new(),
    };
    let other = keys(other);
    let differing = keys(one).into_iter().find(|(key, value)| other.get(key) != Some(value));
    differing.map_or_else(|| "content".to_owned(), |(key, _)| key)
}

/// Where a run stands between two batches.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Position {
    /// Epochs done.
    pub epochs: u32,
    /// Batches done of the present epoch.
    pub batches: u64,
    /// Batches done in the whole run.
    pub steps: u64,
    /// Steps of the present optimizer.
    pub optimizer_steps: u64,
    /// Pictures computed at once, where those are not the whole batch: parts that were other ones would end elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub micro_batch: Option<usize>,
    /// State of the loss average.
    pub smooth: SmoothLoss,
    /// What each epoch gave.
    pub history: Vec<EpochReport>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: u32,
    identity: RunIdentity,
    position: Position,
    /// Under which what it holds was computed, one after the other.
    #[serde(default)]
    conditions: Vec<Conditions>,
}

pub(crate) fn write(
    identity: &RunIdentity,
    position: Position,
    conditions: Vec<Conditions>,
    engine: &Engine,
) -> Result<Vec<u8>, LearnError> {
    let header = Header { format: FORMAT, identity: identity.clone(), position, conditions };
    let header = serde_json::to_string(&header).map_err(|error| malformed(&error))?;
    let network = engine.network().named().into_iter().map(|(name, tensor)| (network_name(&name), tensor));
    let average = engine.average().into_iter().flat_map(super::average::WeightAverage::named);
    let tensors: Vec<(String, Tensor)> = network.chain(engine.optimizer().named()).chain(average).collect();
    tensor_file::write(WHAT, &tensors, Some(header))
}

/// A checkpoint whose run has been checked.
#[derive(Debug)]
pub(crate) struct Checkpoint<'a> {
    file: TensorFile<'a>,
    pub(crate) position: Position,
    pub(crate) conditions: Vec<Conditions>,
}

impl<'a> Checkpoint<'a> {
    /// Of the very run.
    pub(crate) fn parse(bytes: &'a [u8], expected: &RunIdentity) -> Result<Self, LearnError> {
        Self::read(bytes, |identity| identity.check(expected))
    }

    /// Of a run that may have had other rates.
    pub(crate) fn parse_of_other_rates(bytes: &'a [u8], expected: &RunIdentity) -> Result<Self, LearnError> {
        let at_rates =
            |found: &RunIdentity| RunIdentity { recipe: found.recipe.with_rates_of(&expected.recipe), ..found.clone() };
        Self::read(bytes, |identity| at_rates(identity).check(expected))
    }

    fn read(bytes: &'a [u8], check: impl Fn(&RunIdentity) -> Result<(), LearnError>) -> Result<Self, LearnError> {
        let file = TensorFile::parse(WHAT, bytes)?;
        let header = file.metadata().ok_or_else(|| malformed(&"it has no header"))?;
        let header: Header = serde_json::from_str(header).map_err(|error| malformed(&error))?;
        if header.format != FORMAT {
            return Err(malformed(&format!("it has format {}, this software reads {FORMAT}", header.format)));
        }
        check(&header.identity)?;
        Ok(Self { file, position: header.position, conditions: header.conditions })
    }

    /// Overwrites what has been learned. What is frozen must be as it was when the checkpoint was written.
    pub(crate) fn restore(&self, engine: &mut Engine) -> Result<(), LearnError> {
        engine.network_mut().load_scope(&self.file, network_name)?;
        engine.optimizer_mut().load(&self.file, self.position.optimizer_steps)?;
        engine.average_mut().map_or(Ok(()), |average| average.load(&self.file))
    }
}

fn network_name(name: &str) -> String {
    format!("network.{name}")
}

fn malformed(reason: &dyn ToString) -> LearnError {
    LearnError::Malformed { what: WHAT, reason: reason.to_string() }
}
