//! The residual networks that can be trained, as a table (He et al. 2015; names and shapes as in torchvision).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use ursa_domain::spec;

use crate::LearnError;

/// A row of the table: one more architecture of this family is one more row.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Architecture {
    name: &'static str,
    pub(crate) block: BlockKind,
    /// Blocks in each of the four layers.
    pub(crate) blocks: [usize; 4],
}

/// What the layers are made of.
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

impl Architecture {
    /// 11.2 million parameters without the head.
    pub const RESNET18: Self = Self { name: "resnet18", block: BlockKind::Basic, blocks: [2, 2, 2, 2] };
    /// 21.3 million.
    pub const RESNET34: Self = Self { name: "resnet34", block: BlockKind::Basic, blocks: [3, 4, 6, 3] };
    /// 23.5 million, four times the features.
    pub const RESNET50: Self = Self { name: "resnet50", block: BlockKind::Bottleneck, blocks: [3, 4, 6, 3] };
    /// The table.
    pub const ALL: [Self; 3] = [Self::RESNET18, Self::RESNET34, Self::RESNET50];

    /// Its name in recipes and in `model.json`: torchvision's.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// Channels that leave the body: the length of a pooled feature vector.
    pub fn features(self) -> usize {
        (LAYER_CHANNELS[3] * self.block.expansion()) as usize
    }
}

impl Default for Architecture {
    /// The lesson's.
    fn default() -> Self {
        Self::RESNET34
    }
}

impl fmt::Debug for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl FromStr for Architecture {
    type Err = LearnError;

    fn from_str(name: &str) -> Result<Self, LearnError> {
        Self::ALL.into_iter().find(|architecture| architecture.name == name).ok_or_else(|| {
            LearnError::InvalidRecipe(format!("architecture {name:?} is not known; there are {:?}", Self::ALL))
        })
    }
}

impl Serialize for Architecture {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}

impl<'de> Deserialize<'de> for Architecture {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl From<spec::Architecture> for Architecture {
    fn from(architecture: spec::Architecture) -> Self {
        match architecture {
            spec::Architecture::ResNet18 => Self::RESNET18,
            spec::Architecture::ResNet34 => Self::RESNET34,
            spec::Architecture::ResNet50 => Self::RESNET50,
        }
    }
}

/// Parameter groups: the early body, the late body and the head (fastai's split at layer3 and the head, lesson 2 §2.2).
pub const GROUPS: usize = 3;

/// The group of a parameter by its name in [`crate::Network`].
pub(crate) fn group(name: &str) -> usize {
    match name {
        name if name.starts_with("head.") => 2,
        name if name.starts_with("body.layer3.") || name.starts_with("body.layer4.") => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_a_strange_one_is_answered_with_the_table() {
        for architecture in Architecture::ALL {
            assert_eq!(architecture.name().parse(), Ok(architecture));
            let json = serde_json::to_string(&architecture).unwrap();
            assert_eq!(serde_json::from_str::<Architecture>(&json).unwrap(), architecture);
        }
        let error = "vgg16".parse::<Architecture>().unwrap_err().to_string();
        assert!(error.contains("vgg16") && error.contains("resnet50"), "{error}");
    }

    #[test]
    fn what_jobs_may_ask_for_is_in_the_table_under_the_same_name() {
        for &asked in spec::Architecture::ALL {
            assert_eq!(Architecture::from(asked).name(), asked.as_str());
        }
    }
}
