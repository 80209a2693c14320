//! The black bear face to face: a narrow head with a straight profile, tall ears, a long light muzzle, a sleek coat, often
//! a blaze on the chest.

use super::parts::{both, eyes, lie, lips, nose, recoloured};
use crate::draw::colour::{Colour, WHITE, hex, mix, near, scale};
use crate::draw::dice::Dice;
use crate::draw::paint::{Brush, Fur};
use crate::draw::shape::{limb, oval};

const COATS: [Colour; 8] = [
    hex(0x0026_2324),
    hex(0x0033_2b29),
    hex(0x0048_352a),
    hex(0x0063_4329),
    hex(0x008a_5630),
    hex(0x00a8_7444),
    hex(0x003a_3436),
    hex(0x0075_6a62),
];

const MUZZLES: [Colour; 4] = [hex(0x00c9_9a62), hex(0x00d9_b583), hex(0x00b5_8350), hex(0x00e2_c49a)];

/// The coat and the muzzle of one bear.
pub(super) fn coat(dice: &mut Dice) -> (Fur, Fur) {
    let colour = near(dice, &COATS, 0.14);
    let sleek = Fur {
        colour,
        tips: mix(colour, WHITE, 0.35),
        tipped: dice.range(0.0, 0.12),
        grain: dice.range(0.2, 0.5),
        shag: dice.range(0.006, 0.022),
        round: 0.34,
        gloss: dice.range(0.35, 0.9),
        shade: 0.55,
        lie: lie(dice),
    };
    let light = near(dice, &MUZZLES, 0.08);
    (sleek, Fur { gloss: 0.0, ..recoloured(&sleek, light) })
}

pub(super) fn paint(brush: &mut Brush<'_>, dice: &mut Dice) {
    let (coat, muzzle) = coat(dice);
    shoulders(brush, dice, &coat);
    let tilt = dice.middling(-0.09, 0.09);
    let frame = brush.frame.turned([0.0, 0.3], tilt);
    head(&mut brush.within(frame), dice, &coat, &muzzle);
}

fn shoulders(brush: &mut Brush<'_>, dice: &mut Dice, coat: &Fur) {
    let broad = dice.range(0.66, 0.8);
    brush.fur(
        &[limb([0.0, 0.15], 0.46, [0.0, 0.95], broad), limb([0.0, 0.95], broad, [0.0, 3.2], broad * 1.15)],
        0.2,
        coat,
    );
    if dice.chance(0.5) {
        let blaze = [limb([-0.27, 0.76], 0.05, [0.0, 0.95], 0.09), limb([0.27, 0.76], 0.05, [0.0, 0.95], 0.09)];
        brush.fur(&blaze, 0.05, &Fur { colour: WHITE, gloss: 0.0, shag: 0.03, shade: 0.3, ..*coat });
    }
}

fn head(brush: &mut Brush<'_>, dice: &mut Dice, coat: &Fur, muzzle: &Fur) {
    let (spread, tall) = (dice.range(0.40, 0.46), dice.range(0.60, 0.70));
    brush.fur(&both(limb([0.34, -0.40], 0.18, [spread, -tall], 0.14)), 0.0, coat);
    let inner = Fur { colour: scale(mix(coat.colour, muzzle.colour, 0.35), 0.75), gloss: 0.0, ..*coat };
    brush.fur(&both(limb([0.36, -0.46], 0.10, [spread - 0.01, -tall + 0.02], 0.08)), 0.0, &inner);
    let cheeks = both(oval([0.22, 0.02], 0.27, 0.30));
    let skull = [oval([0.0, -0.20], 0.50, 0.43), limb([0.0, -0.1], 0.36, [0.0, 0.36], 0.22), cheeks[0], cheeks[1]];
    brush.fur(&skull, 0.12, coat);
    let long = dice.range(0.30, 0.37);
    brush.fur(&[limb([0.0, 0.02], 0.10, [0.0, long], 0.205)], 0.0, &Fur { round: 0.15, ..*muzzle });
    for side in [-1.0, 1.0] {
        brush.flat(&[oval([side * 0.17, -0.30], 0.05, 0.035)], muzzle.colour, 0.03, 0.75);
    }
    nose(brush, [0.0, long - 0.06], 0.125);
    lips(brush, [0.0, long + 0.03], 0.13, -0.1, scale(muzzle.colour, 0.25));
    eyes(brush, [dice.range(0.185, 0.215), -0.15], 0.055, coat.colour);
}
