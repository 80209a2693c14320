//! Value noise, computed once: what looks like fur, grass, clouds and film grain is looked up here.

use std::sync::LazyLock;

use super::dice::Dice;

const SIDE: usize = 256;
const TEXTURES: u32 = 0x7e87;

/// A square of noise from 0 to 1 that continues seamlessly in all directions.
pub(crate) struct Tile(Vec<f32>);

impl Tile {
    /// At a place in pixels of the tile.
    pub(crate) fn at(&self, x: f32, y: f32) -> f32 {
        // Far from overflow for every place on a canvas; the mask makes negative places continue the tile.
        let (column, row) = (x as i32 as usize & (SIDE - 1), y as i32 as usize & (SIDE - 1));
        self.0[row * SIDE + column]
    }

    /// At a place in pixels of the tile, smoothly between its values.
    pub(crate) fn smooth(&self, x: f32, y: f32) -> f32 {
        let (left, top) = (x.floor(), y.floor());
        let (u, v) = (ease(x - left), ease(y - top));
        let upper = self.at(left, top) * (1.0 - u) + self.at(left + 1.0, top) * u;
        let lower = self.at(left, top + 1.0) * (1.0 - u) + self.at(left + 1.0, top + 1.0) * u;
        upper * (1.0 - v) + lower * v
    }
}

fn ease(t: f32) -> f32 {
    t * t * (3.0 - 2.0 * t)
}

/// One independent value per place.
pub(crate) static GRAIN: LazyLock<Tile> = LazyLock::new(|| {
    let mut dice = Dice::new(0, TEXTURES, 0, 0);
    Tile((0..SIDE * SIDE).map(|_| dice.unit()).collect())
});

/// Strands along the rows: short hairs, each of one lightness, with softer variation from tuft to tuft.
pub(crate) static HAIR: LazyLock<Tile> = LazyLock::new(|| {
    tile(|x, y| 0.5 * woven(x, y, [8, 1], 0) + 0.3 * woven(x, y, [16, 4], 50) + 0.2 * woven(x, y, [32, 16], 90))
});

/// Clouds: four octaves.
pub(crate) static CLOUD: LazyLock<Tile> = LazyLock::new(|| {
    let octave = |x, y, size: usize| woven(x, y, [size, size], 3 * size);
    tile(|x, y| 0.5 * octave(x, y, 64) + 0.25 * octave(x, y, 32) + 0.15 * octave(x, y, 16) + 0.1 * octave(x, y, 8))
});

/// Value noise with one random value per cell, in pixels; cells divide the side, so it continues seamlessly.
fn woven(x: usize, y: usize, cell: [usize; 2], shift: usize) -> f32 {
    let (columns, rows) = (SIDE / cell[0], SIDE / cell[1]);
    let (left, top) = (x / cell[0], y / cell[1]);
    let value =
        |column: usize, row: usize| GRAIN.0[(row % rows + shift) % SIDE * SIDE + (column % columns + shift) % SIDE];
    let u = ease((x % cell[0]) as f32 / cell[0] as f32);
    let v = ease((y % cell[1]) as f32 / cell[1] as f32);
    let upper = value(left, top) * (1.0 - u) + value(left + 1, top) * u;
    let lower = value(left, top + 1) * (1.0 - u) + value(left + 1, top + 1) * u;
    upper * (1.0 - v) + lower * v
}

/// Stretches the values to the whole of 0 to 1.
fn tile(value: impl Fn(usize, usize) -> f32) -> Tile {
    let values: Vec<f32> = (0..SIDE * SIDE).map(|place| value(place % SIDE, place / SIDE)).collect();
    let low = values.iter().copied().fold(1.0, f32::min);
    let high = values.iter().copied().fold(0.0, f32::max);
    Tile(values.into_iter().map(|value| (value - low) / (high - low)).collect())
}
