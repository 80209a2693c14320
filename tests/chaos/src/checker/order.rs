//! What happened in which order: jobs, tasks, attempts, events.

use std::collections::HashSet;

use super::index::Index;
use crate::history::{Attempt, Event, Job, Task};

/// Of a job that does what it shall, in order.
const LIFE_OF_A_JOB: &[&str] = &["job.waiting", "job.running", "job.succeeded"];
/// Of one that is cancelled while it runs.
const CUT_SHORT: &[&str] = &["job.waiting", "job.running", CANCELLING, "job.cancelled"];
/// Of one that leaves the work to an earlier one.
const TAKEN_OVER: &[&str] = &["job.waiting", "job.succeeded"];
const CANCELLING: &str = "job.cancelling";
const LEASED: &str = "task.leased";

fn ends_task(event: &Event) -> bool {
    matches!(event.kind.as_str(), "task.succeeded" | "task.failed" | "task.dead" | "task.cancelled")
}

fn ends_attempt(event: &Event) -> bool {
    ends_task(event) || matches!(event.kind.as_str(), "task.retry" | "task.returned")
}

pub(super) fn job_order(index: &Index<'_>) -> Vec<String> {
    let mut broken = Vec::new();
    for job in &index.history.jobs {
        let events = index.events_of_job(job.id);
        let of_job = |event: &&&Event| event.kind.starts_with("job.");
        let life: Vec<&str> = events.iter().filter(of_job).map(|event| event.kind.as_str()).collect();
        let wanted = life_of(index, job);
        if life != wanted {
            broken.push(format!("{} ({}) went through {life:?}", job.name, job.id));
            continue;
        }
        let at = |kind: &str| events.iter().position(|event| event.kind == kind);
        let (begin, end) = (at(wanted[1]).unwrap_or_default(), at(wanted[wanted.len() - 1]).unwrap_or_default());
        let outside = events.iter().enumerate().find(|(at, event)| event.task.is_some() && (*at < begin || *at > end));
        if let Some((_, event)) = outside {
            broken.push(format!("{} ({}): {} (event {}) while it did not run", job.name, job.id, event.kind, event.id));
        }
        let stopped = at(CANCELLING).unwrap_or(events.len());
        if let Some(event) = events[stopped..].iter().find(|event| event.kind == LEASED) {
            broken.push(format!("{} ({}): a task began (event {}) after it was cancelled", job.name, job.id, event.id));
        }
    }
    broken
}

/// What a job has to go through.
fn life_of(index: &Index<'_>, job: &Job) -> &'static [&'static str] {
    if index.was_cancelled(job.id) {
        CUT_SHORT
    } else if job.cached_from.is_some() {
        TAKEN_OVER
    } else {
        LIFE_OF_A_JOB
    }
}

pub(super) fn task_ends_once(index: &Index<'_>) -> Vec<String> {
    let mut broken = Vec::new();
    for task in &index.history.tasks {
        let events = index.events_of_task(task.id);
        let ends: Vec<&str> = events.iter().filter(|event| ends_task(event)).map(|event| event.kind.as_str()).collect();
        let name = || index.name(task.id);
        let (state, wanted) = end_of(index, task);
        if task.state != state {
            broken.push(format!("{} is {}", name(), task.state));
        }
        if ends != wanted {
            broken.push(format!("{} ended {} times: {ends:?}", name(), ends.len()));
        } else if let Some(last) = events.last().filter(|event| !ends.is_empty() && !ends_task(event)) {
            broken.push(format!("{}: {} (event {}) after its end", name(), last.kind, last.id));
        }
    }
    broken
}

/// The state a task has to end in, and the events that have to tell of it: none of one that nobody was at when its job was
/// cancelled.
fn end_of(index: &Index<'_>, task: &Task) -> (&'static str, &'static [&'static str]) {
    const WELL: &[&str] = &["task.succeeded"];
    const STOPPED: &[&str] = &["task.cancelled"];
    const UNTOLD: &[&str] = &[];
    if !index.was_cancelled(task.job) || task.state == "succeeded" {
        return ("succeeded", WELL);
    }
    let last = index.attempts_of(task.id).last();
    let was_stopped = last.is_some_and(|attempt| attempt.error_class.as_deref() == Some("cancelled"));
    ("cancelled", if was_stopped { STOPPED } else { UNTOLD })
}

pub(super) fn attempts_whole(index: &Index<'_>) -> Vec<String> {
    let mut broken = Vec::new();
    let mut tokens = HashSet::new();
    for task in &index.history.tasks {
        let attempts = index.attempts_of(task.id);
        let numbers: Vec<i32> = attempts.iter().map(|attempt| attempt.number).collect();
        if numbers != (1..=task.attempt).collect::<Vec<_>>() {
            broken.push(format!("{} counts {} attempts and has {numbers:?}", index.name(task.id), task.attempt));
        }
        for attempt in attempts {
            let what = || format!("attempt {} of {}", attempt.number, index.name(task.id));
            let is_open = matches!(attempt.state.as_str(), "leased" | "running");
            if is_open || attempt.ended_at.is_none() {
                broken.push(format!("{} is {} and has not ended", what(), attempt.state));
            }
            if !tokens.insert(attempt.token) {
                broken.push(format!("{} has the lease of another attempt", what()));
            }
        }
    }
    broken
}

pub(super) fn one_success(index: &Index<'_>) -> Vec<String> {
    let mut broken = Vec::new();
    for task in &index.history.tasks {
        let attempts = index.attempts_of(task.id);
        let well = attempts.iter().filter(|attempt| attempt.state == "succeeded");
        let winners: Vec<i32> = well.map(|attempt| attempt.number).collect();
        let may_have_none = index.was_cancelled(task.job) && task.state != "succeeded";
        let wanted = if may_have_none { Vec::new() } else { vec![task.attempt] };
        if winners != wanted {
            let name = index.name(task.id);
            broken.push(format!("{name}: of {} attempts {winners:?} succeeded", attempts.len()));
        }
    }
    broken
}

pub(super) fn room_is_free(index: &Index<'_>) -> Vec<String> {
    let mut broken = Vec::new();
    for task in &index.history.tasks {
        let attempts = index.attempts_of(task.id);
        let is_returned = |attempt: &&&Attempt| attempt.error_class.as_deref() == Some("returned");
        let ended_badly = attempts.iter().filter(|attempt| attempt.state != "succeeded");
        let made_room = ended_badly.filter(|attempt| attempt.stop_reason.as_deref() == Some("preempted"));
        for attempt in made_room.filter(|attempt| !is_returned(attempt)) {
            let (number, class) = (attempt.number, &attempt.error_class);
            broken.push(format!("{}: attempt {number} was to make room, and is {class:?}", index.name(task.id)));
        }
        let returned = attempts.iter().filter(is_returned).count() as i64;
        let wanted = index.jobs.get(&task.job).map(|job| job.max_attempts + returned);
        if wanted != Some(i64::from(task.max_attempts)) {
            let (name, may) = (index.name(task.id), task.max_attempts);
            broken.push(format!("{name}: {returned} attempts were given back; it may have {may}, not {wanted:?}"));
        }
    }
    broken
}

pub(super) fn no_overlap(index: &Index<'_>) -> Vec<String> {
    let mut broken = Vec::new();
    for task in &index.history.tasks {
        let mut open = None;
        let mut next = 1;
        for event in index.events_of_task(task.id) {
            let fits = match event.attempt {
                number if event.kind == LEASED => {
                    let fits = open.is_none() && number == Some(next);
                    (open, next) = (number, next + 1);
                    fits
                }
                number if ends_attempt(event) => open.take() == number && number.is_some(),
                number => open == number && number.is_some(),
            };
            if !fits {
                let (name, number) = (index.name(task.id), event.attempt.unwrap_or_default());
                let kind = &event.kind;
                broken.push(format!("{name}: {kind} of attempt {number} (event {}) out of its turn", event.id));
            }
        }
        if next <= task.attempt {
            broken.push(format!("{}: attempt {next} was never leased", index.name(task.id)));
        }
    }
    broken
}

pub(super) fn drained_rests(index: &Index<'_>) -> Vec<String> {
    let mut broken = Vec::new();
    for drained in &index.history.drained {
        // A lease has the time at which the transaction began that gives it, and who was drained by then gets none.
        let is_in_between = |attempt: &&Attempt| drained.from < attempt.leased_at && attempt.leased_at < drained.to;
        let given = index.history.attempts.iter().filter(|attempt| attempt.worker == drained.worker);
        for Attempt { task, number, worker, .. } in given.filter(is_in_between) {
            broken.push(format!("attempt {number} of {} was given to {worker}, which is drained", index.name(*task)));
        }
    }
    broken
}

pub(super) fn watched_all(index: &Index<'_>) -> Vec<String> {
    let mut broken = Vec::new();
    for (pipeline, seen) in &index.history.watched {
        let there = index.events_of_pipeline(*pipeline).iter().map(|event| event.id);
        broken.extend(difference(&format!("pipeline {pipeline}"), seen, there));
    }
    let there = index.history.events.iter().map(|event| event.id);
    broken.extend(difference("everything", &index.history.watched_everything, there));
    broken
}

/// Where what was `seen` of something is not what is `there`, how it differs.
fn difference(what: &str, seen: &[i64], there: impl Iterator<Item = i64>) -> Option<String> {
    let mut there: Vec<i64> = there.collect();
    there.dedup();
    if seen == there {
        return None;
    }
    let at = seen.iter().zip(&there).position(|(seen, there)| seen != there);
    let at = at.unwrap_or(seen.len().min(there.len()));
    Some(format!(
        "of {what} {} events were seen, {} are there; they differ from the {at}th on: seen {:?}, there {:?}",
        seen.len(),
        there.len(),
        seen.get(at),
        there.get(at),
    ))
}
