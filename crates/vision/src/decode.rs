//! From bytes to RGB: header first, caps, then a full decode.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use image::metadata::Orientation;
use image::{DynamicImage, ExtendedColorType, ImageDecoder, ImageError, ImageFormat, ImageReader};
use serde::{Deserialize, Serialize};

use crate::refusal::{Refusal, RefusalReason as Reason};
use crate::{container, exif, jpeg};

/// What is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Largest file, in bytes.
    pub max_bytes: u64,
    /// Most pixels; checked before anything is decoded.
    pub max_pixels: u64,
    /// Shortest side, in pixels.
    pub min_side: u32,
    /// Most frames.
    pub max_frames: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_bytes: 32 << 20, max_pixels: 50_000_000, min_side: 16, max_frames: 1 }
    }
}

/// Eight bits a channel, rows from the top, `height × width × 3`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rgb {
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// `3 · width · height` bytes.
    pub data: Vec<u8>,
}

/// The formats that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// JPEG.
    Jpeg,
    /// PNG.
    Png,
    /// GIF.
    Gif,
    /// WebP.
    WebP,
    /// Windows bitmap.
    Bmp,
}

impl Format {
    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Jpeg => "jpeg",
            Self::Png => "png",
            Self::Gif => "gif",
            Self::WebP => "webp",
            Self::Bmp => "bmp",
        }
    }

    /// Of file names, without the dot.
    pub fn extension(self) -> &'static str {
        if self == Self::Jpeg { "jpg" } else { self.as_str() }
    }

    /// What the first bytes say; `None` when they say nothing known.
    pub fn sniff(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0xff, 0xd8, 0xff, ..] => Some(Self::Jpeg),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(Self::Png),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Self::Gif),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Self::WebP),
            [b'B', b'M', ..] => Some(Self::Bmp),
            _ => None,
        }
    }

    fn library(self) -> ImageFormat {
        match self {
            Self::Jpeg => ImageFormat::Jpeg,
            Self::Png => ImageFormat::Png,
            Self::Gif => ImageFormat::Gif,
            Self::WebP => ImageFormat::WebP,
            Self::Bmp => ImageFormat::Bmp,
        }
    }
}

/// What a picture was before it became pixels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageInfo {
    /// Of the file.
    pub format: Format,
    /// As displayed, in pixels.
    pub width: u32,
    /// As displayed, in pixels.
    pub height: u32,
    /// Colour mode, for instance `rgb8`, `l8`, `rgb16`, `cmyk8`.
    pub mode: String,
    /// EXIF orientation, 1 to 8; already applied to the pixels.
    pub orientation: u8,
    /// Frames; the pixels are the first one's.
    pub frames: u32,
}

/// A decoded picture.
#[derive(Debug, Clone)]
pub struct Decoded {
    /// Its pixels as displayed.
    pub pixels: Rgb,
    /// What it was.
    pub info: ImageInfo,
}

/// Decodes a whole picture, or says why not.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Decoded, Refusal> {
    let format = identify(bytes, limits)?;
    catch_unwind(AssertUnwindSafe(|| decode_as(format, bytes, limits)))
        .unwrap_or_else(|_| Err(Refusal::new(Reason::Corrupt, "the decoder gave up on it")))
}

fn identify(bytes: &[u8], limits: &Limits) -> Result<Format, Refusal> {
    if bytes.is_empty() {
        return Err(Refusal::new(Reason::Empty, "it has no bytes"));
    }
    if bytes.len() as u64 > limits.max_bytes {
        let detail = format!("it has {} bytes, {} are allowed", bytes.len(), limits.max_bytes);
        return Err(Refusal::new(Reason::TooManyBytes, detail));
    }
    Format::sniff(bytes).ok_or_else(|| stranger(bytes))
}

/// A file that is none of the formats that are read.
fn stranger(bytes: &[u8]) -> Refusal {
    let head = &bytes[..bytes.len().min(512)];
    let text = String::from_utf8_lossy(head).trim_start().to_ascii_lowercase();
    if text.starts_with("<!doctype html") || text.starts_with("<html") || text.contains("<body") {
        return Refusal::new(Reason::NotAnImage, "it looks like an HTML page");
    }
    let known = match head {
        [b'I', b'I', b'*', 0, ..] | [b'M', b'M', 0, b'*', ..] => Some("TIFF"),
        [_, _, _, _, b'f', b't', b'y', b'p', b'a', b'v', b'i', b'f', ..] => Some("AVIF"),
        [_, _, _, _, b'f', b't', b'y', b'p', b'h', b'e', b'i', ..] => Some("HEIC"),
        _ if text.contains("<svg") => Some("SVG"),
        _ => None,
    };
    match known {
        Some(name) => Refusal::new(Reason::UnsupportedFormat, format!("{name} is not read")),
        None => Refusal::new(Reason::NotAnImage, "it begins like no picture format"),
    }
}

fn decode_as(format: Format, bytes: &[u8], limits: &Limits) -> Result<Decoded, Refusal> {
    let frames = container::frames(format, bytes);
    if frames > limits.max_frames {
        let detail = format!("it has {frames} frames or more, {} are allowed", limits.max_frames);
        return Err(Refusal::new(Reason::AnimatedBeyondCap, detail));
    }
    let (pixels, mode, orientation) = if format == Format::Jpeg {
        let (pixels, mode) = jpeg::decode(bytes, limits)?;
        (pixels, mode, exif::orientation(bytes))
    } else {
        decode_by_library(format, bytes, limits)?
    };
    let pixels = exif::upright(pixels, orientation);
    let info = ImageInfo { format, width: pixels.width, height: pixels.height, mode, orientation, frames };
    Ok(Decoded { pixels, info })
}

/// Refuses sizes that are not wanted, before anything is allocated for them.
pub(crate) fn check_size(width: u32, height: u32, limits: &Limits) -> Result<(), Refusal> {
    let pixels = u64::from(width) * u64::from(height);
    if pixels > limits.max_pixels {
        let detail = format!("{width}×{height} are {pixels} pixels, {} are allowed", limits.max_pixels);
        return Err(Refusal::new(Reason::TooManyPixels, detail));
    }
    let least = limits.min_side.max(1);
    if width.min(height) < least {
        let detail = format!("{width}×{height}: each side needs at least {least} pixels");
        return Err(Refusal::new(Reason::TooSmall, detail));
    }
    Ok(())
}

/// Pixels, colour mode and EXIF orientation.
fn decode_by_library(format: Format, bytes: &[u8], limits: &Limits) -> Result<(Rgb, String, u8), Refusal> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format.library());
    // Our own cap is on pixels; this one is for what a decoder allocates on the side.
    let mut caps = image::Limits::no_limits();
    caps.max_alloc = Some(limits.max_pixels.saturating_mul(16));
    reader.limits(caps);
    let mut decoder = reader.into_decoder().map_err(|error| refuse(&error))?;
    let (width, height) = decoder.dimensions();
    check_size(width, height, limits)?;
    container::check_complete(format, bytes)?;
    let mode = match decoder.original_color_type() {
        ExtendedColorType::Unknown(_) => "palette".to_owned(),
        known => format!("{known:?}").to_ascii_lowercase(),
    };
    // Unreadable metadata is no reason to refuse a picture.
    let orientation = decoder.orientation().map_or(1, Orientation::to_exif);
    let picture = DynamicImage::from_decoder(decoder).map_err(|error| refuse(&error))?;
    Ok((on_white(picture), mode, orientation))
}

fn refuse(error: &ImageError) -> Refusal {
    let text = error.to_string();
    let cut = matches!(error, ImageError::IoError(io) if io.kind() == std::io::ErrorKind::UnexpectedEof)
        || [
            "unexpected end",
            "UnexpectedEof",
            "unexpected EOF",
            "failed to fill",
            "truncated",
            "end of file",
            "Unexpected end",
        ]
        .iter()
        .any(|hint| text.contains(hint));
    let reason = match error {
        _ if cut => Reason::Truncated,
        ImageError::Unsupported(_) => Reason::UnsupportedFormat,
        ImageError::Limits(_) => Reason::TooManyPixels,
        _ => Reason::Corrupt,
    };
    Refusal::new(reason, text)
}

/// RGB, with whatever is transparent in front of white paper.
fn on_white(picture: DynamicImage) -> Rgb {
    if !picture.color().has_alpha() {
        let rgb = picture.into_rgb8();
        return Rgb { width: rgb.width(), height: rgb.height(), data: rgb.into_raw() };
    }
    let rgba = picture.into_rgba8();
    let blend = |channel: u8, alpha: u8| {
        let alpha = u32::from(alpha);
        ((u32::from(channel) * alpha + 255 * (255 - alpha) + 127) / 255) as u8
    };
    let data = rgba.pixels().flat_map(|p| [blend(p[0], p[3]), blend(p[1], p[3]), blend(p[2], p[3])]).collect();
    Rgb { width: rgba.width(), height: rgba.height(), data }
}
