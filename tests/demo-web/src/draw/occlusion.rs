//! What stands between the camera and a bear: branches, grass, snow, things left lying about.

use super::background::moss;
use super::canvas::Canvas;
use super::colour::{WHITE, hex, mix, near, scale, vivid};
use super::dice::Dice;
use super::paint::Brush;
use super::shape::{Frame, Lump, disc, limb, oval};

/// Puts something in the way, in about half of all pictures.
pub(crate) fn paint(canvas: &mut Canvas, dice: &mut Dice) {
    let side = canvas.short_side();
    let (right, bottom) = (canvas.width as f32 / side, canvas.height as f32 / side);
    let mut brush = Brush { canvas, frame: Frame::new([0.0, 0.0], side, 0.0, false) };
    match dice.index(13) {
        0 => branch(&mut brush, dice, right, bottom),
        1 => grass(&mut brush, dice, right, bottom),
        2 => snow(&mut brush, dice, right, bottom),
        3 => boxes(&mut brush, dice, right, bottom),
        4 => ball(&mut brush, dice, right, bottom),
        5 => bush(&mut brush, dice, right, bottom),
        _ => {}
    }
}

/// A twig with leaves, from one side.
fn branch(brush: &mut Brush<'_>, dice: &mut Dice, right: f32, bottom: f32) {
    let from_left = dice.chance(0.5);
    let along = |share: f32| if from_left { share * right } else { right - share * right };
    let (start, end) = (dice.range(0.0, 0.3) * bottom, dice.range(0.0, 0.35) * bottom);
    let reach = dice.range(0.4, 0.8);
    let bark = near(dice, &[hex(0x0054_4030), hex(0x0074_6250)], 0.15);
    brush.flat(&[limb([along(-0.05), start], 0.018, [along(reach), end], 0.006)], bark, 0.0, 1.0);
    let leaf = near(dice, &[hex(0x004f_7a35), hex(0x007d_8f3a), hex(0x00b5_7a2c)], 0.2);
    for nth in 0..9 {
        let share = reach * (nth as f32 + dice.unit()) / 9.0;
        let centre = [along(share), start + (end - start) * share / reach + dice.range(-0.05, 0.05)];
        brush.flat(&[oval(centre, dice.range(0.02, 0.045), 0.016)], scale(leaf, dice.range(0.8, 1.2)), 0.0, 1.0);
    }
}

/// Blades in front of the feet.
fn grass(brush: &mut Brush<'_>, dice: &mut Dice, right: f32, bottom: f32) {
    let green = near(dice, &[hex(0x005f_8a3a), hex(0x008f_a04a), hex(0x00b8_a660)], 0.15);
    for _ in 0..45 {
        let x = dice.range(0.0, right);
        let tip = [x + dice.range(-0.06, 0.06), bottom - dice.range(0.05, 0.22)];
        brush.flat(&[limb([x, bottom + 0.02], 0.008, tip, 0.002)], scale(green, dice.range(0.7, 1.2)), 0.0, 1.0);
    }
}

fn snow(brush: &mut Brush<'_>, dice: &mut Dice, right: f32, bottom: f32) {
    for _ in 0..60 {
        let centre = [dice.range(0.0, right), dice.range(0.0, bottom)];
        brush.flat(&[disc(centre, dice.range(0.004, 0.014))], WHITE, 0.004, dice.range(0.5, 0.95));
    }
}

/// Building blocks or parcels in a lower corner.
fn boxes(brush: &mut Brush<'_>, dice: &mut Dice, right: f32, bottom: f32) {
    let corner = if dice.chance(0.5) { 0.08 } else { right - 0.08 };
    for nth in 0..2 + dice.index(2) {
        let half = dice.range(0.05, 0.1);
        let centre = [corner + dice.range(-0.06, 0.06), bottom - half - 0.13 * nth as f32];
        let colour = mix(vivid(dice), hex(0x00b5_8a5c), dice.unit());
        let side = |share: f32| Lump::Slab { centre, halves: [half * share; 2], axis: [1.0, 0.0] };
        brush.flat(&[side(1.0)], scale(colour, 0.7), 0.0, 1.0);
        brush.flat(&[side(0.8)], colour, 0.0, 1.0);
    }
}

fn ball(brush: &mut Brush<'_>, dice: &mut Dice, right: f32, bottom: f32) {
    let radius = dice.range(0.07, 0.13);
    let x = if dice.chance(0.5) { radius * 1.1 } else { right - radius * 1.1 };
    brush.glossy([x, bottom - radius * dice.range(0.8, 1.3)], radius, radius, vivid(dice));
}

fn bush(brush: &mut Brush<'_>, dice: &mut Dice, right: f32, bottom: f32) {
    let leaves = moss(dice);
    let edge = if dice.chance(0.5) { 0.0 } else { right };
    let lumps: Vec<Lump> = (0..4)
        .map(|_| disc([edge + dice.range(-0.12, 0.12), bottom - dice.range(-0.05, 0.16)], dice.range(0.06, 0.13)))
        .collect();
    brush.fur(&lumps, 0.02, &leaves);
}
