//! The grizzly from the side: the hump over the shoulders is its highest point, the head hangs below it, the profile is
//! hollow, the claws are long.

use super::grizzly::{claw, coat};
use super::parts::{eye, recoloured};
use crate::draw::background::shadow;
use crate::draw::colour::{mix, scale};
use crate::draw::dice::Dice;
use crate::draw::paint::{Brush, Fur};
use crate::draw::shape::{Lump, disc, limb, oval};

pub(super) fn paint(brush: &mut Brush<'_>, dice: &mut Dice) {
    let coat = coat(dice);
    brush.frame = brush.frame.moved([0.12, 0.0]);
    shadow(brush, [0.08, 0.70], 0.9);
    let stride = dice.range(-0.1, 0.1);
    let far = Fur { colour: scale(coat.colour, 0.55), tipped: 0.1, shag: 0.04, ..coat };
    legs(brush, &far, [-0.16 + stride, 0.40 - stride], -0.03);
    let low = Fur { colour: scale(coat.colour, 0.8), tipped: coat.tipped * 0.35, ..coat };
    brush.fur(&[limb([0.48, 0.14], 0.33, [-0.28, 0.14], 0.31)], 0.0, &low);
    let back = [
        oval([0.50, 0.06], 0.38, 0.34),
        limb([0.44, 0.00], 0.27, [-0.20, -0.08], 0.28),
        oval([-0.25, -0.22], 0.33, 0.29),
        limb([-0.36, -0.10], 0.29, [-0.68, 0.02], 0.22),
    ];
    brush.fur(&back, 0.2, &coat);
    legs(brush, &Fur { shag: 0.04, ..low }, [-0.36 - stride, 0.60 + stride], 0.0);
    let nod = dice.middling(-0.14, 0.14);
    let frame = brush.frame.turned([-0.66, 0.0], nod);
    head(&mut brush.within(frame), &coat);
}

fn legs(brush: &mut Brush<'_>, coat: &Fur, [fore, hind]: [f32; 2], lift: f32) {
    let front: [Lump; 3] = [
        limb([-0.30, 0.14], 0.20, [fore, 0.42], 0.135),
        limb([fore, 0.42], 0.13, [fore - 0.01, 0.64 + lift], 0.11),
        limb([fore, 0.66 + lift], 0.075, [fore - 0.10, 0.68 + lift], 0.065),
    ];
    let back: [Lump; 3] = [
        limb([0.54, 0.14], 0.26, [hind + 0.06, 0.42], 0.14),
        limb([hind + 0.06, 0.42], 0.125, [hind, 0.64 + lift], 0.105),
        limb([hind, 0.66 + lift], 0.075, [hind - 0.12, 0.68 + lift], 0.065),
    ];
    for (leg, foot) in [(back, hind - 0.15), (front, fore - 0.13)] {
        brush.fur(&leg, 0.06, coat);
        for toe in 0..3 {
            let root = [foot + 0.055 * toe as f32, 0.67 + lift + 0.012 * toe as f32];
            claw(brush, root, [root[0] - 0.12, root[1] + 0.055], 0.025);
        }
    }
}

fn head(brush: &mut Brush<'_>, coat: &Fur) {
    let face = Fur { tipped: coat.tipped * 0.5, shag: 0.035, ..*coat };
    let light = mix(coat.colour, coat.tips, 0.35);
    let inner = Fur { colour: scale(coat.colour, 0.55), tipped: 0.0, ..face };
    brush.fur(&[disc([-0.80, -0.17], 0.075)], 0.0, &inner);
    // Brow and nose rise from a hollow between them.
    brush.fur(&[oval([-0.74, 0.05], 0.25, 0.24), disc([-0.84, -0.02], 0.14)], 0.05, &face);
    let muzzle = [limb([-0.88, 0.13], 0.115, [-1.06, 0.16], 0.09), disc([-1.08, 0.12], 0.07)];
    brush.fur(&muzzle, 0.03, &Fur { round: 0.12, ..recoloured(&face, light) });
    brush.flat(&[oval([-1.15, 0.10], 0.055, 0.055)], [0.07, 0.06, 0.07], 0.0, 1.0);
    brush.line(&[[-1.12, 0.21], [-1.0, 0.24], [-0.90, 0.21]], 0.018, scale(light, 0.3));
    brush.fur(&[disc([-0.62, -0.16], 0.095)], 0.0, &face);
    brush.fur(&[disc([-0.625, -0.15], 0.05)], 0.0, &inner);
    eye(brush, [-0.90, 0.01], 0.034);
}
