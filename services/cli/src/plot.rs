//! Curves as text: points over a logarithmic axis, and bars.

/// The canvas, in characters.
const WIDTH: usize = 64;
const HEIGHT: usize = 14;
/// What is left of it: the numbers of the axis.
const MARGIN: usize = 8;
/// Labels below the canvas do not come closer than this.
const BETWEEN_LABELS: usize = 2;
const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// One set of points, drawn with a character of its own. What is drawn later lies on top.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    pub sign: char,
    /// Abscissas are above 0.
    pub points: Vec<(f64, f64)>,
}

/// Draws `series` over a logarithmic axis, with heights from 0 to `top`; what is higher lies at the edge. `marks` are places
/// on the axis with the sign that stands there. Nothing where there are no two abscissas.
pub(crate) fn log_plot(series: &[Series], top: f64, marks: &[(f64, char)]) -> Option<String> {
    let places = || series.iter().flat_map(|one| one.points.iter().map(|point| point.0.log10()));
    let (low, high) = places().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
    if !(low.is_finite() && high.is_finite() && high > low && top.is_finite() && top > 0.0) {
        return None;
    }
    let column = |x: f64| ((x.log10() - low) / (high - low) * (WIDTH - 1) as f64).round() as usize;
    let mut canvas = vec![[' '; WIDTH]; HEIGHT];
    for Series { sign, points } in series {
        for (x, y) in points.iter().filter(|(_, y)| y.is_finite()) {
            let height = ((y / top).clamp(0.0, 1.0) * (HEIGHT - 1) as f64).round() as usize;
            canvas[HEIGHT - 1 - height][column(*x)] = *sign;
        }
    }
    let mut lines: Vec<String> = canvas.iter().enumerate().map(|(row, signs)| line(row, signs, top)).collect();
    let mut below = [' '; WIDTH];
    for (x, sign) in marks.iter().filter(|(x, _)| (low..=high).contains(&x.log10())) {
        below[column(*x)] = *sign;
    }
    lines.push(format!("{:>MARGIN$}└{}", "", "─".repeat(WIDTH)));
    if !marks.is_empty() {
        lines.push(format!("{:>MARGIN$} {}", "", below.iter().collect::<String>().trim_end()));
    }
    lines.push(format!("{:>MARGIN$} {}", "", labels(low, high).trim_end()));
    Some(lines.join("\n"))
}

fn line(row: usize, signs: &[char], top: f64) -> String {
    let height = (HEIGHT - 1 - row) as f64 / (HEIGHT - 1) as f64 * top;
    let label = if row.is_multiple_of(4) || row == HEIGHT - 1 { number(height) } else { String::new() };
    format!("{label:>width$} │{}", signs.iter().collect::<String>(), width = MARGIN - 1).trim_end().to_owned()
}

/// Powers of ten below the places they stand for.
fn labels(low: f64, high: f64) -> String {
    let mut labels = String::new();
    for power in low.ceil() as i64..=high.floor() as i64 {
        let place = ((power as f64 - low) / (high - low) * (WIDTH - 1) as f64).round() as usize;
        let taken = labels.chars().count();
        if labels.is_empty() || place >= taken + BETWEEN_LABELS {
            labels.extend([" ".repeat(place.saturating_sub(taken)), format!("1e{power}")]);
        }
    }
    labels
}

/// A bar of at most `width` characters for a share of 1.
pub(crate) fn bar(share: f64, width: usize) -> String {
    let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 1.0 };
    let eighths = (share * (width * 8) as f64).round() as usize;
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
}

/// A number of about four digits, `1.4321`, or `2.100e12` where it is far from one.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        0.001..1e5 => format!("{value:.*}", decimals(value.abs())),
        _ => format!("{value:.3e}"),
    }
}

fn decimals(size: f64) -> usize {
    match size {
        ..10.0 => 4,
        ..100.0 => 3,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_valley_is_seen_with_its_marks_and_powers_of_ten() {
        let points = (0..=100).map(|step| (1e-7 * 10f64.powf(f64::from(step) * 0.08), (f64::from(step) - 60.0).abs()));
        let series = Series { sign: '•', points: points.collect() };
        let plot = log_plot(&[series], 60.0, &[(1e-3, '1'), (1e9, '2')]).unwrap();
        let lines: Vec<&str> = plot.lines().collect();
        assert_eq!(lines.len(), HEIGHT + 3);
        assert!(lines[0].contains("│•") && lines[0].trim_start().starts_with("60.000"), "{plot}");
        let bottom = lines[HEIGHT - 1].chars().position(|c| c == '•').unwrap();
        assert!((bottom as i64 - (MARGIN + 1 + WIDTH * 6 / 10) as i64).abs() <= 4, "{plot}");
        assert!(lines[HEIGHT + 1].trim() == "1", "a mark outside is left out: {plot}");
        assert!(lines[HEIGHT + 2].contains("1e-7") && lines[HEIGHT + 2].contains("1e0"), "{plot}");
        assert!(lines.iter().all(|line| line.chars().count() <= MARGIN + 1 + WIDTH + 4), "{plot}");
    }

    #[test]
    fn what_cannot_be_drawn_is_not() {
        let series = |points: &[(f64, f64)]| [Series { sign: '•', points: points.to_vec() }];
        assert_eq!(log_plot(&[], 1.0, &[]), None);
        assert_eq!(log_plot(&series(&[(1.0, 1.0)]), 1.0, &[]), None);
        assert_eq!(log_plot(&series(&[(0.0, 1.0), (1.0, 1.0)]), 1.0, &[]), None);
        assert_eq!(log_plot(&series(&[(0.1, 1.0), (1.0, 1.0)]), f64::INFINITY, &[]), None);
        assert!(log_plot(&series(&[(0.1, f64::NAN), (1.0, 1e300)]), 1.0, &[]).is_some());
    }

    #[test]
    fn bars_are_as_long_as_their_share() {
        assert_eq!(
            (bar(0.5, 4), bar(0.0, 4), bar(7.0, 2), bar(f64::NAN, 1)),
            ("██".into(), String::new(), "██".into(), "█".into())
        );
        assert_eq!(bar(0.6, 1), "▋");
    }

    #[test]
    fn numbers_are_short_however_large() {
        let told = [0.0, 1.432_11, -0.5, 71.3, 812.04, 2.1e12, 3e-7].map(number);
        assert_eq!(told, ["0", "1.4321", "-0.5000", "71.300", "812.0", "2.100e12", "3.000e-7"]);
    }
}
