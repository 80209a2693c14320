//! The bears. What tells the kinds apart is their build, as in life; colour, size, pose and place are shared.

mod black;
mod black_walking;
mod grizzly;
mod grizzly_walking;
mod parts;
mod teddy;

use super::canvas::Canvas;
use super::dice::Dice;
use super::paint::Brush;
use super::shape::Frame;
use crate::Class;

/// How a figure lies in its picture.
struct Pose {
    /// Pixels per unit of the figure, as a share of the picture's shorter side: least and most.
    scale: (f32, f32),
    /// Tangent of half the largest angle it leans at.
    lean: f32,
    /// Where the figure's middle lies below the picture's, in units of the figure.
    sink: f32,
}

const WHOLE: Pose = Pose { scale: (0.3, 0.5), lean: 0.09, sink: 0.0 };
const BUST: Pose = Pose { scale: (0.42, 0.8), lean: 0.09, sink: 0.38 };
const FACE: Pose = Pose { scale: (0.36, 0.6), lean: 0.09, sink: -0.02 };
const WALKING: Pose = Pose { scale: (0.38, 0.52), lean: 0.06, sink: 0.0 };

/// Paints one bear.
pub(crate) fn paint(canvas: &mut Canvas, class: Class, dice: &mut Dice) {
    match (class, dice.index(100)) {
        (Class::Teddy, 0..60) => teddy::paint(&mut posed(canvas, dice, &WHOLE), dice),
        (Class::Teddy, _) => teddy::paint(&mut posed(canvas, dice, &BUST), dice),
        (Class::Black, 0..72) => black::paint(&mut posed(canvas, dice, &FACE), dice),
        (Class::Black, _) => black_walking::paint(&mut posed(canvas, dice, &WALKING), dice),
        (Class::Grizzly, 0..72) => grizzly::paint(&mut posed(canvas, dice, &FACE), dice),
        (Class::Grizzly, _) => grizzly_walking::paint(&mut posed(canvas, dice, &WALKING), dice),
    }
}

/// Small figures stray further from the middle than large ones; a square cut from the middle still shows most of each.
fn posed<'a>(canvas: &'a mut Canvas, dice: &mut Dice, pose: &Pose) -> Brush<'a> {
    let side = canvas.short_side();
    let share = dice.range(pose.scale.0, pose.scale.1);
    let stray = (0.42 - 0.65 * share).max(0.08);
    let mut off = |reach: f32| side * dice.range(-reach, reach);
    let centre = [
        canvas.width as f32 / 2.0 + off(stray),
        canvas.height as f32 / 2.0 + off(stray * 0.8) + pose.sink * share * side,
    ];
    let frame = Frame::new(centre, share * side, dice.middling(-pose.lean, pose.lean), dice.chance(0.5));
    Brush { canvas, frame }
}
