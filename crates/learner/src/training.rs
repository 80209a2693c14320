//! The training loop: epochs of batches, each with its learning rate, and a measurement after each epoch.
//!
//! A [`Training`] stands between two epochs: there it can be saved and, elsewhere, resumed. On the CPU with the same number
//! of threads a resumed run ends with the very bytes of an unbroken one.

use serde::{Deserialize, Serialize};
use tch::{Device, Reduction, Tensor};
use ursa_vision::Preprocessing;

use crate::batch;
use crate::checkpoint::{self, Checkpoint, Position, RunIdentity};
use crate::classifier::in_chunks;
use crate::dataset::{Dataset, batches, batches_per_epoch};
use crate::device::Precision;
use crate::evaluation::{Evaluation, evaluate};
use crate::network::Network;
use crate::optimizer::Adam;
use crate::plan::{Stage, stages};
use crate::randomness::{Purpose, seed_libtorch};
use crate::schedule::OneCycle;
use crate::{LearnError, network};

/// How much of the old average a new loss leaves, as in what fastai prints.
const SMOOTHING: f64 = 0.98;

/// What one batch gave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchReport {
    /// Epoch it belongs to, from 0.
    pub epoch: u32,
    /// Batches done in the whole run, this one included.
    pub step: u64,
    /// Batches the whole run has.
    pub steps: u64,
    /// Cross-entropy of this batch, with dropout and augmentation on.
    pub loss: f64,
    /// Debiased exponential average of the stage's losses (beta 0.98).
    pub smooth_loss: f64,
    /// Of the head, which has the highest.
    pub learning_rate: f64,
    /// Adam's beta1.
    pub momentum: f64,
}

/// What one epoch gave.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochReport {
    /// From 0.
    pub epoch: u32,
    /// Batches done in the whole run.
    pub step: u64,
    /// The smoothed training loss after its last batch.
    pub train_loss: f64,
    /// Mean cross-entropy on the validation side.
    pub valid_loss: f64,
    /// Wrong on the validation side, as a fraction.
    pub error_rate: f64,
}

/// Hears what happens and may stop it.
pub trait Observer {
    /// After each batch.
    fn batch(&mut self, report: &BatchReport);

    /// Whether to stop; asked before each batch.
    fn cancelled(&self) -> bool;
}

/// A run between two epochs.
#[derive(Debug)]
pub struct Training {
    identity: RunIdentity,
    data: Dataset,
    preprocessing: Preprocessing,
    device: Device,
    precision: Precision,
    stages: Vec<Stage>,
    network: Network,
    optimizer: Adam,
    epochs_done: u32,
    steps_done: u64,
    smooth: SmoothLoss,
    history: Vec<EpochReport>,
}

impl Training {
    /// A run before its first epoch. `pretrained` are the body's weights, present exactly if the recipe names some.
    pub fn new(
        identity: RunIdentity,
        data: Dataset,
        pretrained: Option<&[u8]>,
        device: Device,
        precision: Precision,
    ) -> Result<Self, LearnError> {
        let recipe = &identity.recipe;
        data.check()?;
        let stages = stages(recipe)?;
        let mut network = Network::new(recipe.architecture, data.classes.len(), recipe.seed, device);
        if let Some(weights) = pretrained {
            network.load_body(weights)?;
        }
        let mut training = Self {
            preprocessing: Preprocessing::imagenet(recipe.image_size),
            optimizer: Adam::new(&[], recipe.weight_decay),
            identity,
            data,
            device,
            precision,
            stages,
            network,
            epochs_done: 0,
            steps_done: 0,
            smooth: SmoothLoss::default(),
            history: Vec::new(),
        };
        training.enter_stage();
        Ok(training)
    }

    /// Goes on from a checkpoint of the same run.
    pub fn resume(&mut self, checkpoint: &[u8]) -> Result<(), LearnError> {
        let checkpoint = Checkpoint::parse(checkpoint, &self.identity)?;
        checkpoint.restore_network(&mut self.network)?;
        let position = &checkpoint.position;
        self.epochs_done = position.epochs;
        self.steps_done = position.steps;
        self.history.clone_from(&position.history);
        self.enter_stage();
        if self.stage().is_some_and(|stage| stage.first_epoch < self.epochs_done) {
            checkpoint.restore_optimizer(&mut self.optimizer)?;
            self.smooth = SmoothLoss { average: position.smooth.0, count: position.smooth.1 };
        }
        Ok(())
    }

    /// Everything needed to go on from here.
    pub fn checkpoint(&self) -> Result<Vec<u8>, LearnError> {
        let position = Position {
            epochs: self.epochs_done,
            steps: self.steps_done,
            optimizer_steps: self.optimizer.steps(),
            smooth: (self.smooth.average, self.smooth.count),
            history: self.history.clone(),
        };
        checkpoint::write(&self.identity, position, &self.network, &self.optimizer)
    }

    /// Epochs done.
    pub fn epochs_done(&self) -> u32 {
        self.epochs_done
    }

    /// Epochs in all.
    pub fn epochs(&self) -> u32 {
        self.stages.iter().map(|stage| stage.epochs).sum()
    }

    /// Batches in all.
    pub fn steps(&self) -> u64 {
        u64::from(self.epochs()) * self.steps_per_epoch()
    }

    /// What each epoch so far gave.
    pub fn history(&self) -> &[EpochReport] {
        &self.history
    }

    /// What is learned from and measured on.
    pub fn data(&self) -> &Dataset {
        &self.data
    }

    /// The network as it is now.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Trains one more epoch and measures it. `None` when every epoch is done.
    ///
    /// After an error the run stands in the middle of an epoch: it cannot go on, only be resumed from a checkpoint.
    pub fn run_epoch(&mut self, observer: &mut dyn Observer) -> Result<Option<EpochReport>, LearnError> {
        let Some(stage) = self.stage().cloned() else { return Ok(None) };
        if stage.first_epoch == self.epochs_done {
            self.enter_stage();
        }
        let cycle = OneCycle::over(u64::from(stage.epochs) * self.steps_per_epoch());
        let recipe = &self.identity.recipe;
        for indices in batches(self.data.train.len(), recipe.batch_size as usize, recipe.seed, self.epochs_done) {
            if observer.cancelled() {
                return Err(LearnError::Cancelled);
            }
            observer.batch(&self.run_batch(&indices, &stage, &cycle)?);
        }
        let evaluation = self.measure();
        self.epochs_done += 1;
        let report = EpochReport {
            epoch: self.epochs_done - 1,
            step: self.steps_done,
            train_loss: self.smooth.value(),
            valid_loss: evaluation.loss,
            error_rate: evaluation.error_rate(),
        };
        self.history.push(report);
        Ok(Some(report))
    }

    fn run_batch(&mut self, indices: &[usize], stage: &Stage, cycle: &OneCycle) -> Result<BatchReport, LearnError> {
        let in_stage = self.optimizer.steps();
        let rates = stage.rates.map(|peak| cycle.learning_rate(in_stage, peak));
        let momentum = cycle.momentum(in_stage);
        seed_libtorch(self.identity.recipe.seed, Purpose::Dropout, self.steps_done);
        self.optimizer.zero_gradients();
        let loss = self.loss(indices);
        let value = loss.double_value(&[]);
        if !value.is_finite() {
            return Err(LearnError::NonFiniteLoss {
                loss: value,
                step: self.steps_done,
                epoch: self.epochs_done,
                max_learning_rate: self.identity.recipe.max_learning_rate,
            });
        }
        loss.backward();
        self.optimizer.step(&rates, momentum);
        self.smooth.add(value);
        self.steps_done += 1;
        Ok(BatchReport {
            epoch: self.epochs_done,
            step: self.steps_done,
            steps: self.steps(),
            loss: value,
            smooth_loss: self.smooth.value(),
            learning_rate: rates[rates.len() - 1],
            momentum,
        })
    }

    /// The loss of the pictures at `indices`, ready to be differentiated.
    fn loss(&self, indices: &[usize]) -> Tensor {
        let recipe = &self.identity.recipe;
        let (images, labels, ids) = self.data.train.pick(indices);
        let mut images = batch::scale(&images, self.device);
        if recipe.augment {
            images = batch::alter(&images, &ids, recipe.seed, self.epochs_done);
        }
        let images = network::channels_last(&batch::normalise(&images, &self.preprocessing));
        let logits = self.network.forward(&images, true, self.precision.kind());
        let labels = labels.to_device(self.device);
        logits.cross_entropy_loss(&labels, None::<Tensor>, Reduction::Mean, -100, 0.0)
    }

    /// Measures the network on the validation side, in float32.
    pub fn measure(&self) -> Evaluation {
        let valid = &self.data.valid;
        let logits = in_chunks(valid.images(), self.data.classes.len(), self.device, |images| {
            self.network.forward(&batch::normalise(images, &self.preprocessing), false, tch::Kind::Float)
        });
        evaluate(&logits, valid.labels())
    }

    /// The stage of the next epoch.
    fn stage(&self) -> Option<&Stage> {
        let next = self.epochs_done;
        self.stages.iter().find(|stage| next >= stage.first_epoch && next - stage.first_epoch < stage.epochs)
    }

    /// Sets up what learns in the present stage; a new stage starts with a new optimizer and a new loss average.
    fn enter_stage(&mut self) {
        if let Some(stage) = self.stage() {
            let frozen = stage.frozen;
            self.network.freeze_body(frozen);
            self.optimizer = Adam::new(self.network.parameters(), self.identity.recipe.weight_decay);
            self.smooth = SmoothLoss::default();
        }
    }

    fn steps_per_epoch(&self) -> u64 {
        batches_per_epoch(self.data.train.len(), self.identity.recipe.batch_size as usize)
    }
}

/// A debiased exponential average.
#[derive(Debug, Clone, Copy, Default)]
struct SmoothLoss {
    average: f64,
    count: u64,
}

impl SmoothLoss {
    fn add(&mut self, loss: f64) {
        self.average = SMOOTHING * self.average + (1.0 - SMOOTHING) * loss;
        self.count += 1;
    }

    fn value(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.average / (1.0 - SMOOTHING.powf(self.count as f64)) }
    }
}

#[cfg(test)]
mod tests;
