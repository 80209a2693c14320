//! The grizzly face to face: a broad dished face in a ruff of light-tipped hair, small ears far apart, the hump behind, and
//! long claws.

use super::parts::{both, eyes, lie, lips, nose, recoloured};
use crate::draw::colour::{Colour, hex, mix, near, scale};
use crate::draw::dice::Dice;
use crate::draw::paint::{Brush, Fur};
use crate::draw::shape::{disc, limb, oval};

const COATS: [Colour; 7] = [
    hex(0x0070_4f33),
    hex(0x0057_3c2a),
    hex(0x003d_2e26),
    hex(0x0093_6a40),
    hex(0x00b3_8954),
    hex(0x004e_4744),
    hex(0x0085_705a),
];

const HORN: Colour = hex(0x00e8_dcc0);

pub(super) fn coat(dice: &mut Dice) -> Fur {
    let colour = near(dice, &COATS, 0.14);
    Fur {
        colour,
        tips: mix(colour, hex(0x00f0_dcb4), dice.range(0.45, 0.75)),
        tipped: dice.range(0.35, 0.8),
        grain: dice.range(0.45, 0.8),
        shag: dice.range(0.035, 0.06),
        round: 0.3,
        gloss: 0.0,
        shade: 0.55,
        lie: lie(dice),
    }
}

pub(super) fn paint(brush: &mut Brush<'_>, dice: &mut Dice) {
    let coat = coat(dice);
    body(brush, dice, &coat);
    let tilt = dice.middling(-0.09, 0.09);
    let frame = brush.frame.turned([0.0, 0.2], tilt);
    head(&mut brush.within(frame), dice, &coat);
    if dice.chance(0.75) {
        paws(brush, dice, &coat);
    }
}

fn body(brush: &mut Brush<'_>, dice: &mut Dice, coat: &Fur) {
    let aside = dice.range(-0.12, 0.12);
    let hump = Fur { tipped: coat.tipped * 1.25, ..*coat };
    brush.fur(&[oval([aside, -0.42], 0.60, 0.46), oval([0.0, 0.50], 0.98, 0.62)], 0.35, &hump);
    let low = Fur { colour: scale(coat.colour, 0.8), tipped: coat.tipped * 0.5, ..*coat };
    brush.fur(&[limb([0.0, 1.15], 0.86, [0.0, 3.2], 0.95)], 0.2, &low);
}

fn head(brush: &mut Brush<'_>, dice: &mut Dice, coat: &Fur) {
    let face = Fur { colour: scale(coat.colour, 0.88), tipped: coat.tipped * 0.25, grain: coat.grain * 0.7, ..*coat };
    let (apart, ear) = (dice.range(0.48, 0.54), dice.range(0.14, 0.165));
    brush.fur(&both(disc([apart, -0.46], ear)), 0.0, &Fur { shag: 0.025, colour: scale(coat.colour, 0.75), ..face });
    let inner = Fur { colour: scale(coat.colour, 0.5), tipped: 0.0, shag: 0.02, ..face };
    brush.fur(&both(disc([apart - 0.01, -0.445], ear * 0.55)), 0.0, &inner);
    let ruff = both(oval([0.40, 0.20], 0.30, 0.32));
    brush.fur(&[oval([0.0, 0.30], 0.42, 0.36), ruff[0], ruff[1]], 0.1, coat);
    let cheeks = both(oval([0.30, 0.12], 0.26, 0.26));
    brush.fur(&[oval([0.0, -0.12], 0.57, 0.44), cheeks[0], cheeks[1]], 0.1, &face);
    dish(brush, &face);
    let light = mix(coat.colour, coat.tips, dice.range(0.25, 0.6));
    let snout = Fur { round: 0.16, ..recoloured(&face, light) };
    brush.fur(&[limb([0.0, 0.10], 0.17, [0.0, 0.34], 0.235)], 0.0, &snout);
    nose(brush, [0.0, 0.22], 0.145);
    lips(brush, [0.0, 0.32], 0.17, -0.15, scale(light, 0.25));
    eyes(brush, [dice.range(0.23, 0.26), -0.08], 0.05, face.colour);
}

/// The hollow between brow and nose.
fn dish(brush: &mut Brush<'_>, face: &Fur) {
    let hollow = scale(face.colour, 0.5);
    brush.flat(&both(oval([0.17, 0.02], 0.11, 0.16)), hollow, 0.09, 0.75);
    brush.flat(&[oval([0.0, -0.36], 0.26, 0.1)], mix(face.colour, face.tips, 0.5), 0.12, 0.5);
}

fn paws(brush: &mut Brush<'_>, dice: &mut Dice, coat: &Fur) {
    let paw = Fur { colour: scale(coat.colour, 0.72), tipped: 0.15, shag: 0.03, ..*coat };
    let (apart, down) = (dice.range(0.46, 0.6), dice.range(0.78, 0.88));
    for side in [-1.0, 1.0] {
        let x = side * apart;
        brush.fur(&[oval([x, down], 0.23, 0.17), limb([x, down], 0.2, [x * 1.1, down + 0.5], 0.24)], 0.05, &paw);
        for toe in 0..4 {
            let from = [x + 0.11 * (toe as f32 - 1.5), down + 0.08];
            claw(brush, from, [from[0] + 0.02 * (toe as f32 - 1.5), from[1] + 0.20], 0.038);
        }
    }
}

/// From its root to its point.
pub(super) fn claw(brush: &mut Brush<'_>, root: [f32; 2], point: [f32; 2], thick: f32) {
    brush.flat(&[limb(root, thick * 1.25, point, thick * 0.5)], scale(HORN, 0.3), 0.0, 1.0);
    brush.flat(&[limb(root, thick, point, thick * 0.25)], HORN, 0.0, 1.0);
}
