//! What is behind a bear. Every kind of bear is seen everywhere.

use super::canvas::Canvas;
use super::colour::{Colour, WHITE, hex, mix, near, scale, vivid};
use super::dice::Dice;
use super::noise::{CLOUD, GRAIN, HAIR};
use super::paint::{Brush, Fur};
use super::shape::{Frame, disc, limb, oval};

const SKIES: [Colour; 5] = [hex(0x008f_bfe6), hex(0x00c9_dcea), hex(0x00f0_c9a0), hex(0x006f_9cc8), hex(0x00b9_b5c9)];
const GROUNDS: [Colour; 6] =
    [hex(0x006f_8f3f), hex(0x008f_9a4c), hex(0x00a8_8f5e), hex(0x004f_6f35), hex(0x00b9_a583), hex(0x00e6_e9ee)];
const WALLS: [Colour; 7] = [
    hex(0x00d9_cbb2),
    hex(0x00a9_bcc2),
    hex(0x00e5_d3cf),
    hex(0x0088_8f7c),
    hex(0x00c7_b9d6),
    hex(0x0073_6357),
    hex(0x0095_4a3c),
];
const FLOORS: [Colour; 4] = [hex(0x008a_5f3b), hex(0x00b5_8a5c), hex(0x0067_6a70), hex(0x00c9_bda8)];

/// Covers the whole canvas.
pub(crate) fn paint(canvas: &mut Canvas, dice: &mut Dice) {
    match dice.index(8) {
        0 | 1 => meadow(canvas, dice),
        2 => forest(canvas, dice),
        3 => mountains(canvas, dice),
        4 => room(canvas, dice),
        5 => pattern(canvas, dice),
        6 => studio(canvas, dice),
        _ => lights(canvas, dice),
    }
}

/// A sky with clouds above the ground; the height of the horizon in pixels.
fn open_air(canvas: &mut Canvas, dice: &mut Dice) -> f32 {
    let horizon = canvas.height as f32 * dice.range(0.3, 0.7);
    let (sky, ground) = (near(dice, &SKIES, 0.1), near(dice, &GROUNDS, 0.15));
    let (cloudy, start) = (dice.range(0.0, 0.9), dice.range(0.0, 255.0));
    let zoom = 220.0 / canvas.short_side();
    canvas.fill(|x, y| {
        if y < horizon {
            let cloud = (CLOUD.at(x * zoom + start, y * zoom * 2.0) - 0.5).max(0.0) * 2.0 * cloudy;
            return mix(mix(sky, WHITE, 0.5 * y / horizon), WHITE, cloud);
        }
        let near = (y - horizon) * zoom;
        let blade = HAIR.at(y * zoom * 1.4 + start, x * zoom * 1.2) - 0.5;
        let patch = CLOUD.at(x * zoom, near * 2.0 + start) - 0.5;
        scale(ground, 0.9 + 0.5 * blade * (0.4 + near / 150.0) + 0.45 * patch)
    });
    horizon
}

fn meadow(canvas: &mut Canvas, dice: &mut Dice) {
    let horizon = open_air(canvas, dice);
    let side = canvas.short_side();
    let width = canvas.width as f32;
    let frame = Frame::new([0.0, 0.0], side, 0.0, false);
    let mut brush = Brush { canvas, frame };
    let leaves = near(dice, &[hex(0x003f_5f35), hex(0x005b_6f4a), hex(0x006b_7d86)], 0.15);
    if dice.chance(0.6) {
        for _ in 0..7 {
            let centre = [dice.range(0.0, width / side), horizon / side - 0.01];
            brush.flat(&[oval(centre, dice.range(0.08, 0.25), dice.range(0.03, 0.12))], leaves, 0.008, 1.0);
        }
    }
    let flower = vivid(dice);
    for _ in 0..dice.index(26) {
        let down = dice.range(horizon / side + 0.03, brush.canvas.height as f32 / side);
        brush.flat(&[disc([dice.range(0.0, width / side), down], 0.006 + 0.012 * dice.unit())], flower, 0.0, 0.9);
    }
}

fn forest(canvas: &mut Canvas, dice: &mut Dice) {
    let horizon = open_air(canvas, dice);
    let (side, width) = (canvas.short_side(), canvas.width as f32);
    let frame = Frame::new([0.0, 0.0], side, 0.0, false);
    let mut brush = Brush { canvas, frame };
    let haze = near(dice, &[hex(0x0086_9a86), hex(0x005c_6f5c), hex(0x00a5_a898)], 0.1);
    for nth in 0..11 {
        let near = nth as f32 / 11.0;
        let bark = mix(haze, [0.22, 0.17, 0.13], 0.25 + 0.75 * near);
        let (x, foot) = (dice.range(-0.05, width / side + 0.05), horizon / side + 0.22 * near * near);
        let thick = 0.012 + 0.045 * near * dice.range(0.5, 1.0);
        let lean = dice.range(-0.04, 0.04);
        brush.flat(&[limb([x, foot], thick, [x + lean, -0.1], thick * 0.8)], bark, 0.004, 1.0);
        for _ in 0..3 {
            let crown = [x + dice.range(-0.2, 0.2), dice.range(-0.05, 0.14)];
            let leaves = mix(haze, [0.20, 0.34, 0.16], 0.3 + 0.6 * near);
            brush.flat(&[oval(crown, dice.range(0.06, 0.16), dice.range(0.03, 0.09))], leaves, 0.02, 0.9);
        }
    }
}

fn mountains(canvas: &mut Canvas, dice: &mut Dice) {
    let horizon = open_air(canvas, dice);
    let zoom = 130.0 / canvas.width as f32;
    for range in 0..3 {
        let rock =
            mix(near(dice, &[hex(0x0072_7f8f), hex(0x0058_6a5c)], 0.15), [0.8, 0.85, 0.9], 0.6 - 0.25 * range as f32);
        let (tall, start) = (horizon * dice.range(0.35, 0.8) / (1.0 + 0.5 * range as f32), dice.range(0.0, 255.0));
        let snow = dice.range(0.25, 0.6);
        for x in 0..canvas.width {
            let crest = tall * (0.15 + 0.85 * CLOUD.smooth(x as f32 * zoom + start, start));
            for y in (horizon - crest).max(0.0) as usize..(horizon as usize).min(canvas.height) {
                let height = (horizon - y as f32) / tall;
                let white = height + 0.3 * GRAIN.smooth(x as f32 * 0.2, y as f32 * 0.1) > snow + 0.4;
                canvas.blend(x, y, if white { WHITE } else { scale(rock, 0.85 + 0.3 * height) }, 1.0);
            }
        }
    }
}

/// A wall, often papered, above a floor.
fn room(canvas: &mut Canvas, dice: &mut Dice) {
    let edge = canvas.height as f32 * dice.range(0.55, 0.9);
    let (wall, floor) = (near(dice, &WALLS, 0.12), near(dice, &FLOORS, 0.12));
    let paper = dice.index(3);
    let pale = scale(wall, dice.range(0.82, 1.15));
    let period = canvas.short_side() * dice.range(0.07, 0.22);
    let plank = canvas.short_side() * dice.range(0.05, 0.14);
    canvas.fill(|x, y| {
        if y >= edge {
            let row = ((y - edge) / plank).floor();
            let joint = (y - edge - row * plank) < 1.3;
            let wood = HAIR.smooth(x * 0.3 + 31.0 * row, y * 0.5) - 0.5;
            return scale(floor, if joint { 0.7 } else { 1.0 + 0.3 * wood });
        }
        let light = 1.08 - 0.2 * y / edge;
        let striped = paper == 1 && (x / period).fract() < 0.5;
        let dotted = paper == 2 && dots(x, y, period);
        scale(if striped || dotted { pale } else { wall }, if edge - y < period * 0.3 { 1.1 } else { light })
    });
    if dice.chance(0.6) {
        window_or_frame(canvas, dice);
    }
}

fn window_or_frame(canvas: &mut Canvas, dice: &mut Dice) {
    let (width, height) = (canvas.width as f32, canvas.height as f32);
    let across = width * dice.range(0.15, 0.3);
    let left = if dice.chance(0.5) { width * 0.04 } else { width * 0.94 - across };
    let (top, bottom) = (height * dice.range(0.04, 0.12), height * dice.range(0.3, 0.5));
    let (rim, inside) = (near(dice, &FLOORS, 0.2), near(dice, &SKIES, 0.15));
    for y in top as usize..bottom as usize {
        for x in left as usize..((left + across) as usize).min(canvas.width) {
            let from_edge = (x as f32 - left).min(left + across - x as f32).min(y as f32 - top).min(bottom - y as f32);
            let bar = (x as f32 - left - across / 2.0).abs() < 2.0;
            canvas.blend(x, y, if from_edge < 5.0 || bar { rim } else { inside }, 1.0);
        }
    }
}

/// Cloth or paper: checks, stripes, dots.
fn pattern(canvas: &mut Canvas, dice: &mut Dice) {
    let one = if dice.chance(0.5) { near(dice, &WALLS, 0.15) } else { mix(vivid(dice), WHITE, 0.35) };
    let other = if dice.chance(0.5) { mix(one, WHITE, 0.45) } else { near(dice, &WALLS, 0.2) };
    let period = canvas.short_side() * dice.range(0.08, 0.3);
    let kind = dice.index(4);
    let slant = dice.range(-0.6, 0.6);
    canvas.fill(|x, y| {
        let half = |value: f32| f32::from(u8::from(value / period - (value / period).floor() < 0.5));
        let share = match kind {
            0 => 0.5 * (half(x) + half(y)),
            1 => half(x + slant * y),
            2 => f32::from(u8::from(dots(x, y, period))),
            _ => (half(x) - half(y)).abs(),
        };
        scale(mix(one, other, share), 0.95 + 0.1 * HAIR.at(x, y))
    });
}

fn dots(x: f32, y: f32, period: f32) -> bool {
    let row = (y / period).floor();
    let shift = if row as i32 % 2 == 0 { 0.0 } else { 0.5 };
    let (u, v) = ((x / period + shift).fract() - 0.5, y / period - row - 0.5);
    u * u + v * v < 0.06
}

/// A plain backdrop, lit from somewhere.
fn studio(canvas: &mut Canvas, dice: &mut Dice) {
    let middle = if dice.chance(0.5) { near(dice, &WALLS, 0.2) } else { near(dice, &SKIES, 0.2) };
    let rim = scale(middle, dice.range(0.35, 1.05));
    let (centre_x, centre_y) = (canvas.width as f32 * dice.unit(), canvas.height as f32 * dice.unit());
    let reach = canvas.short_side() * dice.range(0.6, 1.3);
    canvas.fill(|x, y| {
        let off = (x - centre_x) * (x - centre_x) + (y - centre_y) * (y - centre_y);
        mix(middle, rim, (off / (reach * reach)).min(1.0))
    });
}

/// Lights far out of focus, or a thicket of blurred leaves.
fn lights(canvas: &mut Canvas, dice: &mut Dice) {
    let (dark, other) =
        (near(dice, &[hex(0x0033_3f4a), hex(0x0046_5a3c), hex(0x005a_4638), hex(0x008a_9488)], 0.2), vivid(dice));
    let (zoom, start) = (dice.range(0.3, 0.9), dice.range(0.0, 255.0));
    canvas.fill(|x, y| mix(dark, other, 0.35 * CLOUD.smooth(x * zoom + start, y * zoom)));
    let (side, width, height) = (canvas.short_side(), canvas.width as f32, canvas.height as f32);
    let frame = Frame::new([0.0, 0.0], side, 0.0, false);
    let mut brush = Brush { canvas, frame };
    for _ in 0..12 + dice.index(14) {
        let centre = [dice.range(0.0, width / side), dice.range(0.0, height / side)];
        let glow = mix(vivid(dice), WHITE, dice.range(0.1, 0.6));
        brush.flat(&[disc(centre, dice.range(0.02, 0.09))], glow, 0.006, dice.range(0.15, 0.5));
    }
}

/// A soft shadow below a figure that stands or sits.
pub(crate) fn shadow(brush: &mut Brush<'_>, centre: [f32; 2], across: f32) {
    brush.flat(&[oval(centre, across, across * 0.17)], [0.06, 0.05, 0.05], across * 0.13, 0.5);
}

/// Fur of something that is no bear; kept here beside its colours.
pub(crate) fn moss(dice: &mut Dice) -> Fur {
    let colour = near(dice, &GROUNDS, 0.2);
    Fur {
        colour,
        tips: mix(colour, WHITE, 0.4),
        tipped: 0.2,
        grain: 0.8,
        shag: 0.03,
        round: 0.2,
        gloss: 0.0,
        shade: 0.5,
        lie: [0.0, 1.0],
    }
}
