//! A JPEG in printing colours, which no encoder at hand writes.
//!
//! Four grey JPEGs of one quality share their tables. So a JPEG of four components is their scans one after another behind a
//! frame header that names all four (ITU T.81, scans of one component each).

use super::encode::grey_jpeg;
use crate::draw::Raster;

const FRAME: u8 = 0xc0;
const HUFFMAN_TABLES: u8 = 0xc4;
const SCAN: u8 = 0xda;
const QUANTISATION_TABLES: u8 = 0xdb;
const START: [u8; 2] = [0xff, 0xd8];
const END: [u8; 2] = [0xff, 0xd9];

/// Adobe's marker, which makes decoders read the components as inverted CMYK: version 100, no flags, no transform.
const ADOBE: &[u8] = &[0xff, 0xee, 0, 14, b'A', b'd', b'o', b'b', b'e', 0, 100, 0, 0, 0, 0, 0];

pub(super) fn jpeg(drawing: &Raster, quality: u8) -> Vec<u8> {
    let planes = inverted_cmyk(&drawing.data).map(|plane| grey_jpeg(&plane, drawing.width, drawing.height, quality));
    let tables = segments(&planes[0]).filter(|(marker, _)| matches!(*marker, QUANTISATION_TABLES | HUFFMAN_TABLES));
    let mut bytes = [&START[..], ADOBE].concat();
    for (marker, body) in tables {
        push_segment(&mut bytes, marker, body);
    }
    push_segment(&mut bytes, FRAME, &frame_header(drawing));
    for (component, plane) in (1..).zip(&planes) {
        push_segment(&mut bytes, SCAN, &[1, component, 0, 0, 63, 0]);
        bytes.extend_from_slice(scan_data(plane));
    }
    bytes.extend(END);
    bytes
}

/// Eight bits, four components, each with one block per unit and the first quantisation table.
fn frame_header(drawing: &Raster) -> Vec<u8> {
    let side = |pixels: u32| (pixels as u16).to_be_bytes();
    let components = (1..=4).flat_map(|component| [component, 0x11, 0]);
    [8].into_iter().chain(side(drawing.height)).chain(side(drawing.width)).chain([4]).chain(components).collect()
}

/// Cyan, magenta, yellow, black; 255 is no ink.
fn inverted_cmyk(rgb: &[u8]) -> [Vec<u8>; 4] {
    let black = |pixel: &[u8]| pixel[0].max(pixel[1]).max(pixel[2]).max(1);
    let ink = |channel: usize| {
        rgb.chunks_exact(3).map(|pixel| (u32::from(pixel[channel]) * 255 / u32::from(black(pixel))) as u8).collect()
    };
    [ink(0), ink(1), ink(2), rgb.chunks_exact(3).map(black).collect()]
}

fn push_segment(bytes: &mut Vec<u8>, marker: u8, body: &[u8]) {
    bytes.extend([0xff, marker]);
    bytes.extend((body.len() as u16 + 2).to_be_bytes());
    bytes.extend_from_slice(body);
}

/// Marker and body of each segment, up to the scan's header.
fn segments(jpeg: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut at = START.len();
    std::iter::from_fn(move || {
        let [_, marker, high, low] = *jpeg.get(at..)?.first_chunk::<4>()?;
        let end = at + 2 + usize::from(u16::from_be_bytes([high, low]));
        let body = jpeg.get(at + 4..end)?;
        at = if marker == SCAN { jpeg.len() } else { end };
        Some((marker, body))
    })
}

/// What follows the header of the only scan, without the end marker.
fn scan_data(jpeg: &[u8]) -> &[u8] {
    let headers: usize = segments(jpeg).map(|(_, body)| body.len() + 4).sum();
    &jpeg[START.len() + headers..jpeg.len() - END.len()]
}
