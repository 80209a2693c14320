//! Line plots as inline SVG, drawn by the server: no script, no library, styled by the page's own style sheet.

use maud::{Markup, html};

const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 270.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 42.0;
/// About so many lines across.
const TICKS: f64 = 6.0;
/// More points than the plot has columns of pixels tell nothing.
const MAX_POINTS: usize = 260;

/// One line.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// For the legend.
    pub name: &'static str,
    /// Class in the style sheet: its colour.
    pub class: &'static str,
    /// By x, ascending.
    pub points: Vec<(f64, f64)>,
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

/// Draws `lines` over a common pair of axes that begins at zero; nothing without a finite point.
pub(crate) fn plot(title: &str, axes: Axes, lines: &[Line]) -> Markup {
    let lines: Vec<Line> = lines.iter().map(drawable).filter(|line| !line.points.is_empty()).collect();
    if lines.is_empty() {
        return html! {};
    }
    let scale = Scale::around(&lines);
    html! {
        figure.plot {
            figcaption { b { (title) } @for line in &lines { span.key { i class=(line.class) {} (line.name) } } }
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(title) {
                (grid(axes, scale))
                @for line in &lines { (curve(axes, scale, line)) }
            }
        }
    }
}

fn drawable(line: &Line) -> Line {
    let finite = line.points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite()).collect::<Vec<_>>();
    Line { points: thinned(&finite), ..line.clone() }
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
    x_max: f64,
    y_max: f64,
}

impl Scale {
    fn around(lines: &[Line]) -> Self {
        let largest = |values: &mut dyn Iterator<Item = f64>| values.fold(0.0, f64::max);
        let x_max = largest(&mut lines.iter().flat_map(|line| line.points.iter().map(|point| point.0)));
        let y_max = largest(&mut lines.iter().map(|line| high(&line.points)));
        let or_one = |value| if value > 0.0 { value } else { 1.0 };
        Self { x_max: or_one(x_max), y_max: or_one(y_max) * 1.04 }
    }

    fn x(self, value: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * value / self.x_max
    }

    /// What is higher than the plot is drawn at its edge.
    fn y(self, value: f64) -> f64 {
        HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value / self.y_max).clamp(0.0, 1.0)
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
    let y_ticks = ticks(scale.y_max, round_step(scale.y_max));
    html! {
        @for value in y_ticks {
            @let y = format!("{:.1}", scale.y(value));
            line.grid x1=(LEFT) x2=(WIDTH - RIGHT) y1=(y) y2=(y) {}
            text.tick x=(LEFT - 8.0) y=(y) text-anchor="end" dominant-baseline="middle" { (tell(axes, value)) }
        }
        @for tick in x_ticks(scale.x_max) {
            text.tick x=(format!("{:.1}", scale.x(tick))) y=(HEIGHT - BOTTOM + 18.0) text-anchor="middle" { (format!("{tick:.0}")) }
        }
        text.tick x=(WIDTH - RIGHT) y=(HEIGHT - 2.0) text-anchor="end" { (axes.x) }
    }
}

/// Whole numbers at even distances, at most a handful.
fn x_ticks(max: f64) -> Vec<f64> {
    let step = round_step(max).max(1.0);
    ticks(max, if step.fract() == 0.0 { step } else { 2.0 * step })
}

/// A distance of the form 1, 2, 2.5 or 5 times a power of ten that fits a few times into `max`.
fn round_step(max: f64) -> f64 {
    let raw = max / TICKS;
    let power = 10f64.powf(raw.log10().floor());
    [1.0, 2.0, 2.5, 5.0].into_iter().map(|factor| factor * power).find(|step| *step >= raw).unwrap_or(10.0 * power)
}

fn ticks(max: f64, step: f64) -> Vec<f64> {
    (0..=TICKS as u32 + 1).map(|tick| f64::from(tick) * step).filter(|tick| *tick <= max).collect()
}

fn tell(axes: Axes, value: f64) -> String {
    match value {
        value if axes.percent => {
            format!("{:.*} %", usize::from((100.0 * value).fract() > 0.01 && value < 0.2), 100.0 * value)
        }
        value if value < 10.0 => format!("{value:.2}"),
        value => format!("{value:.0}"),
    }
}

fn curve(axes: Axes, scale: Scale, line: &Line) -> Markup {
    let place = |(x, y): &(f64, f64)| format!("{:.1},{:.1}", scale.x(*x), scale.y(*y));
    let points: Vec<String> = line.points.iter().map(place).collect();
    html! {
        polyline class=(line.class) points=(points.join(" ")) {}
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
        Line { name: "loss", class: "a", points, marked: true }
    }

    #[test]
    fn numbers_that_are_none_leave_no_trace() {
        let drawn = plot("loss", AXES, &[line(vec![(0.0, 1.0), (1.0, f64::NAN), (2.0, f64::INFINITY)])]).into_string();
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
        let scale = Scale::around(&[line((0..100).map(|x| (f64::from(x), if x == 0 { 1e9 } else { 1.0 })).collect())]);
        assert!(scale.y_max < 2.0, "one spike must not flatten the rest");
        assert!(scale.y(1e9) >= TOP - 1e-9 && scale.x(99.0) <= WIDTH);
    }

    #[test]
    fn ticks_are_whole_and_few() {
        assert_eq!(x_ticks(4.0), [0.0, 1.0, 2.0, 3.0, 4.0]);
        assert_eq!(x_ticks(930.0), [0.0, 200.0, 400.0, 600.0, 800.0]);
        assert_eq!(x_ticks(1.0), [0.0, 1.0]);
        assert_eq!(x_ticks(10.0), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        let y = ticks(1.37, round_step(1.37));
        assert_eq!(y, [0.0, 0.25, 0.5, 0.75, 1.0, 1.25]);
    }
}
