//! The head of fastai v1's `cnn_learner`: pooled features to one number per class.

use tch::{Kind, Tensor};

use crate::architecture::BODY_CHANNELS;
use crate::layers::Norm;
use crate::parameters::{Parameters, Role};

/// Its name in `model.json`.
pub const HEAD: &str = "fastai-v1";

const HIDDEN: i64 = 512;
const FIRST_DROPOUT: f64 = 0.25;
const SECOND_DROPOUT: f64 = 0.5;

#[derive(Debug)]
struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    fn new(parameters: &mut Parameters, name: &str, from: i64, to: i64) -> Self {
        // Kaiming normal, fan-in.
        let deviation = (2.0 / from as f64).sqrt();
        Self {
            weight: parameters.weight(&format!("{name}.weight"), &[to, from], deviation),
            bias: parameters.vector(&format!("{name}.bias"), to, 0.0, Role::Bias),
        }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        x.linear(&self.weight, Some(&self.bias))
    }
}

/// Max and average pooling side by side, then twice normalisation, dropout and a linear layer.
#[derive(Debug)]
pub(crate) struct Head {
    norm1: Norm,
    linear1: Linear,
    norm2: Norm,
    linear2: Linear,
}

impl Head {
    pub(crate) fn new(parameters: &mut Parameters, classes: i64) -> Self {
        Self {
            norm1: Norm::new(parameters, "head.bn1", 2 * BODY_CHANNELS),
            linear1: Linear::new(parameters, "head.fc1", 2 * BODY_CHANNELS, HIDDEN),
            norm2: Norm::new(parameters, "head.bn2", HIDDEN),
            linear2: Linear::new(parameters, "head.fc2", HIDDEN, classes),
        }
    }

    /// `[n, 512, h, w]` in any float kind to f32 logits `[n, classes]`.
    pub(crate) fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let x = x.to_kind(Kind::Float);
        let (max, _) = x.adaptive_max_pool2d([1, 1]);
        let pooled = Tensor::cat(&[max, x.adaptive_avg_pool2d([1, 1])], 1).flatten(1, -1);
        let dropped = self.norm1.forward(&pooled, train).dropout(FIRST_DROPOUT, train);
        let hidden = self.linear1.forward(&dropped).relu_();
        let dropped = self.norm2.forward(&hidden, train).dropout(SECOND_DROPOUT, train);
        self.linear2.forward(&dropped)
    }
}
