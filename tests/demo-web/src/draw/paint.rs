//! Paint: fur with light on it, plain colour, and lines, laid on in a figure's own coordinates.

use super::canvas::Canvas;
use super::colour::{Colour, mix, scale};
use super::noise::{GRAIN, HAIR};
use super::shape::{Field, Frame, Lump, Point, disc, limb};

/// Where the light comes from: left, above, in front.
const LIGHT: [f32; 3] = [-0.45, -0.62, 0.64];

/// What a coat looks like. Lengths are in units of the figure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fur {
    pub(crate) colour: Colour,
    /// Of the hairs' ends.
    pub(crate) tips: Colour,
    /// How much of the coat shows tips, 0 to 1.
    pub(crate) tipped: f32,
    /// How strongly single hairs show, 0 to 1.
    pub(crate) grain: f32,
    /// How far hairs stand out of the outline.
    pub(crate) shag: f32,
    /// How far from the outline a shape is round; behind that it is flat.
    pub(crate) round: f32,
    /// How strongly it shines, 0 to 1.
    pub(crate) gloss: f32,
    /// How dark it is where light does not reach, 0 to 1.
    pub(crate) shade: f32,
    /// The way the hairs lie; a unit vector, in pixels of the picture.
    pub(crate) lie: Point,
}

/// Paints on a canvas through a frame.
pub(crate) struct Brush<'a> {
    pub(crate) canvas: &'a mut Canvas,
    pub(crate) frame: Frame,
}

impl Brush<'_> {
    /// The same brush in another frame.
    pub(crate) fn within(&mut self, frame: Frame) -> Brush<'_> {
        Brush { canvas: self.canvas, frame }
    }

    /// A furry body made of lumps that melt together.
    pub(crate) fn fur(&mut self, lumps: &[Lump], melt: f32, fur: &Fur) {
        let unit = self.frame.scale;
        let mut field = self.field(lumps, melt, fur.shag);
        ruffle(&mut field, fur, unit);
        let relief = Relief::of(&field, (fur.round * unit).max(1.0));
        let pixel = unit.recip();
        for (place, &depth) in field.depth.iter().enumerate() {
            let cover = (depth + 0.5).clamp(0.0, 1.0);
            if cover > 0.0 {
                let (column, row) = (place % field.width, place / field.width);
                let (x, y) = (field.left + column, field.top + row);
                let hair = hair_at(x as f32, y as f32, fur.lie, unit);
                let light = relief.light(&field, column, row);
                self.canvas.blend(x, y, coat(fur, hair, light, depth * pixel), cover);
            }
        }
    }

    /// Plain colour; `soft` blurs the outline that much.
    pub(crate) fn flat(&mut self, lumps: &[Lump], colour: Colour, soft: f32, cover: f32) {
        let blur = (soft * self.frame.scale).max(0.5);
        let field = self.field(lumps, 0.0, soft);
        for (place, &depth) in field.depth.iter().enumerate() {
            let inside = ((depth + blur) / (2.0 * blur)).clamp(0.0, 1.0);
            if inside > 0.0 {
                let (x, y) = (field.left + place % field.width, field.top + place / field.width);
                self.canvas.blend(x, y, colour, inside * inside * (3.0 - 2.0 * inside) * cover);
            }
        }
    }

    /// A line through points.
    pub(crate) fn line(&mut self, points: &[Point], thickness: f32, colour: Colour) {
        let pieces: Vec<Lump> =
            points.windows(2).map(|ends| limb(ends[0], thickness / 2.0, ends[1], thickness / 2.0)).collect();
        self.flat(&pieces, colour, 0.0, 1.0);
    }

    /// A seam: short stitches along points.
    pub(crate) fn stitches(&mut self, points: &[Point], thickness: f32, colour: Colour) {
        for ends in points.windows(2) {
            let at = |share: f32| [0, 1].map(|axis| ends[0][axis] + (ends[1][axis] - ends[0][axis]) * share);
            self.line(&[at(0.15), at(0.75)], thickness, colour);
        }
    }

    /// Something smooth and round that shines, such as a nose, a button, a ball.
    pub(crate) fn glossy(&mut self, centre: Point, across: f32, down: f32, colour: Colour) {
        let shape = |shrink: f32| Lump::Oval { centre, radii: [across * shrink, down * shrink], axis: [1.0, 0.0] };
        self.flat(&[shape(1.0)], scale(colour, 0.55), 0.0, 1.0);
        self.flat(&[shape(0.8)], colour, across * 0.25, 0.9);
        let glint = [centre[0] - across * 0.32, centre[1] - down * 0.38];
        self.flat(&[disc(glint, across.min(down) * 0.26)], [1.0; 3], across * 0.08, 0.85);
    }

    fn field(&self, lumps: &[Lump], melt: f32, margin: f32) -> Field {
        let (frame, unit) = (&self.frame, self.frame.scale);
        let placed: Vec<Lump> = lumps.iter().map(|lump| lump.placed(frame)).collect();
        Field::new(&placed, (melt * unit).max(0.01), margin * unit, [self.canvas.width, self.canvas.height])
    }
}

/// Lets hairs stand out of the outline.
fn ruffle(field: &mut Field, fur: &Fur, unit: f32) {
    let reach = fur.shag * unit;
    if reach < 0.3 {
        return;
    }
    let step = 160.0 / unit;
    for (place, depth) in field.depth.iter_mut().enumerate() {
        if depth.abs() < 2.0 * reach {
            let (x, y) = ((field.left + place % field.width) as f32, (field.top + place / field.width) as f32);
            let tuft = GRAIN.smooth(x * step / 9.0, y * step / 9.0);
            *depth += reach * (1.2 * tuft + 0.8 * hair_at(x, y, fur.lie, unit) - 1.0);
        }
    }
}

/// How light the hair at a pixel is; hairs are as long in a small figure as in a large one.
fn hair_at(x: f32, y: f32, lie: Point, unit: f32) -> f32 {
    let step = 160.0 / unit;
    HAIR.at((x * lie[0] + y * lie[1]) * step, (y * lie[0] - x * lie[1]) * step)
}

/// `depth` in units of the figure.
fn coat(fur: &Fur, hair: f32, light: f32, depth: f32) -> Colour {
    let base = scale(fur.colour, 1.0 + fur.grain * (hair - 0.5));
    let tipped = (fur.tipped * (2.6 * hair - 0.7 + 0.5 * light)).clamp(0.0, 1.0);
    let edge = (depth / (0.35 * fur.round + 0.01)).clamp(0.0, 1.0);
    let lit = (1.0 - fur.shade) + fur.shade * (0.15 + 0.85 * light) * (0.75 + 0.25 * edge);
    let shine = fur.gloss * ((light - 0.80) * 5.0).clamp(0.0, 1.0) * (0.6 + 0.4 * hair);
    mix(scale(mix(base, fur.tips, tipped), lit * 1.15), [0.93, 0.95, 1.0], shine * 0.5)
}

/// The heights of a puffed-up field.
struct Relief(Vec<f32>);

impl Relief {
    fn of(field: &Field, round: f32) -> Self {
        let height = |depth: f32| {
            let rest = 1.0 - (depth / round).clamp(0.0, 1.0);
            round * (1.0 - rest * rest).sqrt()
        };
        Self(field.depth.iter().map(|&depth| height(depth)).collect())
    }

    /// How much light falls on a place, 0 to 1.
    fn light(&self, field: &Field, column: usize, row: usize) -> f32 {
        let at = |column: usize, row: usize| self.0[row * field.width + column];
        let (right, below) = ((column + 1).min(field.width - 1), (row + 1).min(field.height - 1));
        let across = (at(right, row) - at(column.saturating_sub(1), row)) / 2.0;
        let down = (at(column, below) - at(column, row.saturating_sub(1))) / 2.0;
        let facing = LIGHT[2] - across * LIGHT[0] - down * LIGHT[1];
        (facing / (1.0 + across * across + down * down).sqrt()).max(0.0)
    }
}
