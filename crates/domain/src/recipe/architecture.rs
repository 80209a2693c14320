//! The networks that can be trained, by name. What they are made of, the learner knows.

use serde::{Deserialize, Serialize};

use crate::lifecycle::words;

/// A network, under torchvision's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Architecture {
    /// ResNet-18.
    #[serde(rename = "resnet18")]
    ResNet18,
    /// ResNet-34: the lesson's.
    #[default]
    #[serde(rename = "resnet34")]
    ResNet34,
    /// ResNet-50.
    #[serde(rename = "resnet50")]
    ResNet50,
}

words!(Architecture, "architecture", {
    ResNet18 => "resnet18",
    ResNet34 => "resnet34",
    ResNet50 => "resnet50",
});
