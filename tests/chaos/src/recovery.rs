//! How long it took after a fault until things went on.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use crate::fault::Fault;
use crate::history::{Attempt, History};

/// Longer than that nothing may stand still.
pub const LIMIT: Duration = Duration::from_secs(15);

/// A fault that was done.
#[derive(Debug, Clone)]
pub struct Struck {
    /// Which.
    pub fault: Fault,
    /// When it began, by this machine's clock, which is Postgres's, too.
    pub begun_at: DateTime<Utc>,
    /// When it was over.
    pub ended_at: DateTime<Utc>,
    /// The worker it hit, if it was one.
    pub worker: Option<Uuid>,
    /// What proves that it was done.
    pub proof: String,
}

/// What came after a fault. Of what is killed, time counts from the kill; of the rest, from when it was over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Recovery {
    /// Attempts that a worker held when it was hit, if it was to lose them.
    pub held: usize,
    /// Until the last of those that did not end well was somebody else's to do, in milliseconds.
    pub taken_back_ms: Option<u64>,
    /// Until a task ended well, whoever did it, in milliseconds; `None` when none did any more.
    pub next_success_ms: Option<u64>,
}

/// What came after a fault, and why that was too slow, if it was.
pub fn recovery(history: &History, struck: &Struck) -> (Recovery, Option<String>) {
    let since = if struck.fault.kind.kills() { struck.begun_at } else { struck.ended_at };
    let held: Vec<&Attempt> = history.attempts.iter().filter(|attempt| is_held(attempt, struck)).collect();
    let lost = held.iter().filter(|attempt| attempt.state != "succeeded");
    let taken_back = lost.map(|attempt| attempt.ended_at.map_or(Duration::MAX, |end| after(since, end))).max();
    let well = history.attempts.iter().filter(|attempt| attempt.state == "succeeded");
    let next = well.filter_map(|attempt| attempt.ended_at).filter(|end| *end > since).min();
    let next_success = next.map(|end| after(since, end));
    let millis = |time: Duration| time.as_millis() as u64;
    let recovery =
        Recovery { held: held.len(), taken_back_ms: taken_back.map(millis), next_success_ms: next_success.map(millis) };
    (recovery, too_slow(struck, taken_back, next_success))
}

fn too_slow(struck: &Struck, taken_back: Option<Duration>, next_success: Option<Duration>) -> Option<String> {
    let fault = &struck.fault;
    if let Some(time) = taken_back.filter(|time| *time > LIMIT) {
        return Some(format!("{fault}: what the worker held was taken back after {time:.1?}"));
    }
    match next_success {
        None => Some(format!("{fault}: no task ended well afterwards")),
        Some(time) if time > LIMIT => Some(format!("{fault}: the next task ended well after {time:.1?}")),
        Some(_) => None,
    }
}

fn is_held(attempt: &Attempt, struck: &Struck) -> bool {
    struck.fault.kind.loses_leases()
        && Some(attempt.worker) == struck.worker
        && attempt.leased_at <= struck.begun_at
        && attempt.ended_at.is_none_or(|end| end > struck.begun_at)
}

fn after(since: DateTime<Utc>, at: DateTime<Utc>) -> Duration {
    (at - since).to_std().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::fault::{Kind, Target};

    const WORKER: Uuid = Uuid::from_u128(7);

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    fn attempt(worker: Uuid, state: &str, from: i64, to: Option<i64>) -> Attempt {
        Attempt {
            task: Uuid::new_v4(),
            number: 1,
            worker,
            token: Uuid::new_v4(),
            state: state.to_owned(),
            leased_at: at(from),
            ended_at: to.map(at),
            error_class: None,
            error: String::new(),
            stop_reason: None,
        }
    }

    fn struck(kind: Kind) -> Struck {
        let fault = Fault { kind, target: Target::Worker(0), lasts: Duration::from_secs(5), jump_seconds: 0 };
        Struck { fault, begun_at: at(100), ended_at: at(105), worker: Some(WORKER), proof: String::new() }
    }

    fn history(attempts: Vec<Attempt>) -> History {
        History { attempts, ..History::default() }
    }

    #[test]
    fn time_counts_from_a_kill_and_from_the_end_of_anything_else() {
        let history = history(vec![
            attempt(WORKER, "lost", 90, Some(104)),
            attempt(WORKER, "succeeded", 80, Some(90)),
            attempt(Uuid::from_u128(8), "succeeded", 99, Some(103)),
            attempt(Uuid::from_u128(8), "succeeded", 99, Some(106)),
        ]);
        let (killed, slow) = recovery(&history, &struck(Kind::KillWorker));
        assert_eq!(killed, Recovery { held: 1, taken_back_ms: Some(4000), next_success_ms: Some(3000) });
        assert_eq!(slow, None);
        let (frozen, _) = recovery(&history, &struck(Kind::FreezeWorker));
        assert_eq!((frozen.taken_back_ms, frozen.next_success_ms), (Some(0), Some(1000)));
    }

    #[test]
    fn what_is_not_taken_back_in_time_or_ever_is_too_slow() {
        for end in [Some(120), None] {
            let well = attempt(Uuid::from_u128(8), "succeeded", 99, Some(106));
            let history = history(vec![attempt(WORKER, "lost", 90, end), well]);
            let (_, slow) = recovery(&history, &struck(Kind::KillWorker));
            assert!(slow.unwrap().contains("taken back"), "{end:?}");
        }
    }

    #[test]
    fn a_system_in_which_nothing_ends_well_any_more_is_too_slow() {
        for (end, reason) in [(90, "no task"), (130, "the next task")] {
            let history = history(vec![attempt(Uuid::from_u128(8), "succeeded", 80, Some(end))]);
            let (_, slow) = recovery(&history, &struck(Kind::CrashPostgres));
            assert!(slow.unwrap().contains(reason));
        }
    }
}
