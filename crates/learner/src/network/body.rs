//! The body of a residual network: a stem and four layers of blocks, each with a way around it.

use tch::{Kind, Tensor};
use ursa_domain::recipe::Architecture;

use super::architecture::{BlockKind, LAYER_CHANNELS, Layers};
use super::convolution::{Convolution, Shape};
use super::parameters::Parameters;

/// Convolutions one after another, and a way around them.
#[derive(Debug)]
struct Block {
    through: Vec<Convolution>,
    around: Option<Convolution>,
}

/// Channels inside a block: `from` enters, `inside` is what the 3×3 convolutions work on.
#[derive(Clone, Copy)]
struct Channels {
    from: i64,
    inside: i64,
}

/// (from, to, kernel, stride) of each convolution of a block.
fn convolutions(kind: BlockKind, Channels { from, inside }: Channels, stride: i64) -> Vec<(i64, i64, i64, i64)> {
    match kind {
        BlockKind::Basic => vec![(from, inside, 3, stride), (inside, inside, 3, 1)],
        BlockKind::Bottleneck => {
            vec![(from, inside, 1, 1), (inside, inside, 3, stride), (inside, inside * kind.expansion(), 1, 1)]
        }
    }
}

impl Block {
    fn new(parameters: &mut Parameters, kind: BlockKind, name: &str, channels: Channels, stride: i64) -> Self {
        let mut convolution = |conv: &str, norm: &str, (from, to, kernel, stride)| {
            let (name, norm) = (format!("{name}.{conv}"), format!("{name}.{norm}"));
            Convolution::new(parameters, &Shape { name, norm, from, to, kernel, stride })
        };
        let through = convolutions(kind, channels, stride)
            .into_iter()
            .zip(1..)
            .map(|(shape, number)| convolution(&format!("conv{number}"), &format!("bn{number}"), shape))
            .collect();
        let (from, to) = (channels.from, channels.inside * kind.expansion());
        let changes = stride != 1 || from != to;
        Self { through, around: changes.then(|| convolution("downsample.0", "downsample.1", (from, to, 1, stride))) }
    }

    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let around = self.around.as_ref().map_or_else(|| x.shallow_clone(), |around| around.forward(x, train));
        let mut through = self.through[0].forward(x, train);
        for convolution in &self.through[1..] {
            through = convolution.forward(&through.relu_(), train);
        }
        (through + around).relu_()
    }

    fn convolutions(&mut self) -> impl Iterator<Item = &mut Convolution> {
        self.through.iter_mut().chain(&mut self.around)
    }
}

/// A residual network without its last pooling and linear layer: `[n, 3, s, s]` to `[n, features, s/32, s/32]`.
#[derive(Debug)]
pub(crate) struct Body {
    stem: Convolution,
    blocks: Vec<Block>,
}

impl Body {
    pub(crate) fn new(parameters: &mut Parameters, architecture: Architecture) -> Self {
        let (name, norm) = ("body.conv1".to_owned(), "body.bn1".to_owned());
        let stem = Convolution::new(parameters, &Shape { name, norm, from: 3, to: 64, kernel: 7, stride: 2 });
        let mut body = Self { stem, blocks: Vec::new() };
        let Layers { block: kind, blocks: counts } = Layers::of(architecture);
        let mut from = LAYER_CHANNELS[0];
        for (layer, (inside, count)) in LAYER_CHANNELS.into_iter().zip(counts).enumerate() {
            for index in 0..count {
                let name = format!("body.layer{}.{index}", layer + 1);
                let stride = if layer > 0 && index == 0 { 2 } else { 1 };
                body.blocks.push(Block::new(parameters, kind, &name, Channels { from, inside }, stride));
                from = inside * kind.expansion();
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
