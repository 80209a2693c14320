//! The log of a job: its last lines with the page, what comes after as it is written.

use std::collections::VecDeque;

use maud::{Markup, html};
use ursa_proto::v1;

use super::{is_active, url};
use crate::app::{App, ask};
use crate::error::PageError;
use crate::view::text;

/// Lines on the page.
const SHOWN: usize = 300;
/// Lines per request: with the longest lines the answer stays under the limit of a message.
const BATCH: u32 = 2000;
/// A log can be longer than anybody waits for: after this many batches the page shows where it got to.
const MAX_BATCHES: usize = 50;

/// The last lines, in a box that the script appends to while the job is active.
pub(super) async fn tail(app: &App, job: &v1::Job) -> Result<Markup, PageError> {
    let lines = last_lines(app, job).await?;
    let after = lines.back().map_or(0, |line| line.id);
    let poll = is_active(job).then(|| url(job, "logs"));
    Ok(html! {
        h2 { "Log" }
        ol.log data-tail=(url(job, "logs")) data-after=(after) data-active[poll.is_some()] data-subject=(job.id) tabindex="0" aria-label="Log" {
            @for line in &lines { (row(line)) }
        }
        p.quiet.log-empty { "Nothing has been logged." }
    })
}

/// Lines with an id larger than `after`, for appending.
pub(super) async fn lines_after(app: &App, job_id: String, after: i64) -> Result<Markup, PageError> {
    let request = v1::ListLogsRequest { job_id, after_id: after, limit: BATCH };
    let lines = ask(app.client.jobs().list_logs(request)).await?.lines;
    Ok(html! { @for line in &lines { (row(line)) } })
}

async fn last_lines(app: &App, job: &v1::Job) -> Result<VecDeque<v1::LogLine>, PageError> {
    let mut last = VecDeque::with_capacity(SHOWN);
    for _ in 0..MAX_BATCHES {
        let after_id = last.back().map_or(0, |line: &v1::LogLine| line.id);
        let request = v1::ListLogsRequest { job_id: job.id.clone(), after_id, limit: BATCH };
        let lines = ask(app.client.jobs().list_logs(request)).await?.lines;
        let complete = lines.len() < BATCH as usize;
        last.extend(lines);
        last.drain(..last.len().saturating_sub(SHOWN));
        if complete {
            break;
        }
    }
    Ok(last)
}

fn row(line: &v1::LogLine) -> Markup {
    let level = match line.level.as_str() {
        "error" => "bad",
        "warn" => "warn",
        _ => "calm",
    };
    html! {
        li class=(level) data-id=(line.id) {
            @if let Some(at) = text::instant(line.at.as_ref()) {
                time datetime=(at.to_rfc3339()) title=(at.to_rfc3339()) { (at.format("%H:%M:%S")) } " "
            }
            span.level { (line.level) } " " (line.message)
        }
    }
}
