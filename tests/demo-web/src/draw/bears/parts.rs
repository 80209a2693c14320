//! What several kinds of bear have in common: eyes, noses, mouths, coats, both sides of a body.

use crate::draw::colour::{BLACK, Colour, scale};
use crate::draw::dice::Dice;
use crate::draw::paint::{Brush, Fur};
use crate::draw::shape::{Lump, Point, disc, oval};

/// A lump and its mirror image across the figure's middle line.
pub(super) fn both(lump: Lump) -> [Lump; 2] {
    let across = |[x, y]: Point| [-x, y];
    let mirrored = match lump {
        Lump::Limb { from, to, radii } => Lump::Limb { from: across(from), to: across(to), radii },
        Lump::Oval { centre, radii, axis } => Lump::Oval { centre: across(centre), radii, axis: across(axis) },
        Lump::Slab { centre, halves, axis } => Lump::Slab { centre: across(centre), halves, axis: across(axis) },
    };
    [lump, mirrored]
}

/// A pair of living eyes.
pub(super) fn eyes(brush: &mut Brush<'_>, [x, y]: Point, radius: f32, rim: Colour) {
    for side in [-x, x] {
        brush.flat(&[oval([side, y], radius * 1.5, radius * 1.25)], scale(rim, 0.45), radius * 0.5, 0.8);
        eye(brush, [side, y], radius);
    }
}

pub(super) fn eye(brush: &mut Brush<'_>, [x, y]: Point, radius: f32) {
    brush.flat(&[disc([x, y], radius)], [0.26, 0.14, 0.06], 0.0, 1.0);
    brush.flat(&[disc([x, y], radius * 0.72)], BLACK, 0.0, 1.0);
    brush.flat(&[disc([x - radius * 0.3, y - radius * 0.35], radius * 0.3)], [1.0; 3], 0.0, 0.95);
}

/// A bear's nose: broad above, narrow below, with nostrils.
pub(super) fn nose(brush: &mut Brush<'_>, [x, y]: Point, across: f32) {
    let dark = [0.09, 0.075, 0.08];
    let low = oval([x, y + across * 0.42], across * 0.5, across * 0.38);
    brush.flat(&[oval([x, y], across, across * 0.58), low], dark, 0.0, 1.0);
    brush.flat(&[oval([x, y - across * 0.25], across * 0.62, across * 0.2)], [0.5, 0.48, 0.5], across * 0.18, 0.75);
    for side in [-1.0, 1.0] {
        let nostril = oval([x + side * across * 0.45, y + across * 0.2], across * 0.22, across * 0.14);
        brush.flat(&[nostril], [0.0; 3], 0.0, 0.9);
    }
}

/// Lips below a nose: a short line down and a curve to each side.
pub(super) fn lips(brush: &mut Brush<'_>, [x, y]: Point, across: f32, smile: f32, colour: Colour) {
    let width = across * 0.12;
    brush.line(&[[x, y], [x, y + across * 0.5]], width, colour);
    for side in [-1.0, 1.0] {
        let bend = |share: f32| {
            let rise = smile * share * share * across;
            [x + side * share * across, y + across * (0.5 + 0.25 * share * (1.0 - share) * 4.0) - rise]
        };
        brush.line(&[bend(0.0), bend(0.3), bend(0.65), bend(1.0)], width, colour);
    }
}

/// The same coat in another colour and without marks, for faces and soles.
pub(super) fn recoloured(fur: &Fur, colour: Colour) -> Fur {
    Fur { colour, tipped: fur.tipped * 0.3, shag: fur.shag * 0.5, ..*fur }
}

/// A unit vector that points mostly down.
pub(super) fn lie(dice: &mut Dice) -> Point {
    let lean = dice.range(-0.35, 0.35);
    let length = (1.0 + lean * lean).sqrt();
    [lean / length, 1.0 / length]
}
