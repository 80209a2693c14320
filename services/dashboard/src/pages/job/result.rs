//! What a job left behind: each kind leaves something else.

use maud::{Markup, html};
use serde_json::Value;
use ursa_client::learned::{Run, Trained};
use ursa_proto::v1;

use super::{evaluate, explain, find_lr, findings, runs, search, sgd_lab};
use crate::view::{confusion, parts, text};

/// The output for people; nothing where there is none. `classes` are those of the model it trained.
pub(super) fn content(detail: &v1::JobDetail, job: &v1::Job, classes: &[String]) -> Markup {
    let output: Value = serde_json::from_str(&job.output_json).unwrap_or_default();
    let content = match job.kind.as_str() {
        "scrape" => counts("What became of the URLs", &output),
        "verify" => counts("What became of the images", &output),
        "snapshot" => snapshot(&output),
        "find_lr" => find_lr::result(&job.output_json),
        "train" => return trained(detail, job, &output, classes),
        "search" => {
            return html! { (trained(detail, job, &output, classes)) (search::content(detail, job)) };
        }
        "evaluate" => evaluate::result(&job.output_json),
        "explain" => explain::result(&job.output_json),
        "sgd_lab" => sgd_lab::result(&job.output_json),
        "deploy" => deploy(&output),
        _ => None,
    };
    html! { @if let Some(content) = content { div.card.result { (content) } } }
}

fn counts(title: &str, output: &Value) -> Option<Markup> {
    let counts: Vec<_> =
        output.as_object()?.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_u64()?))).collect();
    (!counts.is_empty()).then(|| html! { h2 { (title) } (parts::counts(counts)) })
}

fn snapshot(output: &Value) -> Option<Markup> {
    let dataset = output["dataset"].as_str()?;
    let number = output["number"].as_u64()?;
    let classes = output["classes"].as_array()?;
    Some(html! {
        h2 { "Snapshot " a href=(format!("/datasets/{}", parts::segment(dataset))) { (dataset) } "@" (number) }
        table.list { thead { tr { th { "Class" } th.number { "Train" } th.number { "Valid" } } }
            tbody { @for class in classes { tr {
                td { (class["name"].as_str().unwrap_or_default()) }
                td.number { (text::count(class["train"].as_u64().unwrap_or_default())) }
                td.number { (text::count(class["valid"].as_u64().unwrap_or_default())) }
            } } } }
    })
}

/// The model in a card of its own, beneath it how its run and the others went.
fn trained(detail: &v1::JobDetail, job: &v1::Job, output: &Value, classes: &[String]) -> Markup {
    let trained = Trained::read(&job.output_json);
    html! {
        @if let Some(digest) = &trained.model_digest {
            div.card.result {
                h2 { "Model " (parts::model_link(digest)) }
                (headline(&trained))
                (confusion::matrix(classes, &confusion::from_json(&output["confusion"])))
            }
        }
        (findings::cards(&trained.findings, detail, job))
        (runs::content(&trained))
    }
}

fn headline(trained: &Trained) -> Markup {
    let Some(rate) = trained.error_rate() else { return html! {} };
    let best = trained.best();
    html! {
        p.headline { b { (text::percent(rate)) } " error rate on the validation side" }
        @if let Some((wrong, of)) = best.and_then(|run| run.wrong) { p.quiet {
            (text::count(wrong)) " of " (text::count(of)) " pictures are wrong"
            @if let Some(interval) = best.and_then(Run::interval) { "; " (text::percents(interval)) " with 95 % confidence" }
            "."
        } }
    }
}

/// The digest of the model that a train or search job left behind.
pub(super) fn model_digest(job: &v1::Job) -> Option<String> {
    let output: Value = serde_json::from_str(&job.output_json).ok()?;
    matches!(job.kind.as_str(), "train" | "search").then(|| output["model_digest"].as_str().map(str::to_owned))?
}

fn deploy(output: &Value) -> Option<Markup> {
    let endpoint = output["endpoint"].as_str()?;
    Some(html! {
        h2 { "Endpoint " a href="/endpoints" { (endpoint) } }
        p { "serves model " (parts::model_link(output["model_digest"].as_str()?)) ". "
            a href=(parts::link("/try", [("endpoint", endpoint)])) { "Try it with a picture" } }
    })
}
