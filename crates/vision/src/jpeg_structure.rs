//! The structure of a JPEG file: its markers, where its data ends, and what of it is missing. Decodes nothing.

use crate::refusal::{Refusal, RefusalReason as Reason};

const RESTART_0: u8 = 0xd0;
const RESTART_7: u8 = 0xd7;
const END_OF_IMAGE: u8 = 0xd9;
const START_OF_SCAN: u8 = 0xda;
const PROGRESSIVE_FRAME: u8 = 0xc2;

/// Ones as data, in which each byte of ones is followed by a zero, or it would be a marker.
const TRAP: [u8; 16] = [0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0];

/// Where the pieces of the picture's data end, in bytes from the file's beginning.
#[derive(Debug, Clone, Default)]
pub(crate) struct Structure {
    progressive: bool,
    /// Of a progressive frame: its component ids, each with the number of low bits still missing of every coefficient.
    missing_bits: Vec<(u8, [u8; 64])>,
    /// Before a restart marker.
    restarts: Vec<usize>,
    /// Before the marker after a scan.
    scans: Vec<usize>,
    /// Before the end marker.
    end: usize,
}

impl Structure {
    /// From a frame header: precision, height, width, number of components, and three bytes for each.
    fn begin_progressive(&mut self, frame: &[u8]) {
        self.progressive = true;
        let components = frame.get(6..).unwrap_or_default().chunks_exact(3);
        self.missing_bits = components.map(|component| (component[0], [u8::MAX; 64])).collect();
    }

    /// From a scan header: number of components, two bytes for each, first and last coefficient, bits before and after.
    fn note_scan(&mut self, scan: &[u8]) {
        let components = usize::from(scan.first().copied().unwrap_or(0));
        let Some(&[first, last, bits]) = scan.get(1 + 2 * components..).and_then(<[u8]>::first_chunk) else { return };
        for selector in scan[1..].chunks_exact(2).take(components) {
            for (_, missing) in self.missing_bits.iter_mut().filter(|(id, _)| *id == selector[0]) {
                if let Some(covered) = missing.get_mut(usize::from(first)..=usize::from(last)) {
                    covered.fill(bits & 0x0f);
                }
            }
        }
    }

    /// The file with a run of one-bits behind each piece of data: no table has a code of ones alone (ITU T.81, C.2), so
    /// a decoder that still wants a coefficient there fails, and one that has them all never looks.
    pub(crate) fn trapped(&self, bytes: &[u8]) -> Vec<u8> {
        // The decoder wants the next header at once after the first scan, and after every scan of a sequential file.
        let untrapped = if self.progressive { 1 } else { self.scans.len() - 1 };
        let scans = &self.scans[untrapped.min(self.scans.len())..];
        let mut ends = [&self.restarts, scans].concat();
        ends.sort_unstable();
        let mut out = Vec::with_capacity(self.end + ends.len() * TRAP.len() + 2);
        let mut from = 0;
        for end in ends {
            out.extend_from_slice(&bytes[from..end]);
            out.extend_from_slice(&TRAP);
            from = end;
        }
        out.extend_from_slice(&bytes[from..self.end]);
        out.extend_from_slice(&[0xff, END_OF_IMAGE]);
        out
    }
}

/// Walks from marker to marker to the end of the image; what follows that is nobody's business.
pub(crate) fn walk(bytes: &[u8]) -> Result<Structure, Refusal> {
    let cut =
        || Refusal::new(Reason::Truncated, format!("it ends after {} bytes, before the picture does", bytes.len()));
    let mut at = 2;
    let mut structure = Structure::default();
    loop {
        let marker = next_marker(bytes, &mut at).ok_or_else(cut)?;
        match marker {
            END_OF_IMAGE if structure.scans.is_empty() => return Err(corrupt("it has headers and no picture")),
            END_OF_IMAGE if structure.missing_bits.iter().any(|(_, bits)| *bits != [0; 64]) => {
                return Err(Refusal::new(Reason::Truncated, "its last scans are missing"));
            }
            END_OF_IMAGE => {
                structure.end = at - 2;
                return Ok(structure);
            }
            // Markers without a body.
            0x01 | RESTART_0..=0xd8 => continue,
            // Frames: lossless, hierarchical, arithmetic. 0xc4 and 0xcc are tables, 0xc8 is reserved.
            0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                let detail = format!("it is a JPEG of process {}, which is not read", marker & 0x0f);
                return Err(Refusal::new(Reason::UnsupportedFormat, detail));
            }
            _ => {}
        }
        let length = bytes.get(at..at + 2).ok_or_else(cut)?;
        let length = usize::from(u16::from_be_bytes([length[0], length[1]])).max(2);
        let body = bytes.get(at + 2..at + length).ok_or_else(cut)?;
        at += length;
        if marker == PROGRESSIVE_FRAME {
            structure.begin_progressive(body);
        }
        if marker == START_OF_SCAN {
            structure.note_scan(body);
            skip_entropy_coded(bytes, &mut at, &mut structure.restarts)?;
            structure.scans.push(at);
        }
    }
}

/// The marker at or after `at`, which is left behind it. Padding before a marker is allowed.
fn next_marker(bytes: &[u8], at: &mut usize) -> Option<u8> {
    while *bytes.get(*at)? != 0xff {
        *at += 1;
    }
    while *bytes.get(*at)? == 0xff {
        *at += 1;
    }
    let marker = *bytes.get(*at)?;
    *at += 1;
    Some(marker)
}

/// Leaves `at` on the next marker that is neither stuffing nor a restart. Restarts count from 0 to 7 and over again: one
/// out of turn means that a piece is missing.
fn skip_entropy_coded(bytes: &[u8], at: &mut usize, restarts: &mut Vec<usize>) -> Result<(), Refusal> {
    let mut turn = RESTART_0;
    while *at + 1 < bytes.len() {
        match (bytes[*at], bytes[*at + 1]) {
            (0xff, restart @ RESTART_0..=RESTART_7) => {
                if restart != turn {
                    return Err(corrupt(format!("a piece is missing before byte {at}")));
                }
                turn = if turn == RESTART_7 { RESTART_0 } else { turn + 1 };
                restarts.push(*at);
            }
            (0xff, 0x00 | 0xff) | (0..=0xfe, _) => {}
            _ => return Ok(()),
        }
        *at += 1;
    }
    *at = bytes.len();
    Ok(())
}

fn corrupt(detail: impl ToString) -> Refusal {
    Refusal::new(Reason::Corrupt, detail)
}
