//! What a model gets wrong: who is taken for whom, how often, whether it knows, and the pictures to look at first.

use maud::{Markup, html};
use serde_json::Value;
use ursa_proto::v1;

use super::{Wanted, why};
use crate::app::{App, ask};
use crate::view::plot::{Axes, Line, Plot};
use crate::view::{confusion, parts, text};

/// Pictures in each list.
const PICTURES: u32 = 18;
/// Pairs of classes that are worth a line.
const PAIRS: usize = 8;
/// Sides of the model's own snapshot, the usual one first.
const OWN_SIDES: [(&str, &str); 3] = [("valid", "it was measured on"), ("train", "it learned from"), ("all", "both")];
/// Sides of any other one, the usual one first.
const SIDES: [(&str, &str); 3] = [("all", "all"), ("valid", "of its valid side"), ("train", "of its train side")];

/// The section; where the model's package tells nothing, the matrix that was counted in training and the reason.
pub(super) async fn section(app: &App, model: &v1::Model, manifest: &Value, wanted: &Wanted) -> Markup {
    let sides = if wanted.snapshot.is_empty() { OWN_SIDES } else { SIDES };
    let side: &str = if wanted.side.is_empty() { sides[0].0 } else { &wanted.side };
    let request = v1::InterpretModelRequest {
        digest: model.digest.clone(),
        side: side.to_owned(),
        limit: PICTURES,
        snapshot: wanted.snapshot.clone(),
    };
    let found = ask(app.client.models().interpret_model(request)).await;
    html! {
        h2 #mistakes { "What it gets wrong" }
        (snapshots(model, &manifest["lineage"], &wanted.snapshot))
        @match found {
            Ok(found) => { (side_links(model, &wanted.snapshot, sides, side)) (told(&found)) }
            Err(error) => {
                p.waits { (error.message) }
                @if wanted.snapshot.is_empty() { (counted(model, &manifest["metrics"]["confusion"])) }
            }
        }
    }
}

fn counted(model: &v1::Model, counted: &Value) -> Markup {
    let counts = confusion::from_json(counted);
    html! { @if !counts.is_empty() { div.card { h2 { "Confusion matrix" } (confusion::matrix(&model.classes, &counts)) } } }
}

/// The model's own snapshot and those that it was evaluated on; nothing where there is nothing to choose.
fn snapshots(model: &v1::Model, lineage: &Value, chosen: &str) -> Markup {
    let is_chosen = |digest: &str| !chosen.is_empty() && digest.starts_with(&chosen.to_ascii_lowercase());
    let own = match (lineage["dataset"].as_str(), lineage["snapshot_number"].as_u64()) {
        (Some(dataset), Some(number)) => format!("its own, {dataset}@{number}"),
        _ => "its own".to_owned(),
    };
    html! { @if !model.evaluations.is_empty() { nav.filter aria-label="Which snapshot" {
        span.name { "snapshot" }
        a href=(link(model, "", "")) aria-current=[chosen.is_empty().then_some("true")] { (own) }
        @for evaluation in &model.evaluations {
            @let errors = evaluation.errors.unwrap_or_default();
            a href=(link(model, &evaluation.snapshot_digest, ""))
                aria-current=[is_chosen(&evaluation.snapshot_digest).then_some("true")]
                title=(format!("{} of {} pictures are wrong", errors.wrong, errors.of)) {
                (evaluation.dataset) "@" (evaluation.snapshot_number) ": "
                (text::percent(errors.wrong as f64 / errors.of.max(1) as f64))
            }
        }
    } } }
}

fn side_links(model: &v1::Model, snapshot: &str, sides: [(&str, &str); 3], chosen: &str) -> Markup {
    html! { nav.filter aria-label="Which pictures" {
        span.name { "pictures" }
        @for (side, name) in sides {
            a href=(link(model, snapshot, side)) aria-current=[(side == chosen).then_some("true")] { (name) }
        }
    } }
}

/// This section for other pictures.
fn link(model: &v1::Model, snapshot: &str, side: &str) -> String {
    format!("{}#mistakes", parts::link(&format!("/models/{}", model.digest), [("snapshot", snapshot), ("side", side)]))
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
            (parts::action(&why::address(&found.digest, &image.image_id, label), "Why?", ""))
        }
    } }
}
