//! One picture from its name to its pixels: paper, background, bear, what is in the way, camera.

use super::camera::photograph;
use super::canvas::{Canvas, Raster};
use super::dice::Dice;
use super::{background, bears, occlusion};
use crate::Class;

const PICTURES: u32 = 0xbea5;
/// Width and height as photographs have them, and a few odd ones.
const ASPECTS: [(usize, usize); 9] = [(4, 3), (3, 2), (1, 1), (3, 4), (16, 10), (5, 4), (4, 5), (2, 3), (16, 9)];

/// The name of a picture: all that it depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Subject {
    pub(crate) seed: u64,
    pub(crate) class: Class,
    pub(crate) number: u64,
}

impl Subject {
    /// A stream for a purpose of its own.
    pub(crate) fn dice(&self, purpose: u32) -> Dice {
        Dice::new(self.seed, purpose, self.class as u32, self.number)
    }
}

/// Draws a picture.
pub(crate) fn draw(subject: &Subject) -> Raster {
    let mut dice = subject.dice(PICTURES);
    let mut canvas = paper(&mut dice);
    background::paint(&mut canvas, &mut dice);
    bears::paint(&mut canvas, subject.class, &mut dice);
    occlusion::paint(&mut canvas, &mut dice);
    photograph(&canvas, &mut dice)
}

fn paper(dice: &mut Dice) -> Canvas {
    let (across, down) = dice.pick(&ASPECTS);
    // Small ones are more usual than large ones.
    let width = 160.0 + 320.0 * dice.unit() * dice.unit();
    let width = if down > across { width * 0.8 } else { width }.max(160.0) as usize;
    Canvas::new(width, width * down / across)
}
