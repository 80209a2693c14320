//! The residual networks that can be trained, as a table (He et al. 2015; shapes as in torchvision).

use ursa_domain::recipe::Architecture;

/// A row of the table: what the four layers of an architecture are made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layers {
    pub(crate) block: BlockKind,
    /// Blocks in each of them.
    pub(crate) blocks: [usize; 4],
}

/// What a layer is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlockKind {
    /// Two 3×3 convolutions.
    Basic,
    /// 1×1 to fewer channels, 3×3, 1×1 to four times as many; the 3×3 one carries the stride, as in torchvision.
    Bottleneck,
}

impl BlockKind {
    /// Channels that leave a block for each channel inside.
    pub(crate) fn expansion(self) -> i64 {
        match self {
            Self::Basic => 1,
            Self::Bottleneck => 4,
        }
    }
}

/// Channels inside the blocks of each of the four layers.
pub(crate) const LAYER_CHANNELS: [i64; 4] = [64, 128, 256, 512];

impl Layers {
    /// The table: one more architecture of this family is one more row.
    pub(crate) fn of(architecture: Architecture) -> Self {
        let (block, blocks) = match architecture {
            // 11.2 million parameters without the head.
            Architecture::ResNet18 => (BlockKind::Basic, [2, 2, 2, 2]),
            // 21.3 million.
            Architecture::ResNet34 => (BlockKind::Basic, [3, 4, 6, 3]),
            // 23.5 million, four times the features.
            Architecture::ResNet50 => (BlockKind::Bottleneck, [3, 4, 6, 3]),
        };
        Self { block, blocks }
    }

    /// Channels that leave the body: the length of a pooled feature vector.
    pub(crate) fn features(self) -> i64 {
        LAYER_CHANNELS[3] * self.block.expansion()
    }
}

/// The group of a parameter by its name in [`crate::Network`].
pub(crate) fn group(name: &str) -> usize {
    match name {
        name if name.starts_with("head.") => 2,
        name if name.starts_with("body.layer3.") || name.starts_with("body.layer4.") => 1,
        _ => 0,
    }
}
