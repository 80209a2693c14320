//! A training run: stages of epochs of batches, each batch with its rates, and a measurement after each epoch.
//!
//! A [`Training`] stands between two batches: there it can be saved and, elsewhere, resumed. On the CPU, under the same
//! [`Conditions`], a resumed run ends with the very bytes of an unbroken one. A GPU is given batches before anybody reads what
//! those before them gave; see [`Training::catch_up`].

mod average;
mod checkpoint;
mod engine;
mod fused;
mod in_flight;
mod micro_batch;
mod objective;
mod optimizer;
#[cfg(test)]
mod tests;
mod together;

use std::time::{Duration, Instant};

use tch::Device;
use ursa_domain::conditions::Conditions;
use ursa_domain::recipe::Recipe;

pub use checkpoint::RunIdentity;
use checkpoint::{Checkpoint, Position};
pub(crate) use engine::{Engine, Moment, Stride};
use in_flight::{Given, InFlight};
pub use together::AllReduce;

use crate::LearnError;
use crate::data::loader::Loader;
use crate::data::sampler::{Sampler, sample};
use crate::data::{Batch, Dataset};
use crate::device::{self, Precision};
use crate::diagnosis::is_lost;
use crate::network::Network;
use crate::numerics;
use crate::out_of_memory::Shortage;
use crate::plan::StagePlan;
use crate::recorder::{BatchReport, EpochReport, Measurement, SmoothLoss};

/// What [`Training::advance`] did.
#[derive(Debug, Clone, PartialEq)]
pub enum Advance {
    /// It learned from one batch.
    Batch(BatchReport),
    /// The epoch's batches were done: it measured.
    Epoch {
        /// What was measured.
        report: EpochReport,
        /// Training pictures per second of learning, measurements not counted; `None` where a resumed run had only to measure.
        images_per_second: Option<f64>,
    },
    /// Nothing: every epoch is done.
    Done,
}

/// A run between two batches.
#[derive(Debug)]
pub struct Training {
    identity: RunIdentity,
    /// Of the software that learns.
    version: String,
    data: Dataset,
    /// Positions of the training pictures that are measured after every epoch.
    sample: Vec<usize>,
    sampler: Sampler,
    plan: Vec<StagePlan>,
    engine: Engine,
    /// The batches of the present epoch.
    order: Vec<Vec<usize>>,
    /// Where those come from that are left; made when the first is needed.
    loader: Option<Loader>,
    /// After the last batch that is done.
    position: Position,
    /// Batches after that.
    in_flight: InFlight,
    /// Under which others it was computed before it went on here.
    earlier_conditions: Vec<Conditions>,
    /// Why the one after those could not be given to the device.
    failed: Option<LearnError>,
    learning: Pace,
}

/// Pictures learned and the time it took.
#[derive(Debug, Clone, Copy, Default)]
struct Pace {
    images: u64,
    time: Duration,
}

impl Training {
    /// A run before its first batch. `pretrained` are the weights to start from, present exactly if the recipe names some.
    pub fn new(
        identity: RunIdentity,
        data: Dataset,
        pretrained: Option<&[u8]>,
        device: Device,
        precision: Precision,
    ) -> Result<Self, LearnError> {
        let recipe = &identity.recipe;
        recipe.check()?;
        data.check()?;
        if data.train.size() != recipe.image_size {
            let reason =
                format!("pictures have {} pixels a side, the recipe says {}", data.train.size(), recipe.image_size);
            return Err(LearnError::UnusableData(reason));
        }
        device::compute_deterministically(device, recipe.deterministic);
        let network = first_network(recipe, data.classes.len(), pretrained, device)?;
        let sampler = Sampler::new(data.train.labels(), recipe.balance, recipe.batch_size as usize, recipe.seed);
        let mut training = Self {
            sample: sample(data.train.len(), data.valid.len(), recipe.seed),
            plan: StagePlan::all(recipe, sampler.batches_per_epoch()),
            engine: Engine::new(recipe, &data, network, device, precision),
            sampler,
            order: Vec::new(),
            loader: None,
            position: Position::default(),
            in_flight: InFlight::on(device),
            earlier_conditions: Vec::new(),
            failed: None,
            learning: Pace::default(),
            data,
            identity,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        training.enter_epoch();
        Ok(training)
    }

    /// Learns as software of that version, which is told with the [conditions](Self::conditions) instead of this library's own.
    /// Before it resumes.
    #[must_use]
    pub fn of_version(self, version: &str) -> Self {
        Self { version: version.to_owned(), ..self }
    }

    /// Goes on from a checkpoint of the same run; what differs here of what decides the bits that follow, in phrases.
    pub fn resume(&mut self, checkpoint: &[u8]) -> Result<Vec<String>, LearnError> {
        let checkpoint = Checkpoint::parse(checkpoint, &self.identity)?;
        self.go_on(&checkpoint)?;
        let before = self.earlier_conditions.last();
        Ok(before.map(|before| self.present_conditions().differences(before)).unwrap_or_default())
    }

    /// Goes on from a checkpoint of another run, from which this one differs in nothing but rates.
    pub fn start_from(&mut self, checkpoint: &[u8]) -> Result<(), LearnError> {
        let checkpoint = Checkpoint::parse_of_other_rates(checkpoint, &self.identity)?;
        self.go_on(&checkpoint)
    }

    fn go_on(&mut self, checkpoint: &Checkpoint<'_>) -> Result<(), LearnError> {
        self.position = checkpoint.position.clone();
        self.earlier_conditions.clone_from(&checkpoint.conditions);
        self.enter_epoch();
        self.engine.set_micro_batch(self.position.micro_batch);
        checkpoint.restore(&mut self.engine)
    }

    /// An error where the recipe stops early and the last epoch shows that the run is lost.
    pub fn refuse_lost(&self) -> Result<(), LearnError> {
        let classes = self.data.classes.len();
        let last = self.history().last().filter(|last| self.recipe().stop_early && is_lost(last, classes));
        let absurd = |last: &EpochReport| LearnError::AbsurdLoss {
            loss: last.valid.loss,
            train_loss: last.train_loss,
            chance: (classes as f64).ln(),
            epoch: last.epoch + 1,
            max_learning_rate: self.recipe().peak_rate(),
        };
        last.map_or(Ok(()), |last| Err(absurd(last)))
    }

    /// Everything needed to go on from here.
    ///
    /// # Panics
    /// Where there is something to [catch up with](Self::catch_up).
    pub fn checkpoint(&self) -> Result<Vec<u8>, LearnError> {
        assert!(self.in_flight.len() == 0, "the weights are ahead of the losses: catch up first");
        let optimizer_steps = self.engine.optimizer().steps();
        let micro_batch = self.engine.micro_batch();
        checkpoint::write(
            &self.identity,
            Position { optimizer_steps, micro_batch, ..self.position.clone() },
            self.conditions(),
            &self.engine,
        )
    }

    /// Does the next thing: learns from a batch, or measures where the epoch's batches are done. After an error nothing more
    /// can be done than to look at what was there and to start again from a checkpoint.
    pub fn advance(&mut self) -> Result<Advance, LearnError> {
        let Some(stage) = self.stage().cloned() else { return Ok(Advance::Done) };
        match self.learn(&stage)? {
            Some(report) => Ok(Advance::Batch(report)),
            None => self.end_epoch(&stage),
        }
    }

    /// Waits for a batch that a GPU was given ahead, without giving it another; `None` where there is none, and always on a CPU.
    pub fn catch_up(&mut self) -> Result<Option<BatchReport>, LearnError> {
        let start = Instant::now();
        self.take(start)
    }

    /// Learns from here on together with other processes, which have the same run at the same place: each takes a share of
    /// every batch. One of them, of rank 0, calls [`Training::advance`], the others [`Training::follow`].
    pub fn join(&mut self, together: Box<dyn AllReduce>) -> Result<(), LearnError> {
        together::check(self.sampler.batch_size(), together.processes())?;
        // Each step waits for the sums.
        self.in_flight = InFlight::one_by_one();
        self.engine.join(together);
        Ok(())
    }

    /// Does the next thing without measuring what was learned; `false` when every epoch is done.
    pub fn follow(&mut self) -> Result<bool, LearnError> {
        let Some(stage) = self.stage().cloned() else { return Ok(false) };
        if self.learn(&stage)?.is_none() {
            self.next_epoch();
        }
        Ok(true)
    }

    fn next_epoch(&mut self) {
        self.position.epochs += 1;
        self.position.batches = 0;
        self.enter_epoch();
    }

    /// The pictures of the next batch of this epoch; from then on those that follow are gathered ahead.
    fn next_batch(&mut self) -> Option<Batch> {
        let left = self.order.get(self.position.batches as usize + self.in_flight.len()..)?;
        let indices = left.first()?;
        let train = &self.data.train;
        let device = self.engine.device();
        let loader = self.loader.get_or_insert_with(|| Loader::start(train, left.to_vec(), device));
        Some(loader.next().unwrap_or_else(|| train.batch(indices)))
    }

    /// Learns from the next batch and says what it gave; `None` where the epoch's batches are done.
    fn learn(&mut self, stage: &StagePlan) -> Result<Option<BatchReport>, LearnError> {
        let start = Instant::now();
        while self.failed.is_none()
            && self.in_flight.has_room()
            && let Some(batch) = self.next_batch()
        {
            self.failed = self.give(&batch, stage).err();
        }
        // First what those before it gave.
        match self.take(start)? {
            None => self.failed.take().map_or(Ok(None), Err),
            report => Ok(report),
        }
    }

    /// Gives a batch to the device.
    fn give(&mut self, batch: &Batch, stage: &StagePlan) -> Result<(), LearnError> {
        let Position { epochs: epoch, batches, steps, .. } = self.position;
        let given = self.in_flight.len() as u64;
        let in_stage = u64::from(epoch - stage.first_epoch) * self.steps_per_epoch() + batches + given;
        let rates = stage.rates.map(|peak| stage.cycle.learning_rate(in_stage, peak));
        let stride = Stride { rates, momentum: stage.cycle.momentum(in_stage) };
        let moment = Moment { epoch, step: steps + given, image_size: stage.image_size };
        let loss = self.engine.step(batch, &moment, &stride)?;
        self.in_flight.add(Given { stride, images: batch.keys.len() as u64, loss });
        Ok(())
    }

    /// What the batch gave that was given first; the time since `start` went into learning.
    fn take(&mut self, start: Instant) -> Result<Option<BatchReport>, LearnError> {
        let Some((given, loss)) = self.in_flight.take() else { return Ok(None) };
        self.refuse_non_finite(loss)?;
        self.position.smooth.add(loss);
        self.position.steps += 1;
        self.position.batches += 1;
        self.learning.images += given.images;
        self.learning.time += start.elapsed();
        let Position { epochs: epoch, steps: step, smooth, .. } = &self.position;
        Ok(Some(given.report(*epoch, *step, self.steps(), loss, smooth.value())))
    }

    fn end_epoch(&mut self, stage: &StagePlan) -> Result<Advance, LearnError> {
        let sample = self.data.train.subset(&self.sample);
        let report = EpochReport {
            epoch: self.position.epochs,
            step: self.position.steps,
            train_loss: self.position.smooth.value(),
            train: Measurement::from(&self.engine.measure(&sample, stage.image_size)),
            valid: Measurement::from(&self.engine.measure(&self.data.valid, stage.image_size)),
        };
        self.refuse_non_finite(report.train.loss + report.valid.loss)?;
        self.position.history.push(report.clone());
        self.next_epoch();
        let Pace { images, time } = std::mem::take(&mut self.learning);
        let images_per_second = (images > 0).then(|| images as f64 / time.as_secs_f64().max(f64::MIN_POSITIVE));
        Ok(Advance::Epoch { report, images_per_second })
    }

    fn refuse_non_finite(&self, loss: f64) -> Result<(), LearnError> {
        if loss.is_finite() {
            return Ok(());
        }
        let (step, epoch) = (self.position.steps, self.position.epochs);
        Err(LearnError::NonFiniteLoss { loss, step, epoch, max_learning_rate: self.recipe().peak_rate() })
    }

    /// Sets up the present epoch; with a new stage a new loss average begins.
    fn enter_epoch(&mut self) {
        // After the last epoch what is frozen stays: the optimizer's state belongs to it.
        let frozen = self.stage().or(self.plan.last()).is_some_and(|stage| stage.frozen);
        self.engine.freeze(frozen);
        let begins = self.stage().is_some_and(|stage| stage.first_epoch == self.position.epochs);
        if begins && self.position.batches == 0 {
            self.position.smooth = SmoothLoss::default();
        }
        self.order = self.sampler.batches(self.position.epochs);
        self.loader = None;
    }

    /// The stage of the present epoch; `None` when every epoch is done.
    fn stage(&self) -> Option<&StagePlan> {
        let epoch = self.position.epochs;
        self.plan.iter().find(|stage| epoch >= stage.first_epoch && epoch - stage.first_epoch < stage.epochs)
    }

    fn recipe(&self) -> &Recipe {
        &self.identity.recipe
    }

    fn steps_per_epoch(&self) -> u64 {
        self.sampler.batches_per_epoch()
    }

    /// What was changed to fit the data, in sentences; empty where the recipe is followed to the letter.
    pub fn adjustments(&self) -> Vec<String> {
        let (asked, used) = (self.recipe().batch_size as usize, self.sampler.batch_size());
        let lowered = format!("batch_size is lowered from {asked} to {used}: there are no more training pictures");
        (used < asked).then_some(lowered).into_iter().collect()
    }

    /// Pictures computed at once, where those are fewer than a batch: as the recipe says, or as many as memory has turned out
    /// to hold.
    pub fn micro_batch(&self) -> Option<u32> {
        self.engine
            .micro_batch()
            .filter(|&pictures| pictures < self.sampler.batch_size())
            .map(|pictures| pictures as u32)
    }

    /// What memory has turned out not to hold since this was last asked: it is to be said, for whoever reads what was learned.
    pub fn take_shortage(&mut self) -> Option<Shortage> {
        self.engine.take_shortage()
    }

    /// Epochs done.
    pub fn epochs_done(&self) -> u32 {
        self.position.epochs
    }

    /// Batches done of the present epoch: 0 where an epoch has just ended.
    pub fn batches_done(&self) -> u64 {
        self.position.batches
    }

    /// Batches done in the whole run.
    pub fn steps_done(&self) -> u64 {
        self.position.steps
    }

    /// Epochs in all.
    pub fn epochs(&self) -> u32 {
        self.recipe().epochs()
    }

    /// Batches in all.
    pub fn steps(&self) -> u64 {
        u64::from(self.epochs()) * self.steps_per_epoch()
    }

    /// The smoothed loss of the present stage, or of the last.
    pub fn smooth_loss(&self) -> SmoothLoss {
        self.position.smooth
    }

    /// What each epoch so far gave.
    pub fn history(&self) -> &[EpochReport] {
        &self.position.history
    }

    /// What is learned from and measured on.
    pub fn data(&self) -> &Dataset {
        &self.data
    }

    /// What decides, beside [what makes this run this run](Self::identity), the bits of what it learns: those here, and before
    /// them the others under which it was computed, if it was interrupted and went on elsewhere.
    pub fn conditions(&self) -> Vec<Conditions> {
        let mut all = self.earlier_conditions.clone();
        let now = self.present_conditions();
        if all.last() != Some(&now) {
            all.push(now);
        }
        all
    }

    fn present_conditions(&self) -> Conditions {
        self.engine.conditions(&self.version)
    }

    /// What makes this run this run.
    pub fn identity(&self) -> &RunIdentity {
        &self.identity
    }

    /// The network that counts, as it is now: the averaged one where the recipe asks for that.
    pub fn network(&self) -> &Network {
        self.engine.result()
    }

    /// For the learning-rate finder: a private copy of what learns, the order it learns in, and the size of its pictures.
    pub(crate) fn private_copy(&self) -> (Engine, &Sampler, u32) {
        let image_size = self.stage().or(self.plan.last()).map_or(self.recipe().image_size, |stage| stage.image_size);
        (self.engine.private_copy(&self.data), &self.sampler, image_size)
    }
}

fn first_network(
    recipe: &Recipe,
    classes: usize,
    pretrained: Option<&[u8]>,
    device: Device,
) -> Result<Network, LearnError> {
    let mut network = Network::with_head(recipe.architecture, classes, numerics::head(recipe), recipe.seed, device);
    match pretrained {
        Some(weights) if recipe.keep_head => network.load_weights(weights)?,
        Some(weights) => network.load_body(weights)?,
        None => {}
    }
    Ok(network)
}
