//! The black bear from the side: highest at the rump, no hump, one straight line from brow to nose.

use super::black::coat;
use super::parts::eye;
use crate::draw::background::shadow;
use crate::draw::colour::{WHITE, scale};
use crate::draw::dice::Dice;
use crate::draw::paint::{Brush, Fur};
use crate::draw::shape::{Lump, limb, oval};

pub(super) fn paint(brush: &mut Brush<'_>, dice: &mut Dice) {
    let (coat, muzzle) = coat(dice);
    brush.frame = brush.frame.moved([0.12, 0.0]);
    shadow(brush, [0.08, 0.66], 0.85);
    let stride = dice.range(-0.1, 0.1);
    let far = Fur { colour: scale(coat.colour, 0.62), gloss: 0.0, ..coat };
    legs(brush, &far, [-0.18 + stride, 0.38 - stride], -0.03);
    let body = [
        oval([0.46, -0.06], 0.42, 0.40),
        limb([0.40, 0.02], 0.33, [-0.26, 0.04], 0.29),
        oval([-0.30, 0.04], 0.30, 0.30),
        limb([-0.36, -0.06], 0.24, [-0.66, -0.22], 0.19),
    ];
    brush.fur(&body, 0.16, &coat);
    legs(brush, &coat, [-0.38 - stride, 0.58 + stride], 0.0);
    let nod = dice.middling(-0.14, 0.14);
    let frame = brush.frame.turned([-0.66, -0.24], nod);
    head(&mut brush.within(frame), &coat, &muzzle);
    if dice.chance(0.3) {
        brush.fur(&[limb([-0.52, 0.12], 0.05, [-0.46, 0.24], 0.06)], 0.0, &Fur { colour: WHITE, gloss: 0.0, ..coat });
    }
}

/// A fore and a hind leg, with paws.
fn legs(brush: &mut Brush<'_>, coat: &Fur, [fore, hind]: [f32; 2], lift: f32) {
    let front: [Lump; 3] = [
        limb([-0.32, 0.12], 0.16, [fore, 0.40], 0.105),
        limb([fore, 0.40], 0.105, [fore - 0.01, 0.62 + lift], 0.085),
        limb([fore, 0.65 + lift], 0.06, [fore - 0.09, 0.66 + lift], 0.055),
    ];
    let back: [Lump; 3] = [
        limb([0.52, 0.10], 0.26, [hind + 0.06, 0.40], 0.125),
        limb([hind + 0.06, 0.40], 0.11, [hind, 0.62 + lift], 0.085),
        limb([hind, 0.65 + lift], 0.06, [hind - 0.11, 0.66 + lift], 0.055),
    ];
    brush.fur(&back, 0.06, coat);
    brush.fur(&front, 0.06, coat);
}

fn head(brush: &mut Brush<'_>, coat: &Fur, muzzle: &Fur) {
    let far_ear = Fur { colour: scale(coat.colour, 0.7), ..*coat };
    brush.fur(&[limb([-0.75, -0.40], 0.075, [-0.77, -0.50], 0.06)], 0.0, &far_ear);
    brush.fur(&[limb([-0.70, -0.26], 0.22, [-0.86, -0.18], 0.15)], 0.05, coat);
    brush.fur(&[limb([-0.86, -0.17], 0.125, [-1.05, -0.08], 0.08)], 0.0, &Fur { round: 0.12, ..*muzzle });
    brush.flat(&[oval([-1.11, -0.12], 0.055, 0.05)], [0.07, 0.06, 0.07], 0.0, 1.0);
    brush.line(&[[-1.09, -0.02], [-0.98, 0.01], [-0.88, -0.03]], 0.018, scale(muzzle.colour, 0.3));
    brush.fur(&[limb([-0.60, -0.38], 0.095, [-0.58, -0.50], 0.075)], 0.0, coat);
    brush.flat(&[limb([-0.605, -0.40], 0.05, [-0.59, -0.49], 0.04)], scale(muzzle.colour, 0.55), 0.02, 0.7);
    eye(brush, [-0.86, -0.28], 0.036);
}
