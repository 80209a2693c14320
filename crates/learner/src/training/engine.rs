//! One step at a time: pictures in, weights moved, a loss out. The engine knows nothing of stages and epochs.

use std::ops::Range;

use tch::{Device, Kind, Tensor};
use ursa_domain::conditions::Conditions;
use ursa_domain::recipe::{GROUPS, Recipe};
use ursa_vision::Preprocessing;

use super::average::WeightAverage;
use super::micro_batch::{parts, smaller};
use super::objective::Objective;
use super::optimizer::Adam;
use super::together::{self, AllReduce};
use crate::LearnError;
use crate::augment::{self, Alteration, Mixture, Target};
use crate::data::{Batch, Dataset, Examples};
use crate::device::{self, Precision, upload};
use crate::evaluation::{Evaluation, evaluate};
use crate::network::{Network, channels_last};
use crate::out_of_memory::{self, Shortage};
use crate::pixels;
use crate::randomness::{Purpose, with_libtorch};

/// A network that learns.
#[derive(Debug)]
pub(crate) struct Engine {
    recipe: Recipe,
    network: Network,
    optimizer: Adam,
    average: Option<WeightAverage>,
    objective: Objective,
    preprocessing: Preprocessing,
    device: Device,
    precision: Precision,
    frozen: bool,
    /// Pictures computed at once; `None` is the whole batch.
    micro_batch: Option<usize>,
    /// Why there are fewer of those than there were, until somebody has asked.
    shortage: Option<Shortage>,
    /// The other processes of the run.
    together: Option<Box<dyn AllReduce>>,
    /// More at once than this do not fit, in tests.
    #[cfg(test)]
    pub(super) room: Option<usize>,
}

/// When a step happens, which decides what is drawn for it, and how large its pictures are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// From 0.
    pub epoch: u32,
    /// Steps done before it.
    pub step: u64,
    /// Side of the pictures, in pixels.
    pub image_size: u32,
}

/// How far a step goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stride {
    /// Learning rate of each group.
    pub rates: [f64; GROUPS],
    /// Adam's beta1.
    pub momentum: f64,
}

/// Loss (f64, no dimensions) and gradients of a batch or a part of it; of parameters that had no say they are undefined.
pub(super) struct Gradients {
    pub loss: Tensor,
    pub gradients: Vec<Tensor>,
}

impl Gradients {
    fn float(self) -> Self {
        let float = |gradient: Tensor| if gradient.defined() { gradient.to_kind(Kind::Float) } else { gradient };
        Self { gradients: self.gradients.into_iter().map(float).collect(), ..self }
    }

    fn plus(mut self, other: &Self) -> Self {
        let _ = self.loss.g_add_(&other.loss);
        for (sum, gradient) in self.gradients.iter_mut().zip(&other.gradients).filter(|(_, one)| one.defined()) {
            if sum.defined() {
                let _ = sum.g_add_(gradient);
            } else {
                *sum = gradient.to_kind(Kind::Float);
            }
        }
        self
    }
}

impl Engine {
    pub(crate) fn new(recipe: &Recipe, data: &Dataset, network: Network, device: Device, precision: Precision) -> Self {
        let mut engine = Self {
            optimizer: Adam::new(&[], recipe.numerics, recipe.weight_decay),
            average: recipe.weight_average.map(|decay| WeightAverage::new(decay, &network)),
            objective: Objective::new(&data.weights(recipe.balance), recipe.label_smoothing, device),
            preprocessing: Preprocessing::imagenet(recipe.image_size),
            recipe: recipe.clone(),
            network,
            device,
            precision,
            frozen: false,
            micro_batch: recipe.micro_batch.map(|pictures| pictures as usize),
            shortage: None,
            together: None,
            #[cfg(test)]
            room: None,
        };
        engine.restart_optimizer();
        engine
    }

    /// The same network in other memory, with an optimizer that has seen nothing: what is tried on it leaves no trace here.
    pub(crate) fn private_copy(&self, data: &Dataset) -> Self {
        let recipe = Recipe { weight_average: None, ..self.recipe.clone() };
        let mut copy = Self::new(&recipe, data, self.network.duplicate(), self.device, self.precision);
        copy.freeze(self.frozen);
        copy.micro_batch = self.micro_batch;
        #[cfg(test)]
        {
            copy.room = self.room;
        }
        copy
    }

    /// Freezes the body or not. Where that changes what learns, the optimizer starts afresh (fastai: a new one in v1, its state
    /// cleared in v2).
    pub(crate) fn freeze(&mut self, frozen: bool) {
        if self.frozen != frozen {
            self.frozen = frozen;
            self.restart_optimizer();
        }
    }

    fn restart_optimizer(&mut self) {
        self.network.freeze_body(self.frozen);
        self.optimizer = Adam::new(self.network.parameters(), self.recipe.numerics, self.recipe.weight_decay);
    }

    /// Learns from a batch and gives its loss, f64 without dimensions. On a CPU a loss that is no number moves nothing. A GPU
    /// is given the whole step and not waited for: whoever reads such a loss has no use for the weights any more. Where
    /// memory runs out the batch is computed again in smaller parts, and so is what follows it; see
    /// [`Engine::micro_batch`].
    pub(crate) fn step(&mut self, batch: &Batch, moment: &Moment, stride: &Stride) -> Result<Tensor, LearnError> {
        let inputs = out_of_memory::caught(|| self.inputs(batch, moment));
        let short = |reason| LearnError::OutOfMemory { pictures: batch.keys.len(), reason };
        let (images, targets) = inputs.map_err(short)?;
        let Gradients { loss, gradients } = self.gradients(&images, &targets, moment)?;
        if self.device.is_cuda() || loss.double_value(&[]).is_finite() {
            self.optimizer.step(&gradients, &stride.rates, stride.momentum);
            if let Some(average) = &mut self.average {
                average.add(&self.network, moment.step + 1);
            }
        }
        Ok(loss)
    }

    /// Of the whole batch: what this process learns from it, and what others do.
    pub(super) fn gradients(
        &mut self,
        images: &Tensor,
        targets: &[Target],
        moment: &Moment,
    ) -> Result<Gradients, LearnError> {
        let own = self.own_gradients(images, targets, moment)?;
        let Some(all) = self.together.as_deref_mut() else { return Ok(own) };
        let loss = together::sum_of(own.loss.double_value(&[]), all)?;
        // Everybody hears the same sum, and does the same.
        let gradients = if loss.is_finite() { together::sums(&own.gradients, all)? } else { Vec::new() };
        Ok(Gradients { loss: Tensor::from(loss), gradients })
    }

    /// Of this process's share of the batch, in parts that memory holds.
    fn own_gradients(&mut self, images: &Tensor, targets: &[Target], moment: &Moment) -> Result<Gradients, LearnError> {
        let statistics = self.network.statistics();
        let (rank, processes) = self.together.as_ref().map_or((0, 1), |all| (all.rank(), all.processes()));
        let own = together::share(images.size()[0] as usize, rank, processes);
        // What is dropped here is not what is dropped elsewhere.
        let draw = moment.step * processes as u64 + rank as u64;
        loop {
            let parts = parts(own.clone(), self.micro_batch);
            let tried = out_of_memory::caught(|| {
                with_libtorch(self.recipe.seed, Purpose::Dropout, draw, || self.sum(images, targets, &parts))
            });
            let reason = match tried {
                Ok(gradients) => return Ok(gradients),
                Err(reason) => reason,
            };
            // A part that was begun has moved them.
            self.network.set_statistics(&statistics);
            let pictures = parts.iter().map(ExactSizeIterator::len).max().unwrap_or_default();
            let fewer = smaller(pictures).ok_or(LearnError::OutOfMemory { pictures, reason })?;
            let whole = self.shortage.map_or(pictures, |earlier| earlier.whole);
            self.shortage = Some(Shortage { whole, parts: fewer });
            self.micro_batch = Some(fewer);
        }
    }

    /// Sums gradients up over the parts of a batch; of several in float32, whatever they were computed in.
    fn sum(&self, images: &Tensor, targets: &[Target], parts: &[Range<usize>]) -> Gradients {
        let weight = self.objective.weight(targets);
        let mut sum: Option<Gradients> = None;
        for part in parts {
            let images = images.narrow(0, part.start as i64, part.len() as i64);
            let targets: Vec<Target> = targets.iter().map(|target| target.part(part)).collect();
            let (logits, asked) = self.network.learn(&images, self.precision.kind());
            #[cfg(test)]
            self.fill_memory(part.len());
            let loss = self.objective.loss(&logits, &targets, &weight);
            let gradients = self.optimizer.gradients(&loss, &asked);
            let gradients = Gradients { loss: loss.detach().to_kind(Kind::Double), gradients };
            sum = Some(match sum {
                None if parts.len() == 1 => gradients,
                None => gradients.float(),
                Some(sum) => sum.plus(&gradients),
            });
        }
        sum.unwrap_or_else(|| Gradients { loss: Tensor::from(0.0), gradients: Vec::new() })
    }

    /// Asks for more memory than there is where `pictures` shall not fit.
    #[cfg(test)]
    fn fill_memory(&self, pictures: usize) {
        if self.room.is_some_and(|room| pictures > room) {
            drop(Tensor::zeros([1 << 50], (Kind::Float, self.device)));
        }
    }

    /// From here on every batch is shared with the other processes.
    pub(crate) fn join(&mut self, together: Box<dyn AllReduce>) {
        self.together = Some(together);
    }

    /// Pictures computed at once: what the recipe says, or what memory has turned out to hold. `None` is the whole batch.
    pub(crate) fn micro_batch(&self) -> Option<usize> {
        self.micro_batch
    }

    /// What memory has turned out not to hold since this was last asked.
    pub(crate) fn take_shortage(&mut self) -> Option<Shortage> {
        self.shortage.take()
    }

    pub(crate) fn set_micro_batch(&mut self, pictures: Option<usize>) {
        self.micro_batch = pictures;
    }

    /// The pictures of a batch as the network shall see them at that moment, and what they show.
    fn inputs(&self, Batch { images, labels, keys }: &Batch, moment: &Moment) -> (Tensor, Vec<Target>) {
        let recipe = &self.recipe;
        let mut images = pixels::shrink(&pixels::scale(images, self.device), moment.image_size);
        let labels = upload(labels, self.device);
        if !recipe.augmentation.is_none() {
            let draw =
                |&key: &u128| Alteration::draw(&recipe.augmentation, recipe.numerics, recipe.seed, moment.epoch, key);
            images = augment::apply(&images, &keys.iter().map(draw).collect::<Vec<_>>());
        }
        let (images, targets) = if let Some(mix) = recipe.mix {
            Mixture::draw(mix, recipe.seed, moment.step, keys).apply(&images, &labels)
        } else {
            let share = Tensor::ones([keys.len() as i64], (Kind::Float, self.device));
            (images, vec![Target { labels, share }])
        };
        (channels_last(&pixels::normalise(&images, &self.preprocessing)), targets)
    }

    /// Measures the network that counts, in float32, on pictures shrunk to `side` pixels.
    pub(crate) fn measure(&self, examples: &Examples, side: u32) -> Evaluation {
        let network = self.result();
        let logits = pixels::rows_of(examples, self.device, |images| {
            let images = pixels::normalise(&pixels::shrink(images, side), &self.preprocessing);
            network.forward(&channels_last(&images), false, Kind::Float)
        });
        evaluate(&logits, examples.labels())
    }

    /// The network that counts: the averaged one where the recipe asks for that.
    pub(crate) fn result(&self) -> &Network {
        self.average.as_ref().map_or(&self.network, WeightAverage::network)
    }

    pub(crate) fn network(&self) -> &Network {
        &self.network
    }

    pub(crate) fn device(&self) -> Device {
        self.device
    }

    /// Of what software of that version computes.
    pub(crate) fn conditions(&self, version: &str) -> Conditions {
        device::conditions(version, self.device, self.precision)
    }

    pub(crate) fn network_mut(&mut self) -> &mut Network {
        &mut self.network
    }

    pub(crate) fn optimizer(&self) -> &Adam {
        &self.optimizer
    }

    pub(crate) fn optimizer_mut(&mut self) -> &mut Adam {
        &mut self.optimizer
    }

    pub(crate) fn average(&self) -> Option<&WeightAverage> {
        self.average.as_ref()
    }

    pub(crate) fn average_mut(&mut self) -> Option<&mut WeightAverage> {
        self.average.as_mut()
    }
}
