//! Convolutions with their normalisation, basic blocks and the body of a residual network.

use tch::{Kind, Tensor};
use ursa_domain::spec::Architecture;

use crate::architecture::{LAYER_CHANNELS, blocks};
use crate::parameters::{Parameters, Role};

const EPSILON: f64 = 1e-5;
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
    pub(crate) fn new(parameters: &mut Parameters, name: &str, channels: i64) -> Self {
        Self {
            weight: parameters.vector(&format!("{name}.weight"), channels, 1.0, Role::Normalisation),
            bias: parameters.vector(&format!("{name}.bias"), channels, 0.0, Role::Normalisation),
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
    after: After,
    stride: i64,
    padding: i64,
}

/// Names, shape and stride of a convolution.
struct Shape<'a> {
    name: &'a str,
    norm: &'a str,
    from: i64,
    to: i64,
    kernel: i64,
    stride: i64,
}

impl Convolution {
    fn new(parameters: &mut Parameters, shape: &Shape<'_>) -> Self {
        let &Shape { name, norm, from, to, kernel, stride } = shape;
        // Kaiming normal, fan-out, as torchvision starts its residual networks.
        let deviation = (2.0 / (to * kernel * kernel) as f64).sqrt();
        let weight = parameters.weight(&format!("{name}.weight"), &[to, from, kernel, kernel], deviation);
        Self { weight, after: After::Norm(Norm::new(parameters, norm, to)), stride, padding: kernel / 2 }
    }

    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let weight = self.weight.to_kind(x.kind());
        let (stride, padding) = ([self.stride; 2], [self.padding; 2]);
        match &self.after {
            After::Norm(norm) => norm.forward(&x.conv2d(&weight, None::<Tensor>, stride, padding, [1, 1], 1), train),
            After::Bias(bias) => x.conv2d(&weight, Some(bias), stride, padding, [1, 1], 1),
        }
    }

    /// Multiplies the normalisation, as it is in evaluation, into the convolution.
    fn fold(&mut self) {
        if let After::Norm(norm) = &self.after {
            let scale = &norm.weight / (&norm.variance + EPSILON).sqrt();
            let bias = &norm.bias - &norm.mean * &scale;
            self.weight = (&self.weight * scale.view([-1, 1, 1, 1])).detach();
            self.after = After::Bias(bias.detach());
        }
    }
}

/// Two convolutions and a way around them.
#[derive(Debug)]
struct Block {
    first: Convolution,
    second: Convolution,
    around: Option<Convolution>,
}

impl Block {
    fn new(parameters: &mut Parameters, name: &str, from: i64, to: i64, stride: i64) -> Self {
        let mut convolution = |conv: &str, norm: &str, from, kernel, stride| {
            let (conv, norm) = (format!("{name}.{conv}"), format!("{name}.{norm}"));
            Convolution::new(parameters, &Shape { name: &conv, norm: &norm, from, to, kernel, stride })
        };
        Self {
            first: convolution("conv1", "bn1", from, 3, stride),
            second: convolution("conv2", "bn2", to, 3, 1),
            around: (stride != 1 || from != to).then(|| convolution("downsample.0", "downsample.1", from, 1, stride)),
        }
    }

    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let around = self.around.as_ref().map_or_else(|| x.shallow_clone(), |around| around.forward(x, train));
        let through = self.second.forward(&self.first.forward(x, train).relu_(), train);
        (through + around).relu_()
    }

    fn convolutions(&mut self) -> impl Iterator<Item = &mut Convolution> {
        [&mut self.first, &mut self.second].into_iter().chain(&mut self.around)
    }
}

/// A residual network without its last pooling and linear layer: `[n, 3, s, s]` to `[n, 512, s/32, s/32]`.
#[derive(Debug)]
pub(crate) struct Body {
    stem: Convolution,
    blocks: Vec<Block>,
}

impl Body {
    pub(crate) fn new(parameters: &mut Parameters, architecture: Architecture) -> Self {
        let stem = Shape { name: "body.conv1", norm: "body.bn1", from: 3, to: 64, kernel: 7, stride: 2 };
        let stem = Convolution::new(parameters, &stem);
        let mut body = Self { stem, blocks: Vec::new() };
        let mut from = LAYER_CHANNELS[0];
        for (layer, (to, count)) in LAYER_CHANNELS.into_iter().zip(blocks(architecture)).enumerate() {
            for index in 0..count {
                let name = format!("body.layer{}.{index}", layer + 1);
                let stride = if layer > 0 && index == 0 { 2 } else { 1 };
                body.blocks.push(Block::new(parameters, &name, from, to, stride));
                from = to;
            }
        }
        body
    }

    /// Computes in `kind`; parameters and statistics stay float.
    pub(crate) fn forward(&self, x: &Tensor, train: bool, kind: Kind) -> Tensor {
        let stem = self.stem.forward(&x.to_kind(kind), train).relu_();
        let pooled = stem.max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false);
        self.blocks.iter().fold(pooled, |x, block| block.forward(&x, train))
    }

    /// Folds every normalisation into its convolution. The body can only serve after this.
    pub(crate) fn fold(&mut self) {
        tch::no_grad(|| {
            self.stem.fold();
            self.blocks.iter_mut().flat_map(Block::convolutions).for_each(Convolution::fold);
        });
    }
}
