//! What a camera adds: a cast of colour, exposure, darker corners, grain.

use super::canvas::{Canvas, Raster};
use super::dice::Dice;
use super::noise::GRAIN;

/// Takes the picture.
pub(crate) fn photograph(canvas: &Canvas, dice: &mut Dice) -> Raster {
    let exposure = dice.middling(0.7, 1.3);
    let cast = [0; 3].map(|_| exposure * dice.middling(0.92, 1.08));
    let lift = dice.range(0.0, 0.06);
    // A window on one side, or a cloud on the other: the light differs across the picture.
    let slope = [0; 2].map(|_| dice.middling(-0.5, 0.5));
    let dark_corners = if dice.chance(0.4) { dice.range(0.1, 0.45) } else { 0.0 };
    let grain = dice.unit() * dice.range(0.0, 0.09);
    let start = [dice.range(0.0, 200.0), dice.range(0.0, 200.0)];
    let (middle_x, middle_y) = (canvas.width as f32 / 2.0, canvas.height as f32 / 2.0);
    let reach = middle_x * middle_x + middle_y * middle_y;
    let mut data = Vec::with_capacity(canvas.pixels.len() * 3);
    for (y, row) in canvas.pixels.chunks_exact(canvas.width).enumerate() {
        let y = y as f32;
        for (x, pixel) in row.iter().enumerate() {
            let x = x as f32;
            let off = (x - middle_x) * (x - middle_x) + (y - middle_y) * (y - middle_y);
            let slant = slope[0] * (x / middle_x - 1.0) + slope[1] * (y / middle_y - 1.0);
            let light = (1.0 - dark_corners * off / reach) * (1.0 + slant);
            // Two unlike walks through the grain, so that it does not repeat within a picture.
            let speck = GRAIN.at(x + start[0], y + start[1]) + GRAIN.at(y * 3.0 + start[1], x + y + start[0]) - 1.0;
            data.extend([0, 1, 2].map(|channel| {
                let value = pixel[channel] * cast[channel] * light * (1.0 - lift) + lift + speck * grain;
                (value.clamp(0.0, 1.0) * 255.0 + 0.5) as u8
            }));
        }
    }
    Raster { width: canvas.width as u32, height: canvas.height as u32, data }
}
