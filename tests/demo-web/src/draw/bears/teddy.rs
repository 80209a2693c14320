//! The teddy: sits and looks at you. Round head, round ears on top, button eyes, a stitched smile on a light patch, stubby
//! limbs with soles, seams, a bow.

use super::parts::{both, lie};
use crate::draw::background::shadow;
use crate::draw::colour::{BLACK, Colour, WHITE, hex, mix, near, scale, vivid};
use crate::draw::dice::Dice;
use crate::draw::paint::{Brush, Fur};
use crate::draw::shape::{disc, limb, oval};

const PLUSH: [Colour; 9] = [
    hex(0x00b5_7d45),
    hex(0x008a_5a33),
    hex(0x00d8_b27c),
    hex(0x005c_3c28),
    hex(0x003b_2c26),
    hex(0x00e6_d3ae),
    hex(0x0091_8880),
    hex(0x00a5_5a3a),
    hex(0x0050_4a4c),
];

struct Look {
    plush: Fur,
    patch: Fur,
    thread: Colour,
}

pub(super) fn paint(brush: &mut Brush<'_>, dice: &mut Dice) {
    let look = look(dice);
    shadow(brush, [0.0, 0.96], 0.85);
    body(brush, dice, &look);
    limbs(brush, dice, &look);
    let tilt = dice.middling(-0.13, 0.13);
    let frame = brush.frame.turned([0.0, -0.05], tilt);
    head(&mut brush.within(frame), dice, &look);
    ornament(brush, dice);
}

fn look(dice: &mut Dice) -> Look {
    let colour = near(dice, &PLUSH, 0.12);
    let light = mix(colour, hex(0x00f2_e2c4), dice.range(0.5, 0.8));
    let plush = Fur {
        colour,
        tips: mix(colour, WHITE, 0.4),
        tipped: dice.range(0.0, 0.35),
        grain: dice.range(0.25, 0.6),
        shag: dice.range(0.012, 0.04),
        round: 0.22,
        gloss: 0.0,
        shade: 0.55,
        lie: lie(dice),
    };
    let patch = Fur { colour: light, tipped: 0.1, shag: 0.01, ..plush };
    Look { plush, patch, thread: mix(BLACK, scale(colour, 0.4), 0.35) }
}

fn body(brush: &mut Brush<'_>, dice: &mut Dice, look: &Look) {
    let girth = dice.range(0.40, 0.50);
    brush.fur(&[oval([0.0, 0.38], girth, 0.50), oval([0.0, 0.55], girth + 0.02, 0.34)], 0.1, &look.plush);
    if dice.chance(0.55) {
        brush.fur(&[oval([0.0, 0.44], girth * 0.62, 0.33)], 0.0, &look.patch);
    }
    let seam: Vec<[f32; 2]> = (0..6).map(|nth| [0.0, 0.1 + 0.12 * nth as f32]).collect();
    brush.stitches(&seam, 0.022, look.thread);
}

fn limbs(brush: &mut Brush<'_>, dice: &mut Dice, look: &Look) {
    for side in [-1.0, 1.0] {
        // Down on the belly, out to the side, or waving.
        let hand = match dice.index(6) {
            0 => [0.78, -0.22],
            1 | 2 => [0.74, 0.22],
            _ => [0.58, 0.46],
        };
        brush.fur(&[limb([side * 0.36, 0.10], 0.15, [side * hand[0], hand[1]], 0.155)], 0.0, &look.plush);
        let foot = [side * dice.range(0.42, 0.60), dice.range(0.76, 0.82)];
        brush.fur(&[limb([side * 0.24, 0.66], 0.19, foot, 0.2)], 0.0, &look.plush);
        let sole = disc([foot[0] + side * 0.03, foot[1] + 0.03], 0.2);
        brush.fur(&[sole], 0.0, &look.plush);
        brush.fur(&[oval([foot[0] + side * 0.03, foot[1] + 0.04], 0.135, 0.14)], 0.0, &look.patch);
    }
}

fn head(brush: &mut Brush<'_>, dice: &mut Dice, look: &Look) {
    let (apart, size) = (dice.range(0.34, 0.39), dice.range(0.19, 0.23));
    brush.fur(&both(disc([apart, -0.79], size)), 0.0, &look.plush);
    brush.fur(&both(disc([apart, -0.77], size * 0.62)), 0.0, &look.patch);
    let cheeks = both(disc([0.13, -0.40], 0.34));
    brush.fur(&[oval([0.0, -0.46], 0.47, 0.43), cheeks[0], cheeks[1]], 0.1, &look.plush);
    let seam: Vec<[f32; 2]> = (0..4).map(|nth| [0.0, -0.86 + 0.09 * nth as f32]).collect();
    brush.stitches(&seam, 0.02, look.thread);
    let snout = -0.30 + dice.range(-0.02, 0.02);
    brush.fur(&[oval([0.0, snout], 0.225, 0.175)], 0.0, &Fur { round: 0.14, ..look.patch });
    brush.glossy([0.0, snout - 0.075], 0.085, 0.058, mix(BLACK, look.thread, 0.3));
    smile(brush, snout, look.thread);
    let eye = dice.range(0.055, 0.075);
    for side in [-1.0, 1.0] {
        button(brush, [side * dice.range(0.185, 0.2), -0.52], eye);
    }
}

fn smile(brush: &mut Brush<'_>, snout: f32, thread: Colour) {
    brush.line(&[[0.0, snout - 0.03], [0.0, snout + 0.05]], 0.022, thread);
    for side in [-1.0, 1.0] {
        let curve = [[0.0, 0.05], [0.045, 0.085], [0.10, 0.08], [0.14, 0.035]];
        brush.line(&curve.map(|[x, y]| [side * x, snout + y]), 0.022, thread);
    }
}

/// A sewn-on button that shines.
fn button(brush: &mut Brush<'_>, centre: [f32; 2], radius: f32) {
    brush.glossy(centre, radius, radius, [0.08, 0.07, 0.08]);
}

/// A bow at the neck, a scarf, a heart, or nothing.
fn ornament(brush: &mut Brush<'_>, dice: &mut Dice) {
    let colour = vivid(dice);
    match dice.index(8) {
        0..=4 => bow(brush, colour),
        5 => scarf(brush, colour),
        6 => heart(brush, colour),
        _ => {}
    }
}

fn bow(brush: &mut Brush<'_>, colour: Colour) {
    for side in [-1.0, 1.0] {
        let at = |x: f32, y: f32| [side * x, y];
        brush.flat(&[limb(at(0.02, 0.0), 0.03, at(0.12, 0.2), 0.05)], scale(colour, 0.6), 0.0, 1.0);
        brush.flat(&[limb(at(0.03, -0.02), 0.035, at(0.21, -0.04), 0.105)], scale(colour, 0.75), 0.0, 1.0);
        brush.flat(&[limb(at(0.04, -0.03), 0.022, at(0.21, -0.055), 0.08)], colour, 0.015, 1.0);
    }
    brush.glossy([0.0, -0.02], 0.062, 0.062, colour);
}

fn scarf(brush: &mut Brush<'_>, colour: Colour) {
    let stripe = mix(colour, WHITE, 0.6);
    brush.flat(
        &[limb([-0.30, -0.06], 0.085, [0.0, 0.0], 0.095), limb([0.0, 0.0], 0.095, [0.30, -0.06], 0.085)],
        colour,
        0.0,
        1.0,
    );
    brush.flat(&[limb([0.16, 0.0], 0.07, [0.22, 0.36], 0.09)], scale(colour, 0.85), 0.0, 1.0);
    for nth in 0..3 {
        let down = 0.14 + 0.11 * nth as f32;
        brush.line(&[[0.12, down], [0.28, down - 0.02]], 0.04, stripe);
    }
}

fn heart(brush: &mut Brush<'_>, colour: Colour) {
    let halves = both(limb([0.075, 0.30], 0.085, [0.0, 0.44], 0.02));
    brush.flat(&halves, colour, 0.0, 1.0);
}
