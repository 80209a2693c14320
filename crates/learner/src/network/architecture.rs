//! The residual networks that can be trained, as a table (He et al. 2015; names and shapes as in torchvision).

use ursa_domain::spec::Architecture;

/// Channels that leave the body.
pub(crate) const BODY_CHANNELS: i64 = 512;

/// Channels of each of the four layers.
pub(crate) const LAYER_CHANNELS: [i64; 4] = [64, 128, 256, 512];

/// Basic blocks in each of the four layers.
pub(crate) fn blocks(architecture: Architecture) -> [usize; 4] {
    match architecture {
        Architecture::ResNet18 => [2, 2, 2, 2],
        Architecture::ResNet34 => [3, 4, 6, 3],
    }
}

/// Parameter groups: the early body, the late body and the head (fastai's split at layer3 and the head).
pub(crate) const GROUPS: usize = 3;

/// The group of a parameter by its name in [`crate::Network`].
pub(crate) fn group(name: &str) -> usize {
    match name {
        name if name.starts_with("head.") => 2,
        name if name.starts_with("body.layer3.") || name.starts_with("body.layer4.") => 1,
        _ => 0,
    }
}
