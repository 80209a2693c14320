//! What went wrong with a training run, each with the recipe to try next.

use maud::{Markup, html};
use ursa_client::learned::{Changes, Finding};
use ursa_proto::v1;

/// A card for each finding; nothing where there is none.
pub(super) fn cards(findings: &[Finding], detail: &v1::JobDetail, job: &v1::Job) -> Markup {
    html! { @if !findings.is_empty() {
        h2 { "What went wrong" }
        div.findings { @for finding in findings { (card(finding, &detail.spec_json, job)) } }
    } }
}

fn card(finding: &Finding, spec_json: &str, job: &v1::Job) -> Markup {
    html! { article.card.finding {
        h3 { (finding.title()) }
        dl.facts {
            (fact("seen", &finding.seen)) (fact("why it matters", &finding.why)) (fact("what to do", &finding.advice))
        }
        @if let Some(changes) = Changes::of(finding, &job.id, spec_json) {
            (copyable("For the pipeline file", &changes.yaml(&job.name)))
            (copyable("Or at once", &changes.command(&job.pipeline_id, &job.name)))
        }
    } }
}

fn fact(name: &str, text: &str) -> Markup {
    html! { @if !text.is_empty() { dt { (name) } dd { (text) } } }
}

pub(super) fn copyable(title: &str, text: &str) -> Markup {
    html! { div.copyable {
        p { span.quiet { (title) } button.copy type="button" data-copy=(text) { "Copy" } }
        pre { code { (text.trim_end()) } }
    } }
}
