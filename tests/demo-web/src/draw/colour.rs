//! Colours, as three shares of light from 0 to 1.

use super::dice::Dice;

/// Red, green, blue.
pub(crate) type Colour = [f32; 3];

pub(crate) const BLACK: Colour = [0.05, 0.045, 0.05];
pub(crate) const WHITE: Colour = [0.97, 0.96, 0.93];

/// From `0xrrggbb`.
pub(crate) const fn hex(rgb: u32) -> Colour {
    [(rgb >> 16 & 255) as f32 / 255.0, (rgb >> 8 & 255) as f32 / 255.0, (rgb & 255) as f32 / 255.0]
}

/// `share` of `b`, the rest of `a`.
pub(crate) fn mix(a: Colour, b: Colour, share: f32) -> Colour {
    std::array::from_fn(|channel| a[channel] + (b[channel] - a[channel]) * share)
}

/// As much lighter or darker as `factor` says.
pub(crate) fn scale(colour: Colour, factor: f32) -> Colour {
    colour.map(|channel| channel * factor)
}

/// One of `palette`, a little off.
pub(crate) fn near(dice: &mut Dice, palette: &[Colour], amount: f32) -> Colour {
    let light = dice.range(1.0 - amount, 1.0 + amount);
    let picked = dice.pick(palette);
    picked.map(|channel| (channel * light + dice.range(-amount, amount) * 0.12).clamp(0.02, 0.98))
}

/// Something gaudy, as ribbons and balls are.
pub(crate) fn vivid(dice: &mut Dice) -> Colour {
    const GAUDY: [Colour; 8] = [
        hex(0x00c8_2333),
        hex(0x0024_5fb5),
        hex(0x00e0_a526),
        hex(0x002f_8f5b),
        hex(0x0087_3f9e),
        hex(0x00e5_6a9b),
        hex(0x001d_9aa3),
        hex(0x00e8_7027),
    ];
    near(dice, &GAUDY, 0.12)
}
