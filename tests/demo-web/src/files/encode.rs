//! The formats in which a drawing can be stored.

use std::fmt::Debug;

use image::codecs::bmp::BmpEncoder;
use image::codecs::gif::GifEncoder;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::webp::WebPEncoder;
use image::{ExtendedColorType, Frame, ImageEncoder, RgbImage, imageops};

use super::{cmyk, png};
use crate::draw::{Raster, Subject};

const QUALITIES: u32 = 0x0a11;
const FRAMES: u32 = 16;
/// GIF is slow to make: its pictures are at most this wide.
const GIF_WIDTH: u32 = 200;

/// How a drawing is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Encoding {
    Jpeg,
    /// Seven eighths of the size, and compressed harder.
    SmallerJpeg,
    GreyJpeg,
    CmykJpeg,
    /// On its side, with an EXIF orientation that puts it upright.
    TurnedJpeg,
    Png,
    SixteenBitPng,
    /// With a palette and transparent corners.
    StickerPng,
    WebP,
    Bmp,
    Gif,
}

impl Encoding {
    /// Of file names.
    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::Jpeg | Self::SmallerJpeg | Self::GreyJpeg | Self::CmykJpeg | Self::TurnedJpeg => "jpg",
            Self::Png | Self::SixteenBitPng | Self::StickerPng => "png",
            Self::WebP => "webp",
            Self::Bmp => "bmp",
            Self::Gif => "gif",
        }
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self.extension() {
            "jpg" => "image/jpeg",
            "png" => "image/png",
            "webp" => "image/webp",
            "bmp" => "image/bmp",
            _ => "image/gif",
        }
    }
}

/// The JPEG quality of a picture, 50 to 95.
pub(super) fn quality(subject: &Subject) -> u8 {
    subject.dice(QUALITIES).range(50.0, 95.99) as u8
}

pub(super) fn encode(drawing: &Raster, encoding: Encoding, quality: u8) -> Vec<u8> {
    match encoding {
        Encoding::Jpeg => jpeg(drawing, quality, None),
        Encoding::SmallerJpeg => jpeg(&smaller(drawing), 60, None),
        Encoding::GreyJpeg => grey_jpeg(&grey(drawing), drawing.width, drawing.height, quality),
        Encoding::CmykJpeg => cmyk::jpeg(drawing, quality),
        Encoding::TurnedJpeg => jpeg(&turned(drawing), quality, Some(LIES_ON_ITS_SIDE)),
        Encoding::Png => png::rgb(drawing),
        Encoding::SixteenBitPng => png::sixteen_bit(drawing),
        Encoding::StickerPng => png::sticker(drawing),
        Encoding::WebP => webp(drawing),
        Encoding::Bmp => bmp(drawing),
        Encoding::Gif => gif(&[image(&narrow(drawing))]),
    }
}

/// EXIF: a little-endian TIFF directory of one entry, orientation 6.
const LIES_ON_ITS_SIDE: &[u8] = &[
    b'I', b'I', 42, 0, 8, 0, 0, 0, // header, and where the directory is
    1, 0, 0x12, 1, 3, 0, 1, 0, 0, 0, 6, 0, 0, 0, // one entry: 0x0112, a short, one of them, 6
    0, 0, 0, 0, // no further directory
];

fn jpeg(drawing: &Raster, quality: u8, exif: Option<&[u8]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut bytes, quality);
    if let Some(exif) = exif {
        written(encoder.set_exif_metadata(exif.to_vec()));
    }
    written(encoder.write_image(&drawing.data, drawing.width, drawing.height, ExtendedColorType::Rgb8));
    bytes
}

pub(super) fn grey_jpeg(plane: &[u8], width: u32, height: u32, quality: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut bytes, quality);
    written(encoder.write_image(plane, width, height, ExtendedColorType::L8));
    bytes
}

fn webp(drawing: &Raster) -> Vec<u8> {
    let mut bytes = Vec::new();
    let encoder = WebPEncoder::new_lossless(&mut bytes);
    written(encoder.write_image(&drawing.data, drawing.width, drawing.height, ExtendedColorType::Rgb8));
    bytes
}

fn bmp(drawing: &Raster) -> Vec<u8> {
    let mut bytes = Vec::new();
    let encoder = BmpEncoder::new(&mut bytes);
    written(encoder.write_image(&drawing.data, drawing.width, drawing.height, ExtendedColorType::Rgb8));
    bytes
}

fn gif(frames: &[RgbImage]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new_with_speed(&mut bytes, 20);
    for frame in frames {
        let opaque = image::DynamicImage::from(frame.clone()).into_rgba8();
        written(encoder.encode_frame(Frame::new(opaque)));
    }
    drop(encoder);
    bytes
}

/// A drawing that goes by, once around.
pub(super) fn animation(drawing: &Raster) -> Vec<u8> {
    let still = image(&narrow(drawing));
    let width = still.width();
    let frames: Vec<RgbImage> = (0..FRAMES)
        .map(|nth| {
            RgbImage::from_fn(width, still.height(), |x, y| *still.get_pixel((x + nth * width / FRAMES) % width, y))
        })
        .collect();
    gif(&frames)
}

pub(super) fn pixel() -> Vec<u8> {
    png::rgb(&Raster { width: 1, height: 1, data: vec![255; 3] })
}

fn smaller(drawing: &Raster) -> Raster {
    scaled(drawing, drawing.width * 7 / 8)
}

fn narrow(drawing: &Raster) -> Raster {
    scaled(drawing, drawing.width.min(GIF_WIDTH))
}

fn scaled(drawing: &Raster, width: u32) -> Raster {
    let height = (drawing.height * width / drawing.width).max(1);
    raster(imageops::resize(&image(drawing), width, height, imageops::FilterType::Triangle))
}

fn turned(drawing: &Raster) -> Raster {
    raster(imageops::rotate270(&image(drawing)))
}

fn grey(drawing: &Raster) -> Vec<u8> {
    let light = |pixel: &[u8]| (u32::from(pixel[0]) * 77 + u32::from(pixel[1]) * 150 + u32::from(pixel[2]) * 29) >> 8;
    drawing.data.chunks_exact(3).map(|pixel| light(pixel) as u8).collect()
}

fn image(drawing: &Raster) -> RgbImage {
    RgbImage::from_raw(drawing.width, drawing.height, drawing.data.clone()).unwrap_or_default()
}

fn raster(image: RgbImage) -> Raster {
    Raster { width: image.width(), height: image.height(), data: image.into_raw() }
}

#[expect(
    clippy::expect_used,
    reason = "an encoder fails on wrong sizes and full disks; these sizes are right, and this is memory"
)]
pub(super) fn written<T, E: Debug>(outcome: Result<T, E>) -> T {
    outcome.expect("encoders write into memory")
}
