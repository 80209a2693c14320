//! Every reason of refusal, and everything that must pass.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, RgbImage};
use proptest::prelude::*;
use ursa_vision::{Format, Limits, Preprocessing, RefusalReason, decode, normalise};

/// A picture with structure at every scale, so that nothing compresses to nothing.
fn picture(width: u32, height: u32) -> DynamicImage {
    let pixel = |x: u32, y: u32| image::Rgb([(x * 7 + y) as u8, (x * y / 3) as u8, (y * 5) as u8]);
    DynamicImage::ImageRgb8(RgbImage::from_fn(width, height, pixel))
}

fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn jpeg() -> Vec<u8> {
    encoded(&picture(96, 64), ImageFormat::Jpeg)
}

fn png() -> Vec<u8> {
    encoded(&picture(96, 64), ImageFormat::Png)
}

fn reason(bytes: &[u8]) -> RefusalReason {
    decode(bytes, &Limits::default()).unwrap_err().reason
}

#[test]
fn every_format_decodes_to_the_same_size() {
    let formats = [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::Gif, ImageFormat::WebP, ImageFormat::Bmp];
    for format in formats {
        let decoded = decode(&encoded(&picture(96, 64), format), &Limits::default()).unwrap();
        assert_eq!((decoded.pixels.width, decoded.pixels.height), (96, 64), "{format:?}");
        assert_eq!(decoded.pixels.data.len(), 96 * 64 * 3);
    }
}

#[test]
fn odd_modes_become_rgb() {
    let grey = DynamicImage::ImageLuma8(picture(40, 40).into_luma8());
    let deep = DynamicImage::ImageRgb16(picture(40, 40).into_rgb16());
    for (picture, mode) in [(grey, "l8"), (deep, "rgb16")] {
        let decoded = decode(&encoded(&picture, ImageFormat::Png), &Limits::default()).unwrap();
        assert_eq!((decoded.info.mode.as_str(), decoded.pixels.data.len()), (mode, 4800));
    }
    let clear = DynamicImage::ImageRgba8(image::RgbaImage::from_pixel(20, 20, image::Rgba([0, 0, 0, 0])));
    let decoded = decode(&encoded(&clear, ImageFormat::Png), &Limits::default()).unwrap();
    assert!(decoded.pixels.data.iter().all(|value| *value == 255), "transparent is white paper");
}

#[test]
fn what_is_no_picture_is_told_apart() {
    assert_eq!(reason(b""), RefusalReason::Empty);
    assert_eq!(reason(b"hello"), RefusalReason::NotAnImage);
    let html = decode(b"<!DOCTYPE html><html>404</html>", &Limits::default()).unwrap_err();
    assert_eq!(html.reason, RefusalReason::NotAnImage);
    assert!(html.detail.contains("HTML"), "{html}");
    assert_eq!(reason(b"II*\0aaaaaaaa"), RefusalReason::UnsupportedFormat);
}

#[test]
fn sizes_are_capped_on_both_sides() {
    assert_eq!(reason(&encoded(&picture(1, 1), ImageFormat::Png)), RefusalReason::TooSmall);
    let tight = Limits { max_bytes: 100, ..Limits::default() };
    assert_eq!(decode(&png(), &tight).unwrap_err().reason, RefusalReason::TooManyBytes);
    let tight = Limits { max_pixels: 6000, ..Limits::default() };
    for bytes in [jpeg(), png()] {
        assert_eq!(decode(&bytes, &tight).unwrap_err().reason, RefusalReason::TooManyPixels);
    }
}

#[test]
fn a_decompression_bomb_is_refused_by_its_header() {
    let mut bomb = png();
    bomb[16..20].copy_from_slice(&50_000_u32.to_be_bytes());
    bomb[20..24].copy_from_slice(&50_000_u32.to_be_bytes());
    let checksum = crc(&bomb[12..29]);
    bomb[29..33].copy_from_slice(&checksum.to_be_bytes());
    assert_eq!(reason(&bomb), RefusalReason::TooManyPixels);
}

/// CRC-32 as PNG uses it (ISO 3309).
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 })
    })
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    for (name, bytes) in [("jpeg", jpeg()), ("png", png())] {
        decode(&bytes, &Limits::default()).unwrap();
        for end in (1..bytes.len() - 12).step_by(37) {
            let refused = decode(&bytes[..end], &Limits::default());
            assert!(refused.is_err(), "{name} cut after {end} of {} bytes", bytes.len());
        }
    }
    let bytes = jpeg();
    assert_eq!(reason(&bytes[..bytes.len() / 2]), RefusalReason::Truncated);
    assert_eq!(reason(&bytes[..bytes.len() - 2]), RefusalReason::Truncated);
}

#[test]
fn bytes_after_the_end_of_a_jpeg_do_no_harm() {
    let mut bytes = jpeg();
    bytes.extend_from_slice(b"appended by some camera");
    decode(&bytes, &Limits::default()).unwrap();
}

#[test]
fn an_animation_beyond_the_cap_is_refused() {
    let mut bytes = Vec::new();
    {
        let mut encoder = image::codecs::gif::GifEncoder::new(&mut bytes);
        let frame = || image::Frame::new(picture(32, 32).into_rgba8());
        encoder.encode_frames((0..3).map(|_| frame())).unwrap();
    }
    assert_eq!(reason(&bytes), RefusalReason::AnimatedBeyondCap);
    let decoded = decode(&bytes, &Limits { max_frames: 3, ..Limits::default() }).unwrap();
    assert_eq!((decoded.info.frames, decoded.info.format), (3, Format::Gif));
}

#[test]
fn a_rotated_photograph_is_shown_upright() {
    let plain = jpeg();
    let mut exif = b"\xff\xe1\x00\x22Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0".to_vec();
    let mut rotated = plain[..2].to_vec();
    rotated.append(&mut exif);
    rotated.extend_from_slice(&plain[2..]);
    let decoded = decode(&rotated, &Limits::default()).unwrap();
    assert_eq!((decoded.info.orientation, decoded.pixels.width, decoded.pixels.height), (6, 64, 96));
}

#[test]
fn near_duplicates_have_near_hashes_and_others_do_not() {
    let hash = |picture: &DynamicImage, format| {
        let decoded = decode(&encoded(picture, format), &Limits::default()).unwrap();
        normalise(&decoded, 512).unwrap().perceptual_hash
    };
    // Smooth, as photographs are at nine pixels across.
    let smooth = |phase: f32| {
        let wave = move |x: u32, y: u32| {
            ((x as f32 / 30.0 + phase).sin() * (y as f32 / 40.0 - phase).cos() * 120.0 + 128.0) as u8
        };
        DynamicImage::ImageRgb8(RgbImage::from_fn(300, 200, |x, y| image::Rgb([wave(x, y); 3])))
    };
    let one = hash(&smooth(0.0), ImageFormat::Png);
    let again = hash(&smooth(0.0).resize_exact(294, 196, image::imageops::FilterType::Triangle), ImageFormat::Jpeg);
    let other = hash(&smooth(2.0), ImageFormat::Png);
    assert!((one ^ again).count_ones() <= 3, "{one:x} {again:x}");
    assert!((one ^ other).count_ones() > 10, "{one:x} {other:x}");
}

#[test]
fn normalising_bounds_the_longer_side_and_keeps_the_shape() {
    let decoded = decode(&encoded(&picture(1000, 500), ImageFormat::Png), &Limits::default()).unwrap();
    let normal = normalise(&decoded, 512).unwrap();
    assert_eq!((normal.width, normal.height), (512, 256));
    let small = normalise(&decode(&jpeg(), &Limits::default()).unwrap(), 512).unwrap();
    assert_eq!((small.width, small.height), (96, 64), "nothing is enlarged");
}

#[test]
fn preparing_is_deterministic_and_of_the_stated_size() {
    let preprocessing = Preprocessing::imagenet(32);
    let prepared = preprocessing.prepare(&jpeg(), &Limits::default()).unwrap();
    assert_eq!(prepared.len(), 32 * 32 * 3);
    assert_eq!(prepared, preprocessing.prepare(&jpeg(), &Limits::default()).unwrap());
    let mut floats = Vec::new();
    preprocessing.to_chw(&prepared, &mut floats);
    let expected = (f32::from(prepared[3 * 5 + 1]) / 255.0 - 0.456) / 0.224;
    assert!((floats[32 * 32 + 5] - expected).abs() < 1e-6);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), kind in 0_usize..5) {
        let heads: [&[u8]; 5] = [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF\0\0\0\0WEBP"];
        let _ = decode(&[heads[kind], &bytes].concat(), &Limits::default());
    }

    #[test]
    fn no_mutation_makes_it_panic(flips in prop::collection::vec((0_usize..5000, any::<u8>()), 1..12), png_not_jpeg: bool) {
        let mut bytes = if png_not_jpeg { png() } else { jpeg() };
        for (at, value) in flips {
            let length = bytes.len();
            bytes[at % length] = value;
        }
        let _ = decode(&bytes, &Limits::default());
    }
}
