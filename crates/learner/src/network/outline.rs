//! A body as data: what a row of the table means, layer by layer. What is built from it and what is exported of it agree.

use ursa_domain::recipe::Architecture;

use super::architecture::{BlockKind, LAYER_CHANNELS, Layers};

/// Names, shape and stride of a convolution and of the normalisation that follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shape {
    pub name: String,
    pub norm: String,
    pub from: i64,
    pub to: i64,
    pub kernel: i64,
    pub stride: i64,
}

impl Shape {
    /// Places added at every border.
    pub(crate) fn padding(&self) -> i64 {
        self.kernel / 2
    }
}

/// Convolutions one after another, and a way around them.
#[derive(Debug, Clone)]
pub(crate) struct BlockOutline {
    pub name: String,
    pub through: Vec<Shape>,
    pub around: Option<Shape>,
}

/// The pooling between the stem and the blocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pool {
    pub kernel: i64,
    pub stride: i64,
    pub padding: i64,
}

pub(crate) const POOL: Pool = Pool { kernel: 3, stride: 2, padding: 1 };

/// A stem, [`POOL`], and blocks.
#[derive(Debug, Clone)]
pub(crate) struct Outline {
    pub stem: Shape,
    pub blocks: Vec<BlockOutline>,
}

impl Outline {
    pub(crate) fn of(architecture: Architecture) -> Self {
        let (name, norm) = ("body.conv1".to_owned(), "body.bn1".to_owned());
        let stem = Shape { name, norm, from: 3, to: LAYER_CHANNELS[0], kernel: 7, stride: 2 };
        let Layers { block: kind, blocks: counts } = Layers::of(architecture);
        let (mut from, mut blocks) = (LAYER_CHANNELS[0], Vec::new());
        for (layer, (inside, count)) in LAYER_CHANNELS.into_iter().zip(counts).enumerate() {
            for index in 0..count {
                let name = format!("body.layer{}.{index}", layer + 1);
                let stride = if layer > 0 && index == 0 { 2 } else { 1 };
                blocks.push(block(kind, name, Channels { from, inside }, stride));
                from = inside * kind.expansion();
            }
        }
        Self { stem, blocks }
    }
}

/// Channels of a block: `from` enters, `inside` is what the 3×3 convolutions work on.
#[derive(Clone, Copy)]
struct Channels {
    from: i64,
    inside: i64,
}

fn block(kind: BlockKind, name: String, channels: Channels, stride: i64) -> BlockOutline {
    let shape = |conv: &str, norm: &str, (from, to, kernel, stride)| {
        let (name, norm) = (format!("{name}.{conv}"), format!("{name}.{norm}"));
        Shape { name, norm, from, to, kernel, stride }
    };
    let through = convolutions(kind, channels, stride)
        .into_iter()
        .zip(1..)
        .map(|(numbers, index)| shape(&format!("conv{index}"), &format!("bn{index}"), numbers))
        .collect();
    let (from, to) = (channels.from, channels.inside * kind.expansion());
    let changes = stride != 1 || from != to;
    let around = changes.then(|| shape("downsample.0", "downsample.1", (from, to, 1, stride)));
    BlockOutline { name, through, around }
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
