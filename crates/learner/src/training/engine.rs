//! One step at a time: pictures in, weights moved, a loss out. The engine knows nothing of stages and epochs.

use tch::{Device, Kind, Tensor};
use ursa_domain::recipe::{GROUPS, Recipe};
use ursa_vision::Preprocessing;

use super::average::WeightAverage;
use super::objective::Objective;
use super::optimizer::Adam;
use crate::augment::{self, Alteration, Mixture, Target};
use crate::data::{Batch, Dataset};
use crate::device::Precision;
use crate::evaluation::{Evaluation, evaluate};
use crate::network::{Network, channels_last};
use crate::pixels;
use crate::randomness::{Purpose, seed_libtorch};

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
        };
        engine.restart_optimizer();
        engine
    }

    /// The same network in other memory, with an optimizer that has seen nothing: what is tried on it leaves no trace here.
    pub(crate) fn private_copy(&self, data: &Dataset) -> Self {
        let recipe = Recipe { weight_average: None, ..self.recipe.clone() };
        let mut copy = Self::new(&recipe, data, self.network.duplicate(), self.device, self.precision);
        copy.freeze(self.frozen);
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

    /// Learns from a batch and says its loss. A loss that is no number moves nothing.
    pub(crate) fn step(&mut self, batch: &Batch, moment: &Moment, stride: &Stride) -> f64 {
        let (images, targets) = self.inputs(batch, moment);
        seed_libtorch(self.recipe.seed, Purpose::Dropout, moment.step);
        let (logits, asked) = self.network.learn(&images, self.precision.kind());
        let loss = self.objective.loss(&logits, &targets);
        let value = loss.double_value(&[]);
        if value.is_finite() {
            self.optimizer.step(&loss, &asked, &stride.rates, stride.momentum);
            if let Some(average) = &mut self.average {
                average.add(&self.network, moment.step + 1);
            }
        }
        value
    }

    /// The pictures of a batch as the network shall see them at that moment, and what they show.
    fn inputs(&self, Batch { images, labels, ids }: &Batch, moment: &Moment) -> (Tensor, Vec<Target>) {
        let recipe = &self.recipe;
        let mut images = pixels::shrink(&pixels::scale(images, self.device), moment.image_size);
        let labels = labels.to_device(self.device);
        if !recipe.augmentation.is_none() {
            let draw =
                |&id: &u128| Alteration::draw(&recipe.augmentation, recipe.numerics, recipe.seed, moment.epoch, id);
            images = augment::apply(&images, &ids.iter().map(draw).collect::<Vec<_>>());
        }
        let (images, targets) = if let Some(mix) = recipe.mix {
            Mixture::draw(mix, recipe.seed, moment.step, ids).apply(&images, &labels)
        } else {
            let share = Tensor::ones([ids.len() as i64], (Kind::Float, self.device));
            (images, vec![Target { labels, share }])
        };
        (channels_last(&pixels::normalise(&images, &self.preprocessing)), targets)
    }

    /// Measures the network that counts, in float32, on pictures shrunk to `side` pixels.
    pub(crate) fn measure(&self, images: &Tensor, labels: &[u32], side: u32) -> Evaluation {
        let network = self.result();
        let logits = pixels::rows(images, self.device, |images| {
            let images = pixels::normalise(&pixels::shrink(images, side), &self.preprocessing);
            network.forward(&channels_last(&images), false, Kind::Float)
        });
        evaluate(&logits, labels)
    }

    /// The network that counts: the averaged one where the recipe asks for that.
    pub(crate) fn result(&self) -> &Network {
        self.average.as_ref().map_or(&self.network, WeightAverage::network)
    }

    pub(crate) fn network(&self) -> &Network {
        &self.network
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
