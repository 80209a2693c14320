//! How a job is worked on, whatever its kind: attempts, waits, deadlines, urgency, and what it needs of a worker.

use serde::{Deserialize, Serialize};
use std::time::Duration;

use crate::lifecycle::job::Condition;
use crate::retry::Backoff;
use crate::scheduling::Resources;
use crate::setting;

/// The most attempts a task may have.
pub const MAX_ATTEMPTS: u32 = 20;
/// The highest priority; 0 is the lowest.
pub const MAX_PRIORITY: i32 = 9;
/// Of a job that does not say.
pub const DEFAULT_PRIORITY: i32 = 4;
/// The most workers one job may ask for at once.
pub const MAX_GANG: u32 = 64;
const MAX_DEADLINE: Duration = Duration::from_hours(24 * 365);

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobPolicy {
    /// Attempts per task.
    pub max_attempts: u32,
    /// Waits between attempts.
    pub backoff: Backoff,
    /// The share of the tasks, in (0, 1], that has to succeed for the job to.
    pub min_success_ratio: f64,
    /// Tasks at a time; `None` is as many as there is room for.
    pub parallelism: Option<u32>,
    /// What may take how long.
    pub deadlines: Deadlines,
    /// 0 to [`MAX_PRIORITY`]; higher goes first.
    pub priority: i32,
    /// Whether a more urgent job may take its place; it goes on from its checkpoint then.
    pub preemptible: bool,
    /// Whether it does its work in any case, also where its pipeline takes over what an earlier job made of the same.
    pub fresh: bool,
    /// What each task needs of a worker.
    pub resources: Resources,
    /// Workers at once: a job that asks for several gets them together or waits.
    pub workers: u32,
    /// When it runs, given how the jobs it depends on ended.
    pub condition: Condition,
}

impl Default for JobPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 3,
            backoff: Backoff::default(),
            min_success_ratio: 1.0,
            parallelism: None,
            deadlines: Deadlines::default(),
            priority: DEFAULT_PRIORITY,
            preemptible: false,
            fresh: false,
            resources: Resources::default(),
            workers: 1,
            condition: Condition::default(),
        }
    }
}

/// What may take how long; `None` is for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Deadlines {
    /// A task that is ready until a worker takes it for the first time. Then the task has failed. What was begun waits on.
    pub queue_wait: Option<Duration>,
    /// One attempt. Then it is stopped, and another one made if any is left.
    pub run: Option<Duration>,
    /// An attempt without progress. Then it is stopped, and another one made if any is left.
    pub no_progress: Option<Duration>,
    /// The job from its submission to its end. Then it is stopped and has failed.
    pub total: Option<Duration>,
}

impl JobPolicy {
    /// What is wrong with it, and what to do.
    ///
    /// # Errors
    /// The first member that cannot be.
    pub fn check(&self) -> Result<(), String> {
        within("max_attempts", self.max_attempts, 1, MAX_ATTEMPTS)?;
        within("priority", self.priority, 0, MAX_PRIORITY)?;
        within("workers", self.workers, 1, MAX_GANG)?;
        if let Some(parallelism) = self.parallelism {
            within("parallelism", parallelism, 1, 1_000_000)?;
        }
        if !(self.min_success_ratio > 0.0 && self.min_success_ratio <= 1.0) {
            return Err(format!(
                "min_success_ratio is {}; it must be above 0 and at most 1, for instance 0.95",
                self.min_success_ratio
            ));
        }
        if self.workers > 1 && self.parallelism.is_some_and(|parallelism| parallelism < self.workers) {
            return Err(
                "parallelism is less than workers: a job that asks for several workers needs them at once".into()
            );
        }
        self.backoff.check()?;
        self.deadlines.check()?;
        self.resources.check()
    }
}

impl Deadlines {
    /// Each by its name.
    pub fn by_name(&self) -> [(&'static str, Option<Duration>); 4] {
        [("queue_wait", self.queue_wait), ("run", self.run), ("no_progress", self.no_progress), ("total", self.total)]
    }

    fn check(&self) -> Result<(), String> {
        for (name, deadline) in self.by_name() {
            let Some(deadline) = deadline else { continue };
            if deadline < Duration::from_millis(1) || deadline > MAX_DEADLINE {
                return Err(format!("deadlines.{name} must be between a millisecond and a year"));
            }
        }
        Ok(())
    }
}

pub(crate) fn within<T: PartialOrd + std::fmt::Display>(what: &str, value: T, low: T, high: T) -> Result<(), String> {
    setting::within(what, value, low..=high).map_err(|invalid| invalid.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_sound_and_survives_being_stored() {
        let policy = JobPolicy::default();
        assert_eq!(policy.check(), Ok(()));
        let stored = serde_json::to_string(&policy).unwrap();
        assert_eq!(serde_json::from_str::<JobPolicy>(&stored).unwrap(), policy);
        assert_eq!(serde_json::from_str::<JobPolicy>("{}").unwrap(), policy, "an older version's row reads back");
    }

    #[test]
    fn what_cannot_be_is_named() {
        let cases = [
            (JobPolicy { max_attempts: 0, ..JobPolicy::default() }, "max_attempts"),
            (JobPolicy { priority: 10, ..JobPolicy::default() }, "priority"),
            (JobPolicy { min_success_ratio: 0.0, ..JobPolicy::default() }, "min_success_ratio"),
            (JobPolicy { min_success_ratio: f64::NAN, ..JobPolicy::default() }, "min_success_ratio"),
            (JobPolicy { workers: 4, parallelism: Some(2), ..JobPolicy::default() }, "parallelism"),
            (
                JobPolicy {
                    deadlines: Deadlines { run: Some(Duration::ZERO), ..Deadlines::default() },
                    ..JobPolicy::default()
                },
                "deadlines.run",
            ),
        ];
        for (policy, named) in cases {
            let reason = policy.check().unwrap_err();
            assert!(reason.contains(named), "{reason}");
        }
    }
}
