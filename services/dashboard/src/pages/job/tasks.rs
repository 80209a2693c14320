//! The tasks of a job and every attempt at them, by place or by state; those that are dead can be given another round.

use maud::{Markup, html};
use prost_types::Timestamp;
use ursa_proto::v1;

use super::super::{Paging, parse_id};
use crate::app::{App, ask};
use crate::error::PageError;
use crate::view::{parts, text};

const PAGE_SIZE: u32 = 50;
/// What one request to replay takes.
const REPLAYED_AT_ONCE: u32 = 1000;
const STATES: [&str; 9] =
    ["dead", "failed", "running", "leased", "ready", "retry_wait", "waiting", "succeeded", "cancelled"];

/// The section: one page of the tasks in `state`, or of all.
pub(super) async fn content(app: &App, job: &v1::Job, state: &str, paging: &Paging) -> Result<Markup, PageError> {
    let request = v1::ListTasksRequest {
        page: Some(paging.request(PAGE_SIZE)),
        job_id: job.id.clone(),
        state: state.to_owned(),
        project: String::new(),
    };
    let answer = ask(app.client.jobs().list_tasks(request)).await?;
    let counts = job.tasks.unwrap_or_default();
    let path = format!("/jobs/{}", job.id);
    Ok(html! {
        h2 { "Tasks" @if counts.total > 0 { " " span.quiet { (text::count(counts.total.into())) } } }
        @if counts.dead > 0 { (dead(job, counts.dead)) }
        @if counts.total > PAGE_SIZE || counts.dead > 0 || !state.is_empty() {
            (parts::filter(&path, "state", &STATES, state, &[]))
        }
        @if !answer.tasks.is_empty() { (table(job, &answer.tasks)) }
        @else if state.is_empty() { p.quiet { (no_tasks(job)) } }
        @else { p.quiet { "No task is " (state) "." } }
        (parts::more(&path, &[("state", state)], &answer.next_page_token))
    })
}

fn no_tasks(job: &v1::Job) -> &'static str {
    match job.state.as_str() {
        "waiting" => "The job is planned into tasks when what it waits for has ended.",
        _ if !job.cached_from.is_empty() => "None: an earlier job had done the work.",
        _ => "The job ended without any.",
    }
}

/// What is out of attempts, and the way back.
fn dead(job: &v1::Job, number: u32) -> Markup {
    html! { div.card.dead {
        p { b { (text::count(number.into())) (if number == 1 { " task is dead" } else { " tasks are dead" }) }
            ": out of attempts. Mend the cause, then give them another round. "
            a href=(parts::link(&format!("/jobs/{}", job.id), [("state", "dead")])) { "See them" } }
        form.actions method="post" action=(format!("/jobs/{}/replay", job.id)) {
            button.retry type="submit" name="all" value="1" { "Replay all dead tasks" }
        }
    } }
}

fn table(job: &v1::Job, tasks: &[v1::Task]) -> Markup {
    html! { div.scroll { table.list.tasks {
        thead { tr { th.number { "Task" } th { "State" } th { "Progress" } th { "Attempts" } th {} } }
        tbody { @for task in tasks { tr {
            td.number { (task.ordinal) }
            td { (parts::chip(&task.state)) @if task.state == "retry_wait" { p.quiet { "again " (parts::due(task.ready_at.as_ref())) } } }
            td { (parts::progress(task.progress.as_ref())) }
            td { @if task.attempts.is_empty() { span.none { "none yet" } } @else { (attempts(&task.attempts)) } }
            td.act { @if matches!(task.state.as_str(), "dead" | "failed") { (replay_button(job, task)) } }
        } } }
    } } }
}

fn replay_button(job: &v1::Job, task: &v1::Task) -> Markup {
    html! { form method="post" action=(format!("/jobs/{}/replay", job.id)) {
        button type="submit" name="task" value=(task.id) aria-label=(format!("Replay task {}", task.ordinal)) { "Replay" }
    } }
}

fn attempts(attempts: &[v1::Attempt]) -> Markup {
    html! { ol.attempts { @for attempt in attempts { li {
        span.number { (attempt.number) } " " (parts::chip(&attempt.state))
        " by " (attempt.worker_name) (gpus(&attempt.gpus)) ", " (parts::took(attempt.started_at.as_ref(), attempt.ended_at.as_ref()))
        @if let Some(stop) = &attempt.stop { p.quiet { (stages(stop, attempt.cleaned_at.as_ref())) } }
        @if !attempt.error.is_empty() {
            p.error { @if let Some(class) = class(attempt) { b { (class) } ": " } (attempt.error) }
        }
    } } } }
}

fn gpus(gpus: &[u32]) -> Markup {
    let list = gpus.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    html! { @if !gpus.is_empty() { " on GPU " (list) } }
}

/// How the order to stop an attempt went.
fn stages(stop: &v1::StopStages, cleaned_at: Option<&Timestamp>) -> Markup {
    let after = |at: Option<&Timestamp>| {
        let (asked, at) = (text::instant(stop.asked_at.as_ref())?, text::instant(at)?);
        Some(text::duration(asked, at))
    };
    html! {
        "asked to stop (" (stop.reason) ") " (parts::when(stop.asked_at.as_ref()))
        @if let Some(after) = after(stop.acknowledged_at.as_ref()) { ", acknowledged after " (after) }
        @if let Some(after) = after(stop.forced_at.as_ref()) { ", forced after " (after) }
        @if let Some(after) = after(cleaned_at) { ", cleaned after " (after) }
    }
}

fn class(attempt: &v1::Attempt) -> Option<&'static str> {
    match attempt.error_class() {
        v1::ErrorClass::Unspecified => None,
        v1::ErrorClass::Retryable => Some("may be tried again"),
        v1::ErrorClass::Fatal => Some("will not work"),
        v1::ErrorClass::Infrastructure => Some("machine or service lost"),
        v1::ErrorClass::Cancelled => Some("cancelled"),
        v1::ErrorClass::Fenced => Some("came back after its lease was lost"),
        v1::ErrorClass::Deadline => Some("took too long"),
        v1::ErrorClass::Returned => Some("given back untouched"),
    }
}

/// Gives what a form names another round: one task, or all that are dead.
pub(super) async fn replay(app: &App, job: &str, form: &[u8]) -> Result<(), PageError> {
    for (name, value) in url::form_urlencoded::parse(form) {
        match name.as_ref() {
            "all" => return replay_dead(app, job).await,
            "task" => return retry(app, vec![parse_id("task", &value)?]).await,
            _ => {}
        }
    }
    Err(PageError::Invalid("no task was chosen".into()))
}

async fn replay_dead(app: &App, job: &str) -> Result<(), PageError> {
    let mut token = String::new();
    loop {
        let request = v1::ListTasksRequest {
            page: Some(v1::PageRequest { size: REPLAYED_AT_ONCE, token }),
            job_id: job.to_owned(),
            state: "dead".into(),
            project: String::new(),
        };
        let answer = ask(app.client.jobs().list_tasks(request)).await?;
        if !answer.tasks.is_empty() {
            retry(app, answer.tasks.into_iter().map(|task| task.id).collect()).await?;
        }
        if answer.next_page_token.is_empty() {
            return Ok(());
        }
        token = answer.next_page_token;
    }
}

async fn retry(app: &App, ids: Vec<String>) -> Result<(), PageError> {
    ask(app.client.jobs().retry_tasks(v1::RetryTasksRequest { ids })).await?;
    Ok(())
}
