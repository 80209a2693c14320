//! Where a job stands, what it left behind, and what can be done about it.

use maud::{Markup, html};
use ursa_client::priority;
use ursa_proto::v1;

use super::result;
use crate::view::{parts, text};

/// The section; `classes` are those of the model it trained.
pub(super) fn content(detail: &v1::JobDetail, job: &v1::Job, classes: &[String]) -> Markup {
    html! {
        p.eyebrow { "Job " (parts::id(&job.id)) " of pipeline "
            a href=(format!("/pipelines/{}", job.pipeline_id)) { (text::short_id(&job.pipeline_id)) } }
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
            (waits(job))
            @if !job.cached_from.is_empty() { p.message { "Nothing had to be done: its result was taken over from job "
                a.mono href=(format!("/jobs/{}", job.cached_from)) title=(job.cached_from) { (text::short_id(&job.cached_from)) } "." } }
            @if let Some(tasks) = job.tasks.filter(|tasks| tasks.total > 0) { p { (parts::task_counts(tasks)) } }
            dl.facts.row {
                @if job.rate > 0.0 || job.eta_seconds > 0.0 { (parts::fact("pace", parts::pace(job))) }
                @if !job.project.is_empty() { (parts::fact("project", &job.project)) (parts::fact("priority", priority::in_words(job))) }
                (parts::fact("submitted", parts::when(job.created_at.as_ref())))
                (parts::fact("started", parts::when(job.started_at.as_ref())))
                (parts::fact("ended", parts::when(job.finished_at.as_ref())))
                (parts::fact("took", parts::took(job.started_at.as_ref(), job.finished_at.as_ref())))
            }
        }
        (result::content(detail, job, classes))
    }
}

/// Why no task of it is at work, or not all that are left.
fn waits(job: &v1::Job) -> Markup {
    if job.waiting_reason.is_empty() {
        return html! {};
    }
    let is_at_work = job.tasks.is_some_and(|tasks| tasks.running > 0);
    let question = if is_at_work { "Why the rest of it waits: " } else { "Why it does not run: " };
    html! { p.waits { b { (question) } (job.waiting_reason)
    @if job.looked_at_again_at.is_some() { " " span.quiet { "Looked at again " (parts::due(job.looked_at_again_at.as_ref())) "." } } } }
}

fn actions(job: &v1::Job) -> Markup {
    let action = |what: &str, label: &str| parts::action(&format!("/jobs/{}/{what}", job.id), label, what);
    html! { span.actions {
        @if matches!(job.state.as_str(), "waiting" | "running") { (action("cancel", "Cancel")) }
        @if matches!(job.state.as_str(), "failed" | "cancelled" | "skipped") { (action("retry", "Try again")) }
    } }
}
