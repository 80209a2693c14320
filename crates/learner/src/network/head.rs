//! The heads of fastai: pooled features to one number per class (lesson 2 §2.1).

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::convolution::Norm;
use super::parameters::{Parameters, Role};

const HIDDEN: i64 = 512;

/// The names of its two normalisations.
pub(crate) const NORMS: [&str; 2] = ["head.bn1", "head.bn2"];
/// The names of its two linear layers.
pub(crate) const LINEARS: [&str; 2] = ["head.fc1", "head.fc2"];

/// The name of [`HeadKind::FastaiV1`] in `model.json`.
pub const HEAD: &str = "fastai-v1";

/// Which of fastai's heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum HeadKind {
    /// Linear layers have biases; normalisation starts with shift 0.
    #[default]
    #[serde(rename = "fastai-v1")]
    FastaiV1,
    /// Linear layers have no biases; normalisation starts with shift 1e-3.
    #[serde(rename = "fastai-v2")]
    FastaiV2,
}

impl HeadKind {
    /// Every head that can be served.
    pub const ALL: [Self; 2] = [Self::FastaiV1, Self::FastaiV2];

    /// Its name in `model.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::FastaiV1 => HEAD,
            Self::FastaiV2 => "fastai-v2",
        }
    }

    /// The kind whose tensors have these names.
    pub(crate) fn of_tensors(names: &[&str]) -> Self {
        if names.contains(&"head.fc1.bias") { Self::FastaiV1 } else { Self::FastaiV2 }
    }

    /// Whether linear layers have biases.
    pub(crate) fn has_biases(self) -> bool {
        self == Self::FastaiV1
    }

    fn first_shift(self) -> f64 {
        match self {
            Self::FastaiV1 => 0.0,
            Self::FastaiV2 => 1e-3,
        }
    }
}

/// How a head is made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeadSpec {
    /// Which one.
    pub kind: HeadKind,
    /// Share of activations dropped before the last layer, in [0, 1); half as many before the one before it.
    pub dropout: f64,
}

impl Default for HeadSpec {
    /// fastai v1's, with its `ps=0.5`.
    fn default() -> Self {
        Self { kind: HeadKind::default(), dropout: 0.5 }
    }
}

#[derive(Debug)]
struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    fn new(parameters: &mut Parameters, name: &str, from: i64, to: i64, biased: bool) -> Self {
        // Kaiming normal, fan-in.
        let deviation = (2.0 / from as f64).sqrt();
        Self {
            weight: parameters.weight(&format!("{name}.weight"), &[to, from], deviation),
            bias: biased.then(|| parameters.vector(&format!("{name}.bias"), to, 0.0, Role::Bias)),
        }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        x.linear(&self.weight, self.bias.as_ref())
    }
}

/// Max and average pooling side by side, then twice normalisation, dropout and a linear layer.
#[derive(Debug)]
pub(crate) struct Head {
    spec: HeadSpec,
    norm1: Norm,
    linear1: Linear,
    norm2: Norm,
    linear2: Linear,
}

impl Head {
    pub(crate) fn new(parameters: &mut Parameters, features: i64, classes: i64, spec: HeadSpec) -> Self {
        let (biased, shift) = (spec.kind.has_biases(), spec.kind.first_shift());
        Self {
            spec,
            norm1: Norm::new(parameters, NORMS[0], 2 * features, shift),
            linear1: Linear::new(parameters, LINEARS[0], 2 * features, HIDDEN, biased),
            norm2: Norm::new(parameters, NORMS[1], HIDDEN, shift),
            linear2: Linear::new(parameters, LINEARS[1], HIDDEN, classes, biased),
        }
    }

    pub(crate) fn spec(&self) -> HeadSpec {
        self.spec
    }

    /// `[n, features, h, w]` in any float kind to f32 logits `[n, classes]`.
    pub(crate) fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let x = x.to_kind(Kind::Float);
        // Of the whole map. Unlike that of the adaptive pooling, its gradient is the same each time on a GPU.
        let max = x.max_pool2d(&x.size()[2..], [1, 1], [0, 0], [1, 1], false);
        let pooled = Tensor::cat(&[max, x.adaptive_avg_pool2d([1, 1])], 1).flatten(1, -1);
        let dropped = self.norm1.forward(&pooled, train).dropout(self.spec.dropout / 2.0, train);
        let hidden = self.linear1.forward(&dropped).relu_();
        let dropped = self.norm2.forward(&hidden, train).dropout(self.spec.dropout, train);
        self.linear2.forward(&dropped)
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, no_grad};

    use super::*;
    use crate::randomness::{Purpose, with_libtorch};

    const FLOAT: (Kind, Device) = (Kind::Float, Device::Cpu);

    #[test]
    fn training_drops_half_the_share_before_the_first_layer_and_all_of_it_before_the_second() {
        let mut parameters = Parameters::new(Device::Cpu, false);
        let spec = HeadSpec { dropout: 0.4, ..HeadSpec::default() };
        let head = Head::new(&mut parameters, HIDDEN / 2, HIDDEN, spec);
        // The first layer gets 1 everywhere, and both hand on what they get.
        no_grad(|| {
            for (name, mut tensor) in parameters.named() {
                match name.as_str() {
                    "head.bn1.weight" => tensor.copy_(&tensor.zeros_like()),
                    "head.bn1.bias" => tensor.copy_(&tensor.ones_like()),
                    "head.fc1.weight" | "head.fc2.weight" => tensor.copy_(&Tensor::eye(HIDDEN, FLOAT)),
                    _ => {}
                }
            }
        });
        let pictures = Tensor::zeros([200, HIDDEN / 2, 1, 1], FLOAT);
        let evaluated = no_grad(|| head.forward(&pictures, false));
        assert!((evaluated - 1.0).abs().max().double_value(&[]) < 1e-4, "nothing is dropped in evaluation");

        let learned = no_grad(|| with_libtorch(1, Purpose::Dropout, 0, || head.forward(&pictures, true)));
        let share = |chosen: Tensor| chosen.to_kind(Kind::Double).mean(Kind::Double).double_value(&[]);
        // Between the layers what was dropped lies below the mean, so it is no zero: those come from the second alone.
        let (dropped_second, kept_by_both) = (share(learned.eq(0.0)), share(learned.gt(0.0)));
        assert!((dropped_second - 0.4).abs() < 0.01, "{dropped_second}");
        assert!((kept_by_both - 0.8 * 0.6).abs() < 0.01, "{kept_by_both}");
    }
}
