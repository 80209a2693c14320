//! Jobs as people read them.

use serde_json::{Value, json};
use ursa_client::priority;
use ursa_proto::v1;

use super::super::tasks;
use super::found;
use crate::output::{Column, facts, table};
use crate::text;

const CHECKPOINTS: &[Column] = &[
    ("CHECKPOINT OF TASK", "task"),
    ("ATTEMPT", "attempt"),
    ("EPOCHS", "epochs"),
    ("BATCH", "step"),
    ("ERROR RATE", "error_rate"),
    ("SIZE", "bytes"),
];

/// A job in a list.
pub(in crate::commands) fn row(job: &v1::Job) -> Value {
    json!({
        "id": job.id,
        "name": job.name,
        "kind": job.kind,
        "state": state(job),
        "project": job.project,
        "priority": priority::in_words(job),
        "done": done(job),
        "rate": text::rate(job.rate, ""),
        "left": left(job),
        "tasks": tasks_in_short(job),
        "note": note(job),
    })
}

/// Its state, and whether the work was an earlier job's.
fn state(job: &v1::Job) -> String {
    if job.cached_from.is_empty() { job.state.clone() } else { format!("{} (cached)", job.state) }
}

fn done(job: &v1::Job) -> String {
    match &job.progress {
        Some(progress) if progress.total > 0 => format!("{}/{} {}", progress.done, progress.total, progress.unit),
        Some(progress) if progress.done > 0 => format!("{} {}", progress.done, progress.unit),
        _ => String::new(),
    }
}

fn left(job: &v1::Job) -> String {
    if job.eta_seconds > 0.0 { text::duration(job.eta_seconds) } else { String::new() }
}

/// `5/10`, and how many did not end well.
fn tasks_in_short(job: &v1::Job) -> String {
    let Some(tasks) = job.tasks.filter(|tasks| tasks.total > 0) else { return String::new() };
    let ill = [(tasks.dead, "dead"), (tasks.failed, "failed")];
    let ill = ill.iter().filter(|(number, _)| *number > 0).map(|(number, word)| format!(", {number} {word}"));
    format!("{}/{}{}", tasks.succeeded, tasks.total, ill.collect::<String>())
}

/// What is worth knowing beside the state: why it failed, why it waits, or whose work it took over.
fn note(job: &v1::Job) -> String {
    match (job.error.as_str(), job.waiting_reason.as_str(), job.cached_from.as_str()) {
        ("", "", "") => String::new(),
        ("", "", cached) => format!("from job {cached}"),
        ("", reason, _) => reason.to_owned(),
        (error, ..) => error.to_owned(),
    }
}

/// A job with everything under it, and `found` by it.
pub(super) fn detail(detail: &v1::JobDetail, found: &str) -> String {
    let job = detail.job.clone().unwrap_or_default();
    let mut parts = vec![facts(&job_facts(&job))];
    if !detail.tasks.is_empty() {
        parts.push(table(&detail.tasks.iter().map(tasks::row).collect::<Vec<_>>(), tasks::OF_A_JOB));
    }
    let attempts: Vec<_> = detail.tasks.iter().flat_map(tasks::attempts_worth_a_look).collect();
    if !attempts.is_empty() {
        parts.push(table(&attempts, tasks::ATTEMPTS));
    }
    let missing = job.tasks.map_or(0, |tasks| tasks.total).saturating_sub(detail.tasks.len() as u32);
    if missing > 0 {
        parts.push(format!("{missing} further tasks: ursa tasks --job {}", job.id));
    }
    if !detail.checkpoints.is_empty() {
        parts.push(checkpoints(detail));
    }
    if !found.is_empty() {
        parts.push(found.to_owned());
    }
    parts.join("\n\n")
}

/// What its runs can go on from.
fn checkpoints(detail: &v1::JobDetail) -> String {
    let row = |kept: &v1::KeptCheckpoint| {
        let task = detail.tasks.iter().find(|task| task.id == kept.task_id).map(|task| task.ordinal);
        json!({
            "task": task, "attempt": kept.attempt, "epochs": kept.epochs, "step": kept.step,
            "error_rate": kept.error_rate.map(text::percent), "bytes": text::bytes(kept.bytes),
        })
    };
    table(&detail.checkpoints.iter().map(row).collect::<Vec<_>>(), CHECKPOINTS)
}

fn job_facts(job: &v1::Job) -> Vec<(&'static str, String)> {
    let progress = job.progress.clone().unwrap_or_default();
    let again = text::time(job.looked_at_again_at.as_ref());
    let waits = match (job.waiting_reason.as_str(), again.as_str()) {
        ("", _) => String::new(),
        (reason, "") => reason.to_owned(),
        (reason, again) => format!("{reason} (looked at again by {again})"),
    };
    vec![
        ("Job", job.id.clone()),
        ("Name", job.name.clone()),
        ("Kind", job.kind.clone()),
        ("Pipeline", job.pipeline_id.clone()),
        ("Project", job.project.clone()),
        ("Priority", priority::in_words(job)),
        ("State", job.state.clone()),
        ("Error", job.error.clone()),
        ("Why waiting", waits),
        ("Cached from", if job.cached_from.is_empty() { String::new() } else { format!("job {}", job.cached_from) }),
        ("Progress", done(job)),
        ("Doing", progress.message),
        ("Rate", text::rate(job.rate, &progress.unit)),
        ("Time left", left(job)),
        ("Tasks", counts(job.tasks.unwrap_or_default())),
        ("Submitted", text::time(job.created_at.as_ref())),
        ("Started", text::time(job.started_at.as_ref())),
        ("Ended", text::time(job.finished_at.as_ref())),
        ("Output", output(job)),
    ]
}

/// What it left behind, where nothing else says it in better words.
fn output(job: &v1::Job) -> String {
    let is_said = job.output_json == "{}" || found::is_told(&job.kind);
    if is_said { String::new() } else { job.output_json.clone() }
}

/// How many tasks stand where; those that are none are left out.
fn counts(tasks: v1::TaskCounts) -> String {
    let parts = [
        (tasks.queued, "queued"),
        (tasks.running, "running"),
        (tasks.succeeded, "succeeded"),
        (tasks.dead, "dead"),
        (tasks.failed, "failed"),
        (tasks.cancelled, "cancelled"),
    ];
    let parts = parts.iter().filter(|(number, _)| *number > 0).map(|(number, word)| format!("{number} {word}"));
    parts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> v1::Job {
        v1::Job {
            id: "0193a1b2-c3d4-7e5f-8a6b-123456789abc".into(),
            name: "train".into(),
            kind: "train".into(),
            state: "running".into(),
            project: "zoo".into(),
            priority: 7,
            progress: Some(v1::Progress { done: 3, total: 12, unit: "epochs".into(), message: "batch 4".into() }),
            rate: 0.05,
            eta_seconds: 180.0,
            tasks: Some(v1::TaskCounts {
                total: 4,
                queued: 1,
                running: 1,
                succeeded: 1,
                dead: 1,
                ..Default::default()
            }),
            ..v1::Job::default()
        }
    }

    #[test]
    fn a_row_says_how_fast_it_is_and_what_did_not_end_well() {
        let row = row(&job());
        assert_eq!((&row["done"], &row["rate"]), (&json!("3/12 epochs"), &json!("3.0/min")));
        assert_eq!((&row["left"], &row["tasks"]), (&json!("3 min 0 s"), &json!("1/4, 1 dead")));
    }

    #[test]
    fn a_note_is_the_error_before_the_wait_before_the_cache() {
        let cached = v1::Job { cached_from: "an-earlier-one".into(), state: "succeeded".into(), ..job() };
        assert_eq!((note(&cached), state(&cached)), ("from job an-earlier-one".into(), "succeeded (cached)".into()));
        let waits = v1::Job { waiting_reason: "no worker has 2 GPUs free".into(), ..job() };
        assert_eq!(note(&waits), "no worker has 2 GPUs free");
        assert_eq!(note(&v1::Job { error: "out of memory".into(), ..waits }), "out of memory");
    }

    #[test]
    fn the_whole_of_a_job_says_why_it_waits_and_how_its_attempts_were_stopped() {
        let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        let attempt = v1::Attempt {
            number: 1,
            state: "cancelled".into(),
            worker_name: "forest-1".into(),
            error_class: v1::ErrorClass::Deadline.into(),
            error: "it ran for more than 2 h".into(),
            started_at: at(100),
            ended_at: at(110),
            gpus: vec![0, 2],
            stop: Some(v1::StopStages {
                reason: "deadline".into(),
                asked_at: at(105),
                acknowledged_at: at(106),
                forced_at: at(109),
            }),
            cleaned_at: at(111),
            ..v1::Attempt::default()
        };
        let task = v1::Task { state: "dead".into(), attempts: vec![attempt], ..v1::Task::default() };
        let job = v1::Job {
            waiting_reason: "no worker has 2 GPUs free".into(),
            looked_at_again_at: at(1_800_000_000),
            effective_priority: 9,
            priority_of: "serve".into(),
            ..job()
        };
        let kept =
            v1::KeptCheckpoint { epochs: 3, step: 120, error_rate: Some(0.021), ..v1::KeptCheckpoint::default() };
        let whole =
            v1::JobDetail { job: Some(job), tasks: vec![task], checkpoints: vec![kept], ..v1::JobDetail::default() };
        let text = detail(&whole, "");
        for said in [
            "Why waiting  no worker has 2 GPUs free (looked at again by 2027-01-15 08:00:00Z)",
            "Priority     7 (9 while serve waits for it)",
            "Tasks        1 queued, 1 running, 1 succeeded, 1 dead",
            "deadline: asked, acknowledged after 1.0 s, forced after 4.0 s, cleaned after 6.0 s",
            "it ran for more than 2 h",
            "3 further tasks: ursa tasks --job 0193a1b2",
            "CHECKPOINT OF TASK",
            "2.1 %",
        ] {
            assert!(text.contains(said), "{said:?} is missing:\n{text}");
        }
        assert!(!text.contains("Cached") && !text.contains("Error  "), "{text}");
    }
}
