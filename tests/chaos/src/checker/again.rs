//! Pipelines that were run again: what their jobs took over from earlier ones.

use super::index::Index;
use crate::history::Job;

pub(super) fn run_again(index: &Index<'_>) -> Vec<String> {
    let taken_over = index.history.jobs.iter().filter(|job| job.cached_from.is_some());
    taken_over.filter_map(|job| Some(format!("{} ({}) {}", job.name, job.id, wrong(index, job)?))).collect()
}

/// Why a job could not take over what it did. What is done anew is a job like any other.
fn wrong(index: &Index<'_>, job: &Job) -> Option<String> {
    let earlier = index.jobs.get(&job.cached_from?);
    let Some(earlier) = earlier.filter(|earlier| earlier.kind == job.kind && earlier.cached_from.is_none()) else {
        return Some(format!("took over from {:?}, which did no such work", job.cached_from));
    };
    if !index.is_again(job) {
        return Some(format!("took over from {}, which nobody asked for", earlier.id));
    }
    if earlier.state != "succeeded" {
        return Some(format!("took over from {}, which is {}", earlier.id, earlier.state));
    }
    if earlier.output != job.output {
        return Some(format!("took over {} from {}, which left {}", job.output, earlier.id, earlier.output));
    }
    let tasks = index.tasks_of(job.id).len();
    (tasks > 0).then(|| format!("took over from {}, and has {tasks} tasks of its own", earlier.id))
}
