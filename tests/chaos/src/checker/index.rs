//! Ways through a history.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use uuid::Uuid;

use crate::history::{Attempt, Event, History, Image, Job, Source, Task};

/// A history, looked up by ids.
pub(super) struct Index<'a> {
    pub(super) history: &'a History,
    pub(super) jobs: HashMap<Uuid, &'a Job>,
    pub(super) tasks: HashMap<Uuid, &'a Task>,
    pub(super) sources: HashMap<Uuid, &'a Source>,
    pub(super) images: HashMap<Uuid, &'a Image>,
    /// Pipelines that run another one again.
    reruns: HashSet<Uuid>,
    tasks_of: HashMap<Uuid, Vec<&'a Task>>,
    attempts_of: HashMap<Uuid, Vec<&'a Attempt>>,
    events_of_job: HashMap<Uuid, Vec<&'a Event>>,
    events_of_task: HashMap<Uuid, Vec<&'a Event>>,
    events_of_pipeline: HashMap<Uuid, Vec<&'a Event>>,
}

impl<'a> Index<'a> {
    pub(super) fn of(history: &'a History) -> Self {
        Self {
            history,
            jobs: history.jobs.iter().map(|job| (job.id, job)).collect(),
            tasks: history.tasks.iter().map(|task| (task.id, task)).collect(),
            sources: history.sources.iter().map(|source| (source.id, source)).collect(),
            images: history.images.iter().map(|image| (image.id, image)).collect(),
            reruns: history.pipelines.iter().filter(|it| it.rerun_of.is_some()).map(|it| it.id).collect(),
            tasks_of: grouped(&history.tasks, |task| Some(task.job)),
            attempts_of: grouped(&history.attempts, |attempt| Some(attempt.task)),
            events_of_job: grouped(&history.events, |event| Some(event.job)),
            events_of_task: grouped(&history.events, |event| event.task),
            events_of_pipeline: grouped(&history.events, |event| Some(event.pipeline)),
        }
    }

    pub(super) fn tasks_of(&self, job: Uuid) -> &[&'a Task] {
        self.tasks_of.get(&job).map_or(&[], Vec::as_slice)
    }

    pub(super) fn attempts_of(&self, task: Uuid) -> &[&'a Attempt] {
        self.attempts_of.get(&task).map_or(&[], Vec::as_slice)
    }

    pub(super) fn events_of_job(&self, job: Uuid) -> &[&'a Event] {
        self.events_of_job.get(&job).map_or(&[], Vec::as_slice)
    }

    pub(super) fn events_of_task(&self, task: Uuid) -> &[&'a Event] {
        self.events_of_task.get(&task).map_or(&[], Vec::as_slice)
    }

    pub(super) fn events_of_pipeline(&self, pipeline: Uuid) -> &[&'a Event] {
        self.events_of_pipeline.get(&pipeline).map_or(&[], Vec::as_slice)
    }

    /// Whether somebody cancelled a job.
    pub(super) fn was_cancelled(&self, job: Uuid) -> bool {
        self.history.cancelled.contains(&job)
    }

    /// Whether a job belongs to a pipeline that was run again.
    pub(super) fn is_again(&self, job: &Job) -> bool {
        self.reruns.contains(&job.pipeline)
    }

    /// A task, for people: the name of its job and its place in there.
    pub(super) fn name(&self, task: Uuid) -> String {
        let Some(found) = self.tasks.get(&task) else { return format!("unknown task {task}") };
        let job = self.jobs.get(&found.job).map_or("unknown job", |job| &job.name);
        format!("task {} of {job} ({task})", found.ordinal)
    }

    /// The number of the attempt at a task that succeeded.
    pub(super) fn winner(&self, task: Uuid) -> Option<i32> {
        self.attempts_of(task).iter().find(|attempt| attempt.state == "succeeded").map(|attempt| attempt.number)
    }
}

/// Rows by key, each group in the order of the rows.
pub(super) fn grouped<'a, T, K: Hash + Eq>(rows: &'a [T], key: impl Fn(&'a T) -> Option<K>) -> HashMap<K, Vec<&'a T>> {
    let mut groups: HashMap<K, Vec<&'a T>> = HashMap::new();
    for row in rows {
        if let Some(key) = key(row) {
            groups.entry(key).or_default().push(row);
        }
    }
    groups
}
