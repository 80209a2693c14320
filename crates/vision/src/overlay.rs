//! Evidence laid over the picture it was found in, as a picture for people.

use image::codecs::png::PngEncoder;
use image::error::{ParameterError, ParameterErrorKind};
use image::{ExtendedColorType, ImageEncoder, ImageError};

/// Colours from no evidence to the most, evenly spaced: dark to light, so that they are told apart without seeing hues.
const COLOURS: [[f32; 3]; 5] =
    [[0.0, 0.0, 4.0], [87.0, 16.0, 110.0], [188.0, 55.0, 84.0], [249.0, 142.0, 9.0], [252.0, 255.0, 164.0]];
/// Share of the colour where there is most evidence; elsewhere less, down to the picture itself, dimmed.
const COVER: f32 = 0.65;
/// How much of the picture is left where nothing speaks.
const DIMMED: f32 = 0.55;

/// A PNG of a prepared picture (`size`·`size`·3 bytes) with `evidence` for something (`size`·`size` values in [0, 1]) laid
/// over it: the more, the brighter.
///
/// # Errors
/// When there are not as many pixels or values as `size` says.
pub fn overlay(prepared: &[u8], evidence: &[f32], size: u32) -> Result<Vec<u8>, ImageError> {
    let pixels = size as usize * size as usize;
    if prepared.len() != 3 * pixels || evidence.len() != pixels {
        let reason = format!("{} bytes and {} values for {size}×{size} pixels", prepared.len(), evidence.len());
        return Err(ImageError::Parameter(ParameterError::from_kind(ParameterErrorKind::Generic(reason))));
    }
    let shown: Vec<u8> =
        prepared.chunks_exact(3).zip(evidence).flat_map(|(pixel, evidence)| laid_over(pixel, *evidence)).collect();
    let mut file = Vec::new();
    PngEncoder::new(&mut file).write_image(&shown, size, size, ExtendedColorType::Rgb8)?;
    Ok(file)
}

fn laid_over(pixel: &[u8], evidence: f32) -> [u8; 3] {
    let evidence = evidence.clamp(0.0, 1.0);
    let (colour, cover) = (colour(evidence), COVER * evidence);
    let light = DIMMED + (1.0 - DIMMED) * evidence;
    [0, 1, 2].map(|channel| {
        let picture = f32::from(pixel[channel]) * light;
        (picture * (1.0 - cover) + colour[channel] * cover).round() as u8
    })
}

fn colour(evidence: f32) -> [f32; 3] {
    let place = evidence * (COLOURS.len() - 1) as f32;
    let first = (place.floor() as usize).min(COLOURS.len() - 2);
    let share = place - first as f32;
    [0, 1, 2].map(|channel| COLOURS[first][channel] * (1.0 - share) + COLOURS[first + 1][channel] * share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, decode};

    #[test]
    fn what_speaks_is_bright_and_what_does_not_is_the_picture_dimmed() {
        let size = 16;
        let prepared = vec![100; 16 * 16 * 3];
        let evidence: Vec<f32> = (0..16 * 16).map(|place| if place % 16 < 8 { 1.0 } else { 0.0 }).collect();
        let png = overlay(&prepared, &evidence, size).unwrap();
        let shown = decode(&png, &Limits::default()).unwrap().pixels;
        assert_eq!((shown.width, shown.height), (16, 16));
        assert_eq!(shown.data[8 * 3..9 * 3], [55, 55, 55]);
        assert!(shown.data[0] > 180 && shown.data[1] > 180, "{:?}", &shown.data[..3]);
    }

    #[test]
    fn colours_grow_lighter_with_the_evidence_and_bad_values_do_no_harm() {
        let light = |evidence: f32| colour(evidence).iter().sum::<f32>();
        assert!((0_u8..10).all(|step| light(f32::from(step) / 10.0) < light(f32::from(step + 1) / 10.0)));
        assert!(overlay(&[9; 12], &[f32::NAN, -1.0, 7.0, f32::INFINITY], 2).is_ok());
    }

    #[test]
    fn evidence_for_another_picture_is_refused() {
        assert!(overlay(&[0; 12], &[0.0; 5], 2).is_err());
        assert!(overlay(&[0; 11], &[0.0; 4], 2).is_err());
    }
}
