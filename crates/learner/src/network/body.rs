//! The body of a residual network: a stem and four layers of blocks, each with a way around it.

use tch::{Kind, Tensor};
use ursa_domain::recipe::Architecture;

use super::convolution::Convolution;
use super::outline::{BlockOutline, Outline, POOL};
use super::parameters::{Casts, Parameters};

/// Convolutions one after another, and a way around them.
#[derive(Debug)]
struct Block {
    through: Vec<Convolution>,
    around: Option<Convolution>,
}

impl Block {
    fn new(parameters: &mut Parameters, outline: &BlockOutline) -> Self {
        let mut convolution = |shape| Convolution::new(parameters, shape);
        let through = outline.through.iter().map(&mut convolution).collect();
        Self { through, around: outline.around.as_ref().map(convolution) }
    }

    fn forward(&self, x: &Tensor, train: bool, casts: &Casts) -> Tensor {
        let around = self.around.as_ref().map_or_else(|| x.shallow_clone(), |around| around.forward(x, train, casts));
        let mut through = self.through[0].forward(x, train, casts);
        for convolution in &self.through[1..] {
            through = convolution.forward(&through.relu_(), train, casts);
        }
        through.g_add_(&around).relu_()
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
        let Outline { stem, blocks } = Outline::of(architecture);
        let stem = Convolution::new(parameters, &stem);
        Self { stem, blocks: blocks.iter().map(|block| Block::new(parameters, block)).collect() }
    }

    /// Computes in `kind`; parameters and statistics stay float.
    pub(crate) fn forward(&self, x: &Tensor, train: bool, kind: Kind) -> Tensor {
        self.forward_with(&Casts::default(), x, train, kind)
    }

    /// The same with weights that have been cast.
    pub(crate) fn forward_with(&self, casts: &Casts, x: &Tensor, train: bool, kind: Kind) -> Tensor {
        let stem = self.stem.forward(&x.to_kind(kind), train, casts).relu_();
        let pooled = stem.max_pool2d([POOL.kernel; 2], [POOL.stride; 2], [POOL.padding; 2], [1, 1], false);
        self.blocks.iter().fold(pooled, |x, block| block.forward(&x, train, casts))
    }

    /// Folds every normalisation into its convolution. The body can only serve after this.
    pub(crate) fn fold(&mut self) {
        tch::no_grad(|| {
            self.stem.fold();
            self.blocks.iter_mut().flat_map(Block::convolutions).for_each(Convolution::fold);
        });
    }
}
