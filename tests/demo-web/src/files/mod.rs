//! From drawings to picture files, whole and broken.

mod cmyk;
mod encode;
mod png;

use crate::draw::{Subject, draw};

pub(crate) use encode::Encoding;

/// What a page hands out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum File {
    Drawing(Subject, Encoding),
    /// A JPEG that ends in its middle.
    Truncated(Subject),
    /// A GIF with many frames.
    Animation(Subject),
    /// A PNG with far more pixels than bytes.
    Bomb,
    /// A picture of one pixel.
    Pixel,
    /// A page that is no picture.
    Html,
    Empty,
}

const PAGE: &str = "<!doctype html><html><head><title>Hotlinking is not allowed</title></head>\
    <body><h1>This bear has moved</h1><p>Please visit our home page.</p></body></html>\n";

impl File {
    /// Draws and encodes it. Takes a few milliseconds of a processor.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Drawing(subject, encoding) => encode::encode(&draw(subject), *encoding, encode::quality(subject)),
            Self::Truncated(subject) => half(Self::Drawing(*subject, Encoding::Jpeg).bytes()),
            Self::Animation(subject) => encode::animation(&draw(subject)),
            Self::Bomb => png::BOMB.clone(),
            Self::Pixel => encode::pixel(),
            Self::Html => PAGE.as_bytes().to_vec(),
            Self::Empty => Vec::new(),
        }
    }

    /// What the server calls it, truthfully or not.
    pub(crate) fn content_type(&self) -> &'static str {
        match self {
            Self::Drawing(_, encoding) => encoding.content_type(),
            Self::Animation(_) => "image/gif",
            Self::Bomb | Self::Pixel => "image/png",
            Self::Truncated(_) | Self::Html | Self::Empty => "image/jpeg",
        }
    }
}

/// The first half, or a little more.
pub(crate) fn half(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.len() * 6 / 10);
    bytes
}
