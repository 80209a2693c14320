//! The tasks of a job and every attempt at them; what needs a look comes first.

use maud::{Markup, html};
use ursa_proto::v1;

use crate::view::parts;

const PAGE_SIZE: usize = 50;

/// The section: tasks from the one at `from` on, in the order of the table.
pub(super) fn content(job: &v1::Job, tasks: &[v1::Task], from: usize) -> Markup {
    let mut ordered: Vec<_> = tasks.iter().collect();
    ordered.sort_by_key(|task| (urgency(task), task.ordinal));
    let until = from.saturating_add(PAGE_SIZE).min(ordered.len());
    let shown = ordered.get(from..until).unwrap_or_default();
    html! {
        h2 { "Tasks" @if !tasks.is_empty() { " " span.quiet { (tasks.len()) } } }
        @if tasks.is_empty() { p.quiet { (no_tasks(job)) } } @else { (table(shown)) }
        @if until < ordered.len() {
            p.more { a.button href=(format!("/jobs/{}?from={until}", job.id)) { (ordered.len() - until) " further ones" } }
        }
    }
}

fn no_tasks(job: &v1::Job) -> &'static str {
    match job.state.as_str() {
        "waiting" => "The job is planned into tasks when what it waits for has succeeded.",
        _ => "The job ended without any.",
    }
}

fn urgency(task: &v1::Task) -> u8 {
    match task.state.as_str() {
        "failed" => 0,
        "leased" => 1,
        "ready" if !task.attempts.is_empty() => 2,
        "ready" => 3,
        _ => 4,
    }
}

fn table(tasks: &[&v1::Task]) -> Markup {
    html! { div.scroll { table.list.tasks {
        thead { tr { th.number { "Task" } th { "State" } th { "Progress" } th { "Attempts" } } }
        tbody { @for task in tasks { tr {
            td.number { (task.ordinal) }
            td { (parts::chip(&task.state)) @if waits(task) { p.quiet { "after a wait" } } }
            td { (parts::progress(task.progress.as_ref())) }
            td { @if task.attempts.is_empty() { span.none { "none yet" } } @else { (attempts(&task.attempts)) } }
        } } }
    } } }
}

fn waits(task: &v1::Task) -> bool {
    task.state == "ready" && !task.attempts.is_empty()
}

fn attempts(attempts: &[v1::Attempt]) -> Markup {
    html! { ol.attempts { @for attempt in attempts { li {
        span.number { (attempt.number) } " " (parts::chip(&attempt.state))
        " by " (attempt.worker_name) ", " (parts::took(attempt.started_at.as_ref(), attempt.ended_at.as_ref()))
        @if !attempt.error.is_empty() {
            p.error { @if let Some(class) = class(attempt) { b { (class) } ": " } (attempt.error) }
        }
    } } } }
}

fn class(attempt: &v1::Attempt) -> Option<&'static str> {
    match attempt.error_class() {
        v1::ErrorClass::Unspecified => None,
        v1::ErrorClass::Retryable => Some("may be tried again"),
        v1::ErrorClass::Fatal => Some("will not work"),
        v1::ErrorClass::Infrastructure => Some("machine or service lost"),
        v1::ErrorClass::Cancelled => Some("cancelled"),
    }
}
