//! Every reason of refusal, and everything that must pass.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fmt::Write as _;
use std::io::Cursor;

use image::{DynamicImage, ImageFormat, RgbImage};
use proptest::prelude::*;
use ursa_vision::{Format, Limits, Preprocessing, RefusalReason, Rgb, decode, normalise};

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
    let grey_jpeg = encoded(&DynamicImage::ImageLuma8(picture(40, 40).into_luma8()), ImageFormat::Jpeg);
    let decoded = decode(&grey_jpeg, &Limits::default()).unwrap();
    assert_eq!((decoded.info.mode.as_str(), decoded.pixels.data.len()), ("l8", 4800));
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
fn a_file_cut_anywhere_is_refused_in_every_other_format() {
    for format in [ImageFormat::Gif, ImageFormat::WebP, ImageFormat::Bmp] {
        let bytes = encoded(&picture(48, 40), format);
        for end in (1..bytes.len() - 2).step_by(13) {
            let refused = decode(&bytes[..end], &Limits::default());
            assert!(refused.is_err(), "{format:?} cut after {end} of {} bytes", bytes.len());
        }
    }
}

#[test]
fn a_png_without_its_last_byte_is_truncated() {
    let bytes = png();
    assert_eq!(reason(&bytes[..bytes.len() - 1]), RefusalReason::Truncated);
}

#[test]
fn a_jpeg_closed_too_early_is_refused() {
    let bytes = jpeg();
    let data = scan_start(&bytes);
    for end in data..bytes.len() - 4 {
        let closed = [&bytes[..end], b"\xff\xd9"].concat();
        assert!(decode(&closed, &Limits::default()).is_err(), "closed after {end} of {} bytes", bytes.len());
    }
}

#[test]
fn a_jpeg_without_its_middle_is_refused() {
    let bytes = jpeg();
    let data = scan_start(&bytes);
    for start in (data + 10..bytes.len() - 400).step_by(50) {
        let holed = [&bytes[..start], &bytes[start + 300..]].concat();
        assert!(decode(&holed, &Limits::default()).is_err(), "300 bytes missing at {start} of {}", bytes.len());
    }
}

/// Two JPEGs that no encoder here can make; `fixtures/README.md` says how they came to be.
const PROGRESSIVE: &[u8] = include_bytes!("fixtures/progressive.jpg");
const RESTARTS: &[u8] = include_bytes!("fixtures/restarts.jpg");

#[test]
fn progressive_and_restarting_jpegs_show_the_same_picture() {
    let [one, other] = [PROGRESSIVE, RESTARTS].map(|bytes| decode(bytes, &Limits::default()).unwrap().pixels);
    assert_eq!((one.width, one.height), (64, 48));
    assert_eq!(one, other);
}

#[test]
fn progressive_and_restarting_jpegs_cut_or_closed_early_are_refused() {
    for bytes in [PROGRESSIVE, RESTARTS] {
        for end in (scan_start(bytes)..bytes.len() - 12).step_by(3) {
            assert!(decode(&bytes[..end], &Limits::default()).is_err(), "cut after {end} of {}", bytes.len());
            let closed = [&bytes[..end], b"\xff\xd9"].concat();
            let refused = decode(&closed, &Limits::default()).is_err();
            assert!(refused || bytes[end - 1] == 0xff, "closed after {end} of {}", bytes.len());
        }
    }
}

#[test]
fn a_missing_restart_interval_is_noticed() {
    let restart = |number: u8| RESTARTS.windows(2).position(|pair| pair == [0xff, number]).unwrap();
    let holed = [&RESTARTS[..restart(0xd1)], &RESTARTS[restart(0xd2)..]].concat();
    assert_eq!(reason(&holed), RefusalReason::Corrupt);
}

/// Where the picture's data begins.
fn scan_start(jpeg: &[u8]) -> usize {
    let marker = jpeg.windows(2).position(|pair| pair == b"\xff\xda").unwrap();
    marker + 2 + usize::from(u16::from_be_bytes([jpeg[marker + 2], jpeg[marker + 3]]))
}

#[test]
fn odd_bytes_between_the_headers_of_a_jpeg_do_no_harm() {
    let plain = jpeg();
    let length = usize::from(u16::from_be_bytes([plain[4], plain[5]]));
    let odd = [&plain[..4 + length], b"some camera's own", &plain[4 + length..]].concat();
    assert_eq!(decode(&odd, &Limits::default()).unwrap().pixels, decode(&plain, &Limits::default()).unwrap().pixels);
}

#[test]
fn the_colour_models_of_print_are_read_as_viewers_read_them() {
    // Stored inverted: 255 is no ink. CMYK, then YCCK whose luma 0 is white before the inversion.
    let cases = [
        (Flat::cmyk([255, 255, 255, 255]), [255, 255, 255]),
        (Flat::cmyk([255, 0, 0, 255]), [255, 0, 0]),
        (Flat::cmyk([255, 255, 255, 0]), [0, 0, 0]),
        (Flat::cmyk([200, 100, 50, 128]), [100, 50, 25]),
        (Flat { values: [0, 128, 128, 255], transform: Some(2) }, [255, 255, 255]),
        (Flat { values: [200, 128, 128, 255], transform: Some(2) }, [55, 55, 55]),
        (Flat { values: [255, 0, 0, 255], transform: None }, [255, 0, 0]),
    ];
    for (flat, expected) in cases {
        let decoded = decode(&flat.jpeg(), &Limits::default()).unwrap();
        assert_eq!((decoded.info.mode.as_str(), decoded.pixels.width), ("cmyk8", 16));
        for pixel in decoded.pixels.data.chunks(3) {
            let close = pixel.iter().zip(expected).all(|(got, wanted)| got.abs_diff(wanted) <= 2);
            assert!(close, "{:?} {:?}: {pixel:?}, not {expected:?}", flat.values, flat.transform);
        }
    }
}

/// A 16×16 JPEG of four components, each of one value, with or without Adobe's marker.
struct Flat {
    values: [u8; 4],
    transform: Option<u8>,
}

impl Flat {
    fn cmyk(values: [u8; 4]) -> Self {
        Self { values, transform: Some(0) }
    }

    fn jpeg(&self) -> Vec<u8> {
        let mut out = b"\xff\xd8".to_vec();
        if let Some(transform) = self.transform {
            out.extend_from_slice(b"\xff\xee\x00\x0eAdobe\x00\x64\0\0\0\0");
            out.push(transform);
        }
        // Quantisation by 1; then the frame.
        out.extend_from_slice(b"\xff\xdb\x00\x43\x00");
        out.extend_from_slice(&[1; 64]);
        out.extend_from_slice(b"\xff\xc0\x00\x14\x08\x00\x10\x00\x10\x04\x01\x11\0\x02\x11\0\x03\x11\0\x04\x11\0");
        // DC: twelve codes of four bits, 0000 to 1011, for categories 0 to 11. AC: one bit, 0, for the end of the block.
        out.extend_from_slice(b"\xff\xc4\x00\x1f\x00\0\0\0\x0c\0\0\0\0\0\0\0\0\0\0\0\0");
        out.extend(0..12_u8);
        out.extend_from_slice(b"\xff\xc4\x00\x14\x10\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
        out.extend_from_slice(b"\xff\xda\x00\x0e\x04\x01\0\x02\0\x03\0\x04\0\0\x3f\0");
        let mut bits = String::new();
        for block in 0..16 {
            // Only a component's first block differs from the one before.
            let level = if block < 4 { (i32::from(self.values[block]) - 128) * 8 } else { 0 };
            let category = (32 - level.unsigned_abs().leading_zeros()) as usize;
            write!(bits, "{category:04b}").unwrap();
            if category > 0 {
                let value = if level < 0 { level + (1 << category) - 1 } else { level };
                write!(bits, "{value:0category$b}").unwrap();
            }
            bits.push('0');
        }
        while !bits.len().is_multiple_of(8) {
            bits.push('1');
        }
        for byte in bits.as_bytes().chunks(8) {
            let byte = byte.iter().fold(0, |byte, bit| byte << 1 | (bit - b'0'));
            out.push(byte);
            if byte == 0xff {
                out.push(0);
            }
        }
        out.extend_from_slice(b"\xff\xd9");
        out
    }
}

#[test]
fn a_bomb_in_a_jpeg_header_is_refused_before_its_missing_data() {
    let mut bomb = Flat::cmyk([0; 4]).jpeg();
    let frame = bomb.windows(2).position(|pair| pair == b"\xff\xc0").unwrap();
    bomb[frame + 5..frame + 9].copy_from_slice(b"\xff\xff\xff\xff");
    assert_eq!(reason(&bomb), RefusalReason::TooManyPixels);
}

#[test]
fn animated_png_and_webp_are_counted() {
    let plain = png();
    let mut control = b"acTL\0\0\0\x05\0\0\0\0".to_vec();
    control.extend_from_slice(&crc(&control).to_be_bytes());
    let animated = [&plain[..33], &8_u32.to_be_bytes(), &control, &plain[33..]].concat();
    assert_eq!(reason(&animated), RefusalReason::AnimatedBeyondCap);
    let mut webp = b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0\x1f\0\0\x1f\0\0".to_vec();
    for _ in 0..2 {
        webp.extend_from_slice(b"ANMF\x03\0\0\0abc\0");
    }
    let size = (webp.len() as u32 - 8).to_le_bytes();
    webp[4..8].copy_from_slice(&size);
    assert_eq!(reason(&webp), RefusalReason::AnimatedBeyondCap);
}

#[test]
fn a_jpeg_of_an_unread_process_is_told_apart() {
    let mut arithmetic = jpeg();
    let frame = arithmetic.windows(2).position(|pair| pair == b"\xff\xc0").unwrap();
    arithmetic[frame + 1] = 0xc9;
    assert_eq!(reason(&arithmetic), RefusalReason::UnsupportedFormat);
}

#[test]
fn a_corrupt_checksum_is_corrupt() {
    let mut bytes = png();
    let data = bytes.windows(4).position(|kind| kind == b"IDAT").unwrap();
    bytes[data + 40] ^= 0x55;
    assert_eq!(reason(&bytes), RefusalReason::Corrupt);
}

#[test]
fn a_long_strip_is_prepared_without_the_memory_of_its_scaled_whole() {
    let strip = Rgb { width: 1_000_000, height: 16, data: vec![7; 48_000_000] };
    assert!(Preprocessing::imagenet(224).prepare_pixels(&strip).iter().all(|value| *value == 7));
}

#[test]
fn a_strip_too_thin_to_train_on_is_refused_when_normalised() {
    let strip = decode(&encoded(&picture(1600, 20), ImageFormat::Png), &Limits::default()).unwrap();
    assert_eq!(normalise(&strip, 512).unwrap_err().reason, RefusalReason::TooSmall);
    let narrow = decode(&encoded(&picture(512, 16), ImageFormat::Png), &Limits::default()).unwrap();
    let kept = normalise(&narrow, 512).unwrap();
    decode(&kept.bytes, &Limits::default()).expect("what is kept can be read again");
}

#[test]
fn preparing_keeps_the_centre() {
    // Red, green, blue thirds: of 96×32 the middle third is what a square of the shorter side sees.
    let thirds = RgbImage::from_fn(96, 32, |x, _| {
        let mut pixel = [0; 3];
        pixel[(x / 32) as usize] = 255;
        image::Rgb(pixel)
    });
    let bytes = encoded(&DynamicImage::ImageRgb8(thirds), ImageFormat::Png);
    let prepared = Preprocessing::imagenet(16).prepare(&bytes, &Limits::default()).unwrap();
    let inner = prepared.chunks(3).enumerate().filter(|(at, _)| (1..15).contains(&(at % 16)));
    assert!(inner.map(|(_, pixel)| pixel).all(|pixel| pixel == [0, 255, 0]));
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
    for orientation in 1..=8_u8 {
        let exif = [
            &b"\xff\xe1\x00\x22Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0"[..],
            &[orientation, 0, 0, 0, 0, 0, 0, 0],
        ]
        .concat();
        let rotated = [&plain[..2], &exif, &plain[2..]].concat();
        let info = decode(&rotated, &Limits::default()).unwrap().info;
        let shown = if orientation < 5 { (96, 64) } else { (64, 96) };
        assert_eq!((info.orientation, (info.width, info.height)), (orientation, shown));
    }
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
