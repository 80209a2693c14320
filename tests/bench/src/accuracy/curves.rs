//! How the runs went, epoch by epoch, as an SVG: every run a thin line, their mean a thick one. Pure.

use std::fmt::Write as _;

use ursa_learner::EpochReport;

const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 220.0;
/// Around a panel: left, right, top, bottom.
const MARGIN: [f64; 4] = [44.0, 12.0, 34.0, 30.0];

/// Runs that are drawn alike: one history each.
pub(crate) struct Group<'a> {
    pub(crate) name: &'a str,
    pub(crate) colour: &'a str,
    pub(crate) runs: &'a [Vec<EpochReport>],
}

/// Something that is measured after every epoch.
struct Measure {
    title: &'static str,
    of: fn(&EpochReport) -> f64,
}

const MEASURES: [Measure; 2] = [
    Measure { title: "validation loss (nats)", of: |report| report.valid.loss },
    Measure { title: "error rate (%)", of: |report| 100.0 * report.error_rate() },
];

/// Two panels side by side under a title.
pub(crate) fn draw(title: &str, groups: &[Group<'_>]) -> String {
    let (width, height) = (WIDTH * MEASURES.len() as f64, HEIGHT + 24.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{}\n",
        text(8.0, 16.0, "start", title)
    );
    for (index, measure) in MEASURES.iter().enumerate() {
        let _ = writeln!(svg, "<g transform=\"translate({} 24)\">", index as f64 * WIDTH);
        panel(&mut svg, measure, groups);
        svg.push_str("</g>\n");
    }
    svg + "</svg>\n"
}

fn panel(svg: &mut String, measure: &Measure, groups: &[Group<'_>]) {
    let all = || groups.iter().flat_map(|group| group.runs);
    let epochs = all().map(Vec::len).max().unwrap_or(1);
    let most = all().flatten().map(measure.of).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let [left, right, top, bottom] = MARGIN;
    let x = |epoch: f64| left + epoch / (epochs.max(2) - 1) as f64 * (WIDTH - left - right);
    let y = |value: f64| HEIGHT - bottom - value / most * (HEIGHT - top - bottom);
    for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let (value, at) = (share * most, y(share * most));
        let _ = writeln!(svg, "<path d=\"M{left} {at:.1}H{}\" stroke=\"#ddd\"/>", WIDTH - right);
        svg.push_str(&text(left - 4.0, at + 4.0, "end", &format!("{value:.*}", if most > 10.0 { 0 } else { 2 })));
    }
    for epoch in 0..epochs {
        svg.push_str(&text(x(epoch as f64), HEIGHT - bottom + 14.0, "middle", &(epoch + 1).to_string()));
    }
    svg.push_str(&text(left, top - 18.0, "start", measure.title));
    for (index, group) in groups.iter().enumerate() {
        let values = |run: &Vec<EpochReport>| run.iter().map(measure.of).collect::<Vec<f64>>();
        let runs: Vec<Vec<f64>> = group.runs.iter().map(values).collect();
        for run in &runs {
            svg.push_str(&line(run, group.colour, 0.7, &x, &y));
        }
        svg.push_str(&line(&mean(&runs), group.colour, 2.4, &x, &y));
        let name = format!("<tspan fill=\"{}\">{}</tspan>", group.colour, group.name);
        svg.push_str(&text(WIDTH - right - 70.0 * index as f64, top - 18.0, "end", &name));
    }
}

fn line(values: &[f64], colour: &str, width: f64, x: &impl Fn(f64) -> f64, y: &impl Fn(f64) -> f64) -> String {
    let points: Vec<String> =
        values.iter().enumerate().map(|(epoch, value)| format!("{:.1},{:.1}", x(epoch as f64), y(*value))).collect();
    let points = points.join(" ");
    format!("<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\"/>\n")
}

/// Of each epoch that all runs have.
fn mean(runs: &[Vec<f64>]) -> Vec<f64> {
    let epochs = runs.iter().map(Vec::len).min().unwrap_or(0);
    (0..epochs).map(|epoch| runs.iter().map(|run| run[epoch]).sum::<f64>() / runs.len() as f64).collect()
}

fn text(x: f64, y: f64, anchor: &str, words: &str) -> String {
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>\n")
}

#[cfg(test)]
mod tests {
    use ursa_learner::{Measurement, Proportion};

    use super::*;

    fn run(losses: &[f64]) -> Vec<EpochReport> {
        let measured = |loss| Measurement { loss, class_errors: vec![Proportion { count: 1, of: 4 }] };
        let report = |(epoch, &loss): (u32, &f64)| EpochReport {
            epoch,
            step: 1,
            train_loss: loss,
            train: measured(loss),
            valid: measured(loss),
        };
        (0..).zip(losses).map(report).collect()
    }

    #[test]
    fn every_run_and_the_mean_of_each_group_is_a_line_in_both_panels() {
        let runs = [run(&[1.0, 0.5, 0.2]), run(&[1.0, 0.3, 0.0])];
        let groups = [
            Group { name: "float32", colour: "red", runs: &runs },
            Group { name: "bfloat16", colour: "blue", runs: &runs[..1] },
        ];
        let svg = draw("a title", &groups);
        assert_eq!(svg.matches("<polyline").count(), 2 * (2 + 1 + 1 + 1));
        // The mean of the first epoch is at the top of the panel, the least value at its bottom.
        assert!(svg.contains("points=\"44.0,34.0 196.0,"), "{svg}");
        assert!(svg.contains(",190.0\""), "{svg}");
        assert_eq!(mean(&[vec![1.0, 3.0], vec![2.0]]), [1.5]);
    }
}
