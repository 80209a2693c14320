//! What a model gets wrong: who is taken for whom, how often, whether it knows, and the pictures to look at first.

use maud::{Markup, html};
use serde_json::Value;
use ursa_proto::v1;

use crate::app::{App, ask};
use crate::view::plot::{Axes, Line, Plot};
use crate::view::{confusion, text};

/// Pictures in each list.
const PICTURES: u32 = 18;
/// Pairs of classes that are worth a line.
const PAIRS: usize = 8;
const SIDES: [&str; 2] = ["valid", "train"];

/// The section; where the model's package tells nothing, the matrix that was counted in training and the reason.
pub(super) async fn section(app: &App, model: &v1::Model, counted: &Value, side: &str) -> Markup {
    let side = if side.is_empty() { SIDES[0] } else { side };
    let request = v1::InterpretModelRequest { digest: model.digest.clone(), side: side.to_owned(), limit: PICTURES };
    let found = ask(app.client.models().interpret_model(request)).await;
    html! {
        h2 #mistakes { "What it gets wrong" }
        @match found {
            Ok(found) => { (sides(model, side)) (told(&found)) }
            Err(error) => {
                p.waits { (error.message) }
                @let counts = confusion::from_json(counted);
                @if !counts.is_empty() { div.card { h2 { "Confusion matrix" } (confusion::matrix(&model.classes, &counts)) } }
            }
        }
    }
}

fn sides(model: &v1::Model, chosen: &str) -> Markup {
    html! { nav.filter aria-label="Which pictures" {
        span.name { "pictures" }
        @for (side, name) in SIDES.into_iter().zip(["it was measured on", "it learned from"]) {
            a href=(format!("/models/{}?side={side}#mistakes", model.digest)) aria-current=[(side == chosen).then_some("true")] { (name) }
        }
    } }
}

fn told(found: &v1::Interpretation) -> Markup {
    let counts: Vec<_> = found.confusion.iter().map(|row| row.counts.clone()).collect();
    html! {
        div.cards {
            div.card { h2 { "Confusion matrix" } (confusion::matrix(&found.classes, &counts)) (pairs(found)) }
            div.card { h2 { "Error of each class" } (class_errors(found)) }
        }
        @if let Some(calibration) = &found.calibration { (calibrated(calibration)) }
        h2 { "Highest losses" span.quiet { " – where it is surest of what the label denies" } }
        (pictures(found, &found.top_losses))
        h2 { "Least sure" span.quiet { " – where its best two classes are closest" } }
        (pictures(found, &found.most_unsure))
    }
}

fn class(found: &v1::Interpretation, index: u32) -> &str {
    found.classes.get(index as usize).map_or("?", String::as_str)
}

fn pairs(found: &v1::Interpretation) -> Markup {
    html! { @if !found.most_confused.is_empty() {
        h3 { "Most confused" }
        ol.pairs { @for pair in found.most_confused.iter().take(PAIRS) { li {
            b { (class(found, pair.actual)) } " taken for " b { (class(found, pair.predicted)) } ": " (text::count(pair.count))
        } } }
    } }
}

fn class_errors(found: &v1::Interpretation) -> Markup {
    let all = found.errors.unwrap_or_default();
    let rows = found.classes.iter().map(String::as_str).zip(&found.class_errors).chain([("all", &all)]);
    html! { div.scroll { table.list {
        thead { tr { th { "Class" } th.number { "Wrong" } th.number { "Error rate" } th.number { "95 %" } th { } } }
        tbody { @for (name, errors) in rows {
            @let rate = errors.wrong as f64 / errors.of.max(1) as f64;
            tr {
                td { (name) }
                td.number { (text::count(errors.wrong)) " / " (text::count(errors.of)) }
                td.number { (text::percent(rate)) }
                td.number { (text::percents((errors.low, errors.high))) }
                td.bar { meter min="0" max="1" value=(rate) { (text::percent(rate)) } }
            }
        } }
    } } }
}

/// Where the points lie below the diagonal, the model says more than it knows.
fn calibrated(calibration: &v1::Calibration) -> Markup {
    let bins: Vec<_> = calibration.bins.iter().filter(|bin| bin.count > 0).collect();
    let points = bins.iter().map(|bin| (100.0 * bin.confidence, bin.accuracy)).collect();
    let shares = calibration.bins.iter().map(|bin| (50.0 * (bin.above + bin.up_to), share(calibration, bin))).collect();
    let right = Line { name: "right, with its 95 % interval", class: "second", points, joined: true, marked: true };
    let diagonal = vec![(0.0, 0.0), (100.0, 1.0)];
    let ideal = Line { name: "as often as it says", class: "faint", points: diagonal, joined: true, marked: false };
    let axes = Axes { x: "% sure", percent: true };
    let intervals = bins.iter().map(|bin| (100.0 * bin.confidence, bin.low, bin.high)).collect();
    let (logarithmic, top, marks) = (false, Some(1.0), Vec::new());
    let plot =
        |title, lines, intervals| Plot { title, axes, lines, logarithmic, top, marks: marks.clone(), intervals }.draw();
    let sure = Line { name: "share of the pictures", class: "first", points: shares, joined: true, marked: true };
    html! {
        h2 { "Calibration" span.quiet { " – what it says and how often that is right differ by "
            (text::percent(calibration.error)) " on average" } }
        div.plots { (plot("How often it is right", vec![ideal, right], intervals)) (plot("How sure it is", vec![sure], Vec::new())) }
    }
}

fn share(calibration: &v1::Calibration, bin: &v1::CalibrationBin) -> f64 {
    let all = calibration.bins.iter().map(|bin| bin.count).sum::<u64>();
    bin.count as f64 / all.max(1) as f64
}

fn pictures(found: &v1::Interpretation, images: &[v1::JudgedImage]) -> Markup {
    html! { ul.pictures { @for image in images { li { (picture(found, image)) } } } }
}

fn picture(found: &v1::Interpretation, image: &v1::JudgedImage) -> Markup {
    let (label, said) = (class(found, image.actual), class(found, image.predicted));
    let told = format!("a picture labelled {label}, taken for {said}");
    html! { figure title=(image.url) {
        a href=(format!("/images/{}", image.image_id)) {
            img src=(format!("/images/{}", image.image_id)) alt=(told) loading="lazy" width="160" height="160";
        }
        figcaption {
            b { (label) }
            @if image.actual == image.predicted { " " span.right { "right" } } @else { " → " span.bad { (said) } }
            span.quiet { (text::percent(image.probability.into())) " sure, loss " (format!("{:.2}", image.loss)) }
            span.quiet { "margin " (text::percent(image.margin.into())) }
        }
    } }
}
