//! Convolutions with the normalisation that follows each of them.

use tch::Tensor;

use super::outline::Shape;
use super::parameters::{Casts, Parameters, Role};

/// Added to variances.
pub(crate) const EPSILON: f64 = 1e-5;
const MOMENTUM: f64 = 0.1;

/// Batch normalisation.
#[derive(Debug)]
pub(crate) struct Norm {
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
}

impl Norm {
    /// Scale 1, shift `bias`.
    pub(crate) fn new(parameters: &mut Parameters, name: &str, channels: i64, bias: f64) -> Self {
        Self {
            weight: parameters.vector(&format!("{name}.weight"), channels, 1.0, Role::Normalisation),
            bias: parameters.vector(&format!("{name}.bias"), channels, bias, Role::Normalisation),
            mean: parameters.buffer(&format!("{name}.running_mean"), channels, 0.0),
            variance: parameters.buffer(&format!("{name}.running_var"), channels, 1.0),
        }
    }

    pub(crate) fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let (weight, bias) = (Some(&self.weight), Some(&self.bias));
        x.batch_norm(weight, bias, Some(&self.mean), Some(&self.variance), train, MOMENTUM, EPSILON, true)
    }
}

/// What comes after a convolution.
#[derive(Debug)]
enum After {
    /// While training.
    Norm(Norm),
    /// While serving: the normalisation is multiplied into the convolution, its shift remains.
    Bias(Tensor),
}

/// A convolution and what comes after it.
#[derive(Debug)]
pub(crate) struct Convolution {
    weight: Tensor,
    /// Its weight's among the parameters.
    index: usize,
    after: After,
    stride: i64,
    padding: i64,
}

impl Convolution {
    pub(crate) fn new(parameters: &mut Parameters, shape: &Shape) -> Self {
        let &Shape { ref name, ref norm, from, to, kernel, stride } = shape;
        // Kaiming normal, fan-out, as torchvision starts its residual networks.
        let deviation = (2.0 / (to * kernel * kernel) as f64).sqrt();
        let index = parameters.next_index();
        let weight = parameters.weight(&format!("{name}.weight"), &[to, from, kernel, kernel], deviation);
        let after = After::Norm(Norm::new(parameters, norm, to, 0.0));
        Self { weight, index, after, stride, padding: shape.padding() }
    }

    pub(crate) fn forward(&self, x: &Tensor, train: bool, casts: &Casts) -> Tensor {
        let weight = casts.get(self.index).map_or_else(|| self.weight.to_kind(x.kind()), Tensor::shallow_clone);
        let (stride, padding) = ([self.stride; 2], [self.padding; 2]);
        match &self.after {
            After::Norm(norm) => norm.forward(&x.conv2d(&weight, None::<Tensor>, stride, padding, [1, 1], 1), train),
            After::Bias(bias) => x.conv2d(&weight, Some(bias), stride, padding, [1, 1], 1),
        }
    }

    /// Multiplies the normalisation, as it is in evaluation, into the convolution.
    pub(crate) fn fold(&mut self) {
        if let After::Norm(norm) = &self.after {
            let scale = &norm.weight / (&norm.variance + EPSILON).sqrt();
            let bias = &norm.bias - &norm.mean * &scale;
            self.weight = (&self.weight * scale.view([-1, 1, 1, 1])).detach();
            self.after = After::Bias(bias.detach());
        }
    }
}
