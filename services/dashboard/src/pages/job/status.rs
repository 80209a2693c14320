//! Where a job stands, what it left behind, and what can be done about it.

use maud::{Markup, html};
use ursa_proto::v1;

use super::result;
use crate::view::parts;

/// The section; `classes` are those of the model it trained.
pub(super) fn content(job: &v1::Job, classes: &[String]) -> Markup {
    html! {
        p.eyebrow { "Job " (parts::id(&job.id)) " of pipeline "
            a href=(format!("/pipelines/{}", job.pipeline_id)) { (crate::view::text::short_id(&job.pipeline_id)) } }
        header.title {
            h1 { (job.name) } @if job.name != job.kind { span.kind { (job.kind) } } (parts::chip(&job.state))
            (actions(job))
        }
        div.card {
            @if let Some(progress) = &job.progress {
                p.big-progress { (parts::progress(Some(progress))) }
                @if !progress.message.is_empty() { p.message { (progress.message) } }
            }
            @if !job.error.is_empty() { p.error { (job.error) } }
            dl.facts.row {
                dt { "submitted" } dd { (parts::when(job.created_at.as_ref())) }
                dt { "started" } dd { (parts::when(job.started_at.as_ref())) }
                dt { "ended" } dd { (parts::when(job.finished_at.as_ref())) }
                dt { "took" } dd { (parts::took(job.started_at.as_ref(), job.finished_at.as_ref())) }
            }
        }
        (result::content(job, classes))
    }
}

fn actions(job: &v1::Job) -> Markup {
    let action = |what: &str, label: &str| {
        html! {
            form method="post" action=(format!("/jobs/{}/{what}", job.id)) { button type="submit" class=(what) { (label) } }
        }
    };
    html! { span.actions {
        @if matches!(job.state.as_str(), "waiting" | "running") { (action("cancel", "Cancel")) }
        @if matches!(job.state.as_str(), "failed" | "cancelled" | "skipped") { (action("retry", "Try again")) }
    } }
}
