//! Line plots as inline SVG, drawn by the server: no script, no library, styled by the page's own style sheet.

use maud::{Markup, html};

const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 270.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 42.0;
/// About so many lines across.
const TICKS: f64 = 6.0;
const MOST_TICKS: u32 = 12;
/// Powers of ten below a logarithmic axis.
const MOST_POWERS: f64 = 9.0;
/// Numbers beyond cannot be drawn beside others.
const LARGEST: f64 = 1e200;
/// Marks that are nearer to each other cannot be told apart.
const MARKS_APART: f64 = 8.0;
/// More points than the plot has columns of pixels tell nothing.
const MAX_POINTS: usize = 260;

/// One line.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// For the legend; empty where it stands elsewhere.
    pub name: &'static str,
    /// Class in the style sheet: its colour.
    pub class: &'static str,
    /// By x, ascending.
    pub points: Vec<(f64, f64)>,
    /// Whether its points are joined.
    pub joined: bool,
    /// Whether each point is marked and tells its value.
    pub marked: bool,
}

/// How an axis tells its numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Axes {
    /// What runs to the right.
    pub x: &'static str,
    /// Whether values are shown in percent.
    pub percent: bool,
}

/// What is drawn, besides the lines in the order of drawing.
#[derive(Debug, Clone)]
pub(crate) struct Plot<'a> {
    pub title: &'a str,
    pub axes: Axes,
    pub lines: Vec<Line>,
    /// Whether equal distances to the right are equal factors; what is not above 0 is left out.
    pub logarithmic: bool,
    /// What is higher is drawn at the edge; `None` fits the axis to the lines.
    pub top: Option<f64>,
    /// Places on the axis that stand out, with what they are called.
    pub marks: Vec<(f64, String)>,
    /// Intervals of values: x, from, to.
    pub intervals: Vec<(f64, f64, f64)>,
}

/// Draws `lines` over a common pair of axes that begins at zero, or below where values are; nothing without a finite point.
pub(crate) fn plot(title: &str, axes: Axes, lines: &[Line]) -> Markup {
    let (lines, marks, intervals) = (lines.to_vec(), Vec::new(), Vec::new());
    Plot { title, axes, lines, logarithmic: false, top: None, marks, intervals }.draw()
}

impl Plot<'_> {
    /// The drawing; nothing without a finite point.
    pub(crate) fn draw(&self) -> Markup {
        let lines: Vec<Line> = self.lines.iter().map(|line| self.drawable(line)).collect();
        let lines: Vec<Line> = lines.into_iter().filter(|line| !line.points.is_empty()).collect();
        if lines.is_empty() {
            return html! {};
        }
        let intervals: Vec<_> = self.intervals.iter().filter(|one| is_sound(one.1) && is_sound(one.2)).collect();
        let highest = intervals.iter().map(|one| one.2).fold(0.0, f64::max);
        let scale = Scale::around(&lines, self.logarithmic, self.top, highest);
        html! {
            figure.plot {
                figcaption { b { (self.title) } (legend(lines.iter().map(|line| (line.class, line.name)))) }
                svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(self.title) {
                    (grid(self.axes, scale))
                    @for (x, names) in marked(scale, &self.marks) { (mark(scale, x, &names)) }
                    @for (x, from, to) in intervals { (interval(self.axes, scale, (*x, *from, *to))) }
                    @for line in &lines { (curve(self.axes, scale, line)) }
                }
            }
        }
    }

    fn drawable(&self, line: &Line) -> Line {
        let sound = |(x, y): &(f64, f64)| is_sound(*x) && is_sound(*y) && (*x > 0.0 || !self.logarithmic);
        let sound = line.points.iter().copied().filter(sound).collect::<Vec<_>>();
        Line { points: thinned(&sound), ..line.clone() }
    }
}

/// Keys of lines that have a name, by class.
pub(crate) fn legend<'a>(lines: impl Iterator<Item = (&'a str, &'a str)>) -> Markup {
    html! { @for (class, name) in lines.filter(|(_, name)| !name.is_empty()) { span.key { i class=(class) {} (name) } } }
}

/// Whether a number can be drawn, and added to others like it.
fn is_sound(value: f64) -> bool {
    value.abs() < LARGEST
}

/// Neighbours are averaged until few enough points are left.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if points.len() <= MAX_POINTS {
        return points.to_vec();
    }
    let mean = |chunk: &[(f64, f64)]| {
        let (x, y) = chunk.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0, y + point.1));
        (x / chunk.len() as f64, y / chunk.len() as f64)
    };
    points.chunks(points.len().div_ceil(MAX_POINTS)).map(mean).collect()
}

/// From values to the places of the drawing.
#[derive(Debug, Clone, Copy)]
struct Scale {
    logarithmic: bool,
    /// Of the axis: powers of ten where it is logarithmic.
    x_min: f64,
    x_max: f64,
    y_min: f64,
    y_max: f64,
}

impl Scale {
    /// Around all `lines`, and what reaches up to `highest`, but not beyond `top`.
    fn around(lines: &[Line], logarithmic: bool, top: Option<f64>, highest: f64) -> Self {
        let along = |x: f64| if logarithmic { x.log10() } else { x };
        let points = || lines.iter().flat_map(|line| &line.points);
        let x_max = points().map(|point| along(point.0)).fold(f64::NEG_INFINITY, f64::max);
        let lowest = points().map(|point| along(point.0)).fold(f64::INFINITY, f64::min);
        let x_min = if logarithmic { lowest } else { lowest.min(0.0) };
        let y_min = points().map(|point| point.1).fold(0.0, f64::min);
        let y_max = lines.iter().map(|line| high(&line.points)).fold(highest, f64::max);
        let above = |low: f64, high: f64| if high > low { high } else { low + 1.0 };
        let room = 0.04 * (y_max - y_min);
        Self {
            logarithmic,
            x_min,
            x_max: above(x_min, x_max),
            y_min: if y_min < 0.0 { y_min - room } else { 0.0 },
            y_max: top.filter(|top| is_sound(*top) && *top > 0.0).unwrap_or(above(y_min, y_max + room)),
        }
    }

    fn along(self, value: f64) -> f64 {
        if self.logarithmic { value.log10() } else { value }
    }

    fn reaches(self, x: f64) -> bool {
        (self.x_min..=self.x_max).contains(&self.along(x))
    }

    fn x(self, value: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * (self.along(value) - self.x_min) / (self.x_max - self.x_min)
    }

    /// What is higher than the plot is drawn at its edge.
    fn y(self, value: f64) -> f64 {
        let share = (value - self.y_min) / (self.y_max - self.y_min);
        HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share.clamp(0.0, 1.0)
    }
}

/// A height under which nearly all points lie: one spike at the start shall not flatten the rest.
fn high(points: &[(f64, f64)]) -> f64 {
    let mut values: Vec<f64> = points.iter().map(|point| point.1).collect();
    values.sort_by(f64::total_cmp);
    let index = if values.len() < 50 { values.len().saturating_sub(1) } else { values.len() * 98 / 100 };
    values.get(index).copied().unwrap_or_default()
}

fn grid(axes: Axes, scale: Scale) -> Markup {
    let step = round_step(scale.y_max - scale.y_min);
    html! {
        @for value in ticks(scale.y_min, scale.y_max, step) {
            @let y = format!("{:.1}", scale.y(value));
            line.grid x1=(LEFT) x2=(WIDTH - RIGHT) y1=(y) y2=(y) {}
            text.tick x=(LEFT - 8.0) y=(y) text-anchor="end" dominant-baseline="middle" { (tell_tick(axes, value, step)) }
        }
        @for (tick, label) in x_ticks(scale) {
            text.tick x=(format!("{:.1}", scale.x(tick))) y=(HEIGHT - BOTTOM + 18.0) text-anchor="middle" { (label) }
        }
        text.tick x=(WIDTH - RIGHT) y=(HEIGHT - 2.0) text-anchor="end" { (axes.x) }
    }
}

/// Values along the axis with their labels, at most a handful.
fn x_ticks(scale: Scale) -> Vec<(f64, String)> {
    if scale.logarithmic {
        let step = ((scale.x_max - scale.x_min) / MOST_POWERS).ceil().max(1.0);
        let powers = ticks(scale.x_min, scale.x_max, step);
        return powers.into_iter().map(|power| (10f64.powf(power), format!("1e{power:.0}"))).collect();
    }
    let step = round_step(scale.x_max - scale.x_min).max(1.0);
    let step = if step.fract() == 0.0 { step } else { 2.0 * step };
    ticks(scale.x_min, scale.x_max, step).into_iter().map(|tick| (tick, format!("{tick:.0}"))).collect()
}

/// A distance of the form 1, 2, 2.5 or 5 times a power of ten that fits a few times into `range`.
fn round_step(range: f64) -> f64 {
    let raw = range / TICKS;
    let power = 10f64.powf(raw.log10().floor());
    [1.0, 2.0, 2.5, 5.0].into_iter().map(|factor| factor * power).find(|step| *step >= raw).unwrap_or(10.0 * power)
}

/// The multiples of `step` from `min` to `max`.
fn ticks(min: f64, max: f64, step: f64) -> Vec<f64> {
    let first = (min / step).ceil();
    // 0 and no negative 0, which would be told with its sign.
    (0..=MOST_TICKS).map(|tick| (first + f64::from(tick)) * step + 0.0).filter(|tick| *tick <= max).collect()
}

/// A value of the grid, with the digits that tell it from the next.
fn tell_tick(axes: Axes, value: f64, step: f64) -> String {
    if axes.percent || value.abs() >= 1e5 {
        return tell(axes, value);
    }
    let is_whole = |digits: &i32| (step * 10f64.powi(*digits)).fract().abs() < 1e-6;
    let digits = (0..=6).find(is_whole).unwrap_or(6);
    format!("{value:.*}", digits as usize)
}

fn tell(axes: Axes, value: f64) -> String {
    match value {
        value if axes.percent => {
            format!("{:.*} %", usize::from((100.0 * value).fract() > 0.01 && value < 0.2), 100.0 * value)
        }
        value => number(value),
    }
}

/// About four digits, whatever the size.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        0.001..10.0 => format!("{value:.4}"),
        10.0..1e5 => format!("{value:.1}"),
        _ => format!("{value:.2e}"),
    }
}

/// The marks within the plot, those that fall together as one.
fn marked(scale: Scale, marks: &[(f64, String)]) -> Vec<(f64, String)> {
    let mut seen: Vec<(f64, String)> = Vec::new();
    for (x, name) in marks.iter().filter(|(x, _)| scale.reaches(*x)) {
        match seen.iter_mut().find(|(other, _)| (scale.x(*other) - scale.x(*x)).abs() < MARKS_APART) {
            Some((_, names)) => *names = format!("{names}, {name}"),
            None => seen.push((*x, name.clone())),
        }
    }
    seen
}

fn mark(scale: Scale, x: f64, name: &str) -> Markup {
    let x = format!("{:.1}", scale.x(x));
    html! {
        line.mark x1=(x) x2=(x) y1=(TOP) y2=(HEIGHT - BOTTOM) {}
        text.mark x=(x) y=(TOP - 3.0) text-anchor="middle" { (name) }
    }
}

fn interval(axes: Axes, scale: Scale, (x, from, to): (f64, f64, f64)) -> Markup {
    let (x, low, high) = (scale.x(x), format!("{:.1}", scale.y(from)), format!("{:.1}", scale.y(to)));
    let (left, right) = (format!("{:.1}", x - 4.0), format!("{:.1}", x + 4.0));
    html! {
        path.interval d=(format!("M{left},{high}H{right}M{x:.1},{high}V{low}M{left},{low}H{right}")) {
            title { (tell(axes, from)) " to " (tell(axes, to)) }
        }
    }
}

fn curve(axes: Axes, scale: Scale, line: &Line) -> Markup {
    let place = |(x, y): &(f64, f64)| format!("{:.1},{:.1}", scale.x(*x), scale.y(*y));
    let points: Vec<String> = line.points.iter().map(place).collect();
    html! {
        @if line.joined { polyline class=(line.class) points=(points.join(" ")) {} }
        @if line.marked {
            @for (x, y) in &line.points {
                circle class=(line.class) cx=(format!("{:.1}", scale.x(*x))) cy=(format!("{:.1}", scale.y(*y))) r="3.5" {
                    title { (axes.x) " " (x) ": " (tell(axes, *y)) }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AXES: Axes = Axes { x: "batch", percent: false };

    fn line(points: Vec<(f64, f64)>) -> Line {
        Line { name: "loss", class: "a", points, joined: true, marked: true }
    }

    fn scale(points: Vec<(f64, f64)>) -> Scale {
        Scale::around(&[line(points)], false, None, 0.0)
    }

    #[test]
    fn numbers_that_are_none_leave_no_trace() {
        let points = vec![(0.0, 1.0), (1.0, f64::NAN), (2.0, f64::INFINITY), (3.0, 1e308), (-1e308, 1.0)];
        let drawn = plot("loss", AXES, &[line(points)]).into_string();
        assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{drawn}");
        assert_eq!(plot("loss", AXES, &[line(vec![(0.0, f64::NAN)])]).into_string(), "");
    }

    #[test]
    fn long_series_are_thinned_and_keep_their_level() {
        let points = thinned(&(0..10_000).map(|x| (f64::from(x), 2.0)).collect::<Vec<_>>());
        assert!(points.len() <= MAX_POINTS && points.iter().all(|point| (point.1 - 2.0).abs() < 1e-9));
    }

    #[test]
    fn everything_drawn_lies_on_the_canvas() {
        let scale = scale((0..100).map(|x| (f64::from(x), if x == 0 { 1e9 } else { 1.0 })).collect());
        assert!(scale.y_max < 2.0, "one spike must not flatten the rest");
        assert!(scale.y(1e9) >= TOP - 1e-9 && scale.x(99.0) <= WIDTH);
    }

    #[test]
    fn values_below_zero_are_on_the_canvas_too() {
        let scale = scale(vec![(0.0, -1.0), (100.0, 3.0)]);
        assert!(scale.y(-1.0) < HEIGHT - BOTTOM && scale.y(3.0) > TOP && scale.y_min < -1.0);
        assert_eq!(ticks(scale.y_min, scale.y_max, 1.0), [-1.0, 0.0, 1.0, 2.0, 3.0]);
    }

    #[test]
    fn equal_factors_are_equal_distances_on_a_logarithmic_axis() {
        let points = vec![(0.0, 1.0), (1e-7, 1.0), (1e-3, 0.5), (10.0, 9.0)];
        let (title, marks) = ("loss", vec![(1e-3, "<1>".into()), (1e3, "outside".into())]);
        let plot = Plot {
            title,
            axes: AXES,
            lines: vec![line(points.clone())],
            logarithmic: true,
            top: Some(2.0),
            marks,
            intervals: vec![(1.0, f64::NAN, 1.0)],
        };
        let drawn = plot.draw().into_string();
        for said in ["1e-7", "1e1", "&lt;1&gt;", "class=\"mark\""] {
            assert!(drawn.contains(said), "{said}: {drawn}");
        }
        assert!(!drawn.contains("outside") && !drawn.contains("NaN") && !drawn.contains("interval"), "{drawn}");
        let scale = Scale::around(&[line(points[1..].to_vec())], true, None, 0.0);
        assert!((scale.x(1e-5) - scale.x(1e-7) - (scale.x(1e-1) - scale.x(1e-3))).abs() < 1e-9);
    }

    #[test]
    fn marks_that_fall_together_are_named_side_by_side() {
        let scale = scale(vec![(0.0, 1.0), (100.0, 1.0)]);
        let marks = [(50.0, "1".to_owned()), (50.5, "2".to_owned()), (10.0, "3".to_owned()), (200.0, "4".to_owned())];
        assert_eq!(marked(scale, &marks), [(50.0, "1, 2".to_owned()), (10.0, "3".to_owned())]);
    }

    #[test]
    fn ticks_are_whole_and_few() {
        let labels = |max| {
            let ticks = x_ticks(scale(vec![(0.0, 1.0), (max, 1.0)]));
            ticks.into_iter().map(|(_, label)| label).collect::<Vec<_>>()
        };
        assert_eq!(labels(4.0), ["0", "1", "2", "3", "4"]);
        assert_eq!(labels(930.0), ["0", "200", "400", "600", "800"]);
        assert_eq!(labels(1.0), ["0", "1"]);
        assert_eq!(labels(10.0), ["0", "2", "4", "6", "8", "10"]);
        let y = ticks(0.0, 1.37, round_step(1.37));
        assert_eq!(y, [0.0, 0.25, 0.5, 0.75, 1.0, 1.25]);
    }

    #[test]
    fn ticks_have_the_digits_that_tell_them_apart() {
        let told = |value, step| tell_tick(AXES, value, step);
        assert_eq!((told(0.25, 0.25), told(2.0, 1.0), told(0.002, 0.002)), ("0.25".into(), "2".into(), "0.002".into()));
        assert_eq!(told(2e6, 1e6), "2.00e6");
    }
}
