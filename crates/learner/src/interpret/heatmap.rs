//! Evidence by place.

use serde::{Deserialize, Serialize};

use crate::LearnError;

/// Evidence by place, on a grid much coarser than the picture (7×7 for 224 pixels).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Heatmap {
    /// Rows and columns.
    pub side: u32,
    /// Row by row, 0 and above, not scaled; all 0 where nothing speaks for the class.
    pub values: Vec<f32>,
}

impl Heatmap {
    /// Whether anything in the picture speaks for the class.
    pub fn has_evidence(&self) -> bool {
        self.values.iter().any(|value| *value > 0.0)
    }

    /// Stretched over a picture of `size`×`size` pixels, bilinearly between the middles of the grid's cells: row by row, in
    /// [0, 1], where 1 is the place with the most evidence.
    pub fn enlarged(&self, size: u32) -> Vec<f32> {
        let highest = self.values.iter().copied().fold(0.0, f32::max);
        if !(highest > 0.0 && highest.is_finite()) {
            return vec![0.0; size as usize * size as usize];
        }
        let places: Vec<Between> = (0..size).map(|pixel| Between::of(pixel, size, self.side)).collect();
        let cell = |row: usize, column: usize| self.values[row * self.side as usize + column] / highest;
        let mix = |from: f32, to: f32, share: f32| from + (to - from) * share;
        let pixel = |y: &Between, x: &Between| {
            let above = mix(cell(y.first, x.first), cell(y.first, x.second), x.share);
            let below = mix(cell(y.second, x.first), cell(y.second, x.second), x.share);
            mix(above, below, y.share).clamp(0.0, 1.0)
        };
        places.iter().flat_map(|y| places.iter().map(move |x| pixel(y, x))).collect()
    }

    /// A prepared picture of `size`×`size` pixels, bright where the evidence lies: a PNG.
    pub fn laid_over(&self, prepared: &[u8], size: u32) -> Result<Vec<u8>, LearnError> {
        ursa_vision::overlay(prepared, &self.enlarged(size), size)
            .map_err(|error| LearnError::UnusableData(error.to_string()))
    }
}

/// Where a pixel's middle lies among the middles of cells: this share of the way from the first to the second.
#[derive(Debug)]
struct Between {
    first: usize,
    second: usize,
    share: f32,
}

impl Between {
    fn of(pixel: u32, pixels: u32, side: u32) -> Self {
        let last = side.saturating_sub(1) as f32;
        let place = ((pixel as f32 + 0.5) * side as f32 / pixels as f32 - 0.5).clamp(0.0, last);
        let first = place.floor();
        Self { first: first as usize, second: (first + 1.0).min(last) as usize, share: place - first }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_is_stretched_evenly_and_scaled_to_its_highest_place() {
        let map = Heatmap { side: 2, values: vec![0.0, 4.0, 0.0, 0.0] };
        let found = map.enlarged(4);
        let row = |values: [f32; 4]| values.to_vec();
        let expected = [row([0.0, 0.25, 0.75, 1.0]), row([0.0, 0.1875, 0.5625, 0.75])];
        assert_eq!(found[..8], expected.concat());
        assert_eq!(found[12..], [0.0; 4]);
    }

    #[test]
    fn a_single_cell_is_the_same_everywhere() {
        assert_eq!(Heatmap { side: 1, values: vec![3.0] }.enlarged(3), [1.0; 9]);
    }

    #[test]
    fn what_shows_nothing_is_dark_and_no_nonsense() {
        for values in [vec![0.0; 4], vec![f32::NAN; 4], vec![f32::INFINITY, 0.0, 0.0, 0.0]] {
            assert_eq!(Heatmap { side: 2, values }.enlarged(2), [0.0; 4]);
        }
        assert!(!Heatmap { side: 1, values: vec![0.0] }.has_evidence());
    }

    #[test]
    fn a_picture_is_bright_where_the_evidence_lies_and_of_the_size_that_is_said() {
        let prepared = vec![100; 4 * 4 * 3];
        let drawn = |values: Vec<f32>| Heatmap { side: 2, values }.laid_over(&prepared, 4).unwrap();
        let (dark, left, right) =
            (drawn(vec![0.0; 4]), drawn(vec![1.0, 0.0, 1.0, 0.0]), drawn(vec![0.0, 1.0, 0.0, 1.0]));
        assert!(dark.starts_with(b"\x89PNG") && dark != left && left != right);
        assert!(Heatmap { side: 1, values: vec![1.0] }.laid_over(&prepared, 5).is_err());
    }
}
