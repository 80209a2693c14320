//! Shapes: lumps that melt into each other, as distances to their common outline.

/// A place or a direction.
pub(crate) type Point = [f32; 2];

/// From a figure's own coordinates (about -1 to 1, y downwards) to pixels: turned, scaled, perhaps mirrored, moved.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    /// Pixels per unit.
    pub(crate) scale: f32,
    centre: Point,
    /// Cosine and sine.
    turn: Point,
    mirror: f32,
}

impl Frame {
    /// `lean` is the tangent of half the angle it is turned by.
    pub(crate) fn new(centre: Point, scale: f32, lean: f32, mirrored: bool) -> Self {
        let whole = 1.0 + lean * lean;
        let turn = [(1.0 - lean * lean) / whole, 2.0 * lean / whole];
        Self { scale, centre, turn, mirror: if mirrored { -1.0 } else { 1.0 } }
    }

    /// The frame of a part that turns on its own around `pivot`.
    pub(crate) fn turned(self, pivot: Point, lean: f32) -> Self {
        let own = Self::new([0.0, 0.0], 1.0, lean, false);
        let moved = own.direction(pivot);
        let centre = self.place([pivot[0] - moved[0], pivot[1] - moved[1]]);
        // Seen in a mirror it turns the other way.
        let ([a, b], [c, d]) = (self.turn, [own.turn[0], own.turn[1] * self.mirror]);
        Self { centre, turn: [a * c - b * d, a * d + b * c], ..self }
    }

    /// The frame of what is drawn further on, in units of the figure.
    pub(crate) fn moved(self, by: Point) -> Self {
        Self { centre: self.place(by), ..self }
    }

    pub(crate) fn place(&self, point: Point) -> Point {
        let [x, y] = self.direction(point);
        [self.centre[0] + self.scale * x, self.centre[1] + self.scale * y]
    }

    fn direction(&self, [x, y]: Point) -> Point {
        let x = x * self.mirror;
        [x * self.turn[0] - y * self.turn[1], x * self.turn[1] + y * self.turn[0]]
    }
}

/// A simple shape.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Lump {
    /// From a circle around one place to a circle around another, with everything between.
    Limb { from: Point, to: Point, radii: Point },
    /// An ellipse whose first radius points along `axis`, a unit vector.
    Oval { centre: Point, radii: Point, axis: Point },
    /// A rectangle, half as wide along `axis` as the first number says.
    Slab { centre: Point, halves: Point, axis: Point },
}

/// A limb from `from` to `to`.
pub(crate) fn limb(from: Point, first: f32, to: Point, second: f32) -> Lump {
    Lump::Limb { from, to, radii: [first, second] }
}

/// An upright ellipse.
pub(crate) fn oval(centre: Point, across: f32, down: f32) -> Lump {
    Lump::Oval { centre, radii: [across, down], axis: [1.0, 0.0] }
}

pub(crate) fn disc(centre: Point, radius: f32) -> Lump {
    oval(centre, radius, radius)
}

impl Lump {
    pub(crate) fn placed(self, frame: &Frame) -> Self {
        let scaled = |radii: Point| radii.map(|radius| radius * frame.scale);
        match self {
            Self::Limb { from, to, radii } => {
                Self::Limb { from: frame.place(from), to: frame.place(to), radii: scaled(radii) }
            }
            Self::Oval { centre, radii, axis } => {
                Self::Oval { centre: frame.place(centre), radii: scaled(radii), axis: frame.direction(axis) }
            }
            Self::Slab { centre, halves, axis } => {
                Self::Slab { centre: frame.place(centre), halves: scaled(halves), axis: frame.direction(axis) }
            }
        }
    }

    /// Left, top, right, bottom.
    fn bounds(&self) -> [f32; 4] {
        let around = |[x, y]: Point, r: f32| [x - r, y - r, x + r, y + r];
        match *self {
            Self::Limb { from, to, radii } => union(around(from, radii[0]), around(to, radii[1])),
            Self::Oval { centre, radii, .. } => around(centre, radii[0].max(radii[1])),
            Self::Slab { centre, halves, .. } => around(centre, halves[0] + halves[1]),
        }
    }

    /// How far inside a place is; negative outside.
    fn depth(&self, [x, y]: Point) -> f32 {
        match *self {
            Self::Limb { from, to, radii } => {
                let (along, off) = ([to[0] - from[0], to[1] - from[1]], [x - from[0], y - from[1]]);
                let length = (along[0] * along[0] + along[1] * along[1]).max(1e-6);
                let t = ((off[0] * along[0] + off[1] * along[1]) / length).clamp(0.0, 1.0);
                let (dx, dy) = (off[0] - t * along[0], off[1] - t * along[1]);
                radii[0] + t * (radii[1] - radii[0]) - (dx * dx + dy * dy).sqrt()
            }
            Self::Oval { centre, radii, axis } => {
                let (dx, dy) = (x - centre[0], y - centre[1]);
                let u = (dx * axis[0] + dy * axis[1]) / radii[0];
                let v = (dy * axis[0] - dx * axis[1]) / radii[1];
                let reach = (u * u + v * v).sqrt();
                let slope = ((u / radii[0]) * (u / radii[0]) + (v / radii[1]) * (v / radii[1])).sqrt();
                if reach < 1e-3 { radii[0].min(radii[1]) } else { reach * (1.0 - reach) / slope }
            }
            Self::Slab { centre, halves, axis } => {
                let (dx, dy) = (x - centre[0], y - centre[1]);
                let (u, v) = (dx * axis[0] + dy * axis[1], dy * axis[0] - dx * axis[1]);
                (halves[0] - u.abs()).min(halves[1] - v.abs())
            }
        }
    }
}

fn union(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
    [a[0].min(b[0]), a[1].min(b[1]), a[2].max(b[2]), a[3].max(b[3])]
}

/// The common outline of some lumps, as a depth for each pixel of a part of the canvas.
pub(crate) struct Field {
    pub(crate) left: usize,
    pub(crate) top: usize,
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) depth: Vec<f32>,
}

const OUTSIDE: f32 = -1e6;

impl Field {
    /// Of lumps in pixels on a canvas of `size`. They melt together within `melt` pixels; depths are known to `margin`
    /// pixels outside of the outline.
    pub(crate) fn new(lumps: &[Lump], melt: f32, margin: f32, size: [usize; 2]) -> Self {
        let margin = margin + melt + 2.0;
        let whole = lumps.iter().map(Lump::bounds).reduce(union).unwrap_or_default();
        let [left, top, right, bottom] = clipped(whole, margin, size);
        let (width, height) = (right - left, bottom - top);
        let mut field = Self { left, top, width, height, depth: vec![OUTSIDE; width * height] };
        for lump in lumps {
            field.add(lump, melt, margin, size);
        }
        field
    }

    fn add(&mut self, lump: &Lump, melt: f32, margin: f32, size: [usize; 2]) {
        let [left, top, right, bottom] = clipped(lump.bounds(), margin, size);
        for y in top..bottom {
            for x in left..right {
                let depth = &mut self.depth[(y - self.top) * self.width + x - self.left];
                *depth = melted(*depth, lump.depth([x as f32, y as f32]), melt);
            }
        }
    }
}

fn clipped(bounds: [f32; 4], margin: f32, [width, height]: [usize; 2]) -> [usize; 4] {
    let low = |value: f32, most: usize| ((value - margin).max(0.0) as usize).min(most);
    let high = |value: f32, most: usize| ((value + margin + 1.0).max(0.0) as usize).min(most);
    let (left, top) = (low(bounds[0], width), low(bounds[1], height));
    [left, top, high(bounds[2], width).max(left), high(bounds[3], height).max(top)]
}

/// The greater of two depths, rounded off where they are close.
fn melted(a: f32, b: f32, melt: f32) -> f32 {
    let close = melt - (a - b).abs();
    if close <= 0.0 { a.max(b) } else { a.max(b) + close * close / (4.0 * melt) }
}
