//! Counts and sums: what is there is what was asked for, and what is said to be there.

use std::collections::HashSet;

use super::index::{Index, grouped};
use crate::history::Job;

pub(super) fn submitted_once(index: &Index<'_>) -> Vec<String> {
    let mut broken = Vec::new();
    let by_key = grouped(&index.history.pipelines, |pipeline| pipeline.key.clone());
    for submitted in &index.history.submitted {
        let found: Vec<_> = by_key.get(&submitted.key).into_iter().flatten().map(|pipeline| pipeline.id).collect();
        if found != [submitted.pipeline] {
            let (key, id) = (&submitted.key, submitted.pipeline);
            broken.push(format!("{key} was answered with pipeline {id}; there are {found:?}"));
        }
    }
    let asked: HashSet<&str> = index.history.submitted.iter().map(|it| it.key.as_str()).collect();
    for pipeline in &index.history.pipelines {
        if pipeline.key.as_deref().is_none_or(|key| !asked.contains(key)) {
            broken.push(format!("nobody asked for pipeline {} ({:?})", pipeline.id, pipeline.key));
        }
    }
    broken
}

pub(super) fn jobs_end(index: &Index<'_>) -> Vec<String> {
    let mut broken = Vec::new();
    for job in &index.history.jobs {
        let tasks = index.tasks_of(job.id);
        let is_cancelled = index.was_cancelled(job.id);
        let wanted = if is_cancelled { "cancelled" } else { "succeeded" };
        let total: i64 = tasks.iter().map(|task| task.units).sum();
        let done = tasks.iter().filter(|task| !is_cancelled || task.state == "succeeded").map(|task| task.units);
        let done: i64 = done.sum();
        let mut say = |what: String| broken.push(format!("{} ({}) {what}", job.name, job.id));
        if job.state != wanted {
            say(format!("is {}: {}", job.state, job.error));
        }
        if job.open_tasks != 0 {
            say(format!("counts {} open tasks", job.open_tasks));
        }
        // One that is run again may find that nothing is left to do.
        let may_have_none = index.is_again(job);
        if job.task_count as usize != tasks.len() || (tasks.is_empty() && !may_have_none) {
            say(format!("counts {} tasks and has {}", job.task_count, tasks.len()));
        }
        if (job.units_done, job.units_total) != (done, total) {
            let (counted, of) = (job.units_done, job.units_total);
            say(format!("counts {counted} of {of} units done, and its tasks have {done} of {total}"));
        }
    }
    broken
}

pub(super) fn outputs_add_up(index: &Index<'_>) -> Vec<String> {
    // What was taken over is that of the job that did the work.
    let at_work = index.history.jobs.iter().filter(|job| job.cached_from.is_none());
    at_work.filter_map(|job| wrong_output(index, job)).collect()
}

fn wrong_output(index: &Index<'_>, job: &Job) -> Option<String> {
    let history = index.history;
    let what = format!("{} ({})", job.name, job.id);
    match job.kind.as_str() {
        "scrape" => {
            let sources = history.sources.iter().filter(|source| source.job == job.id && source.outcome != "pending");
            let sources = sources.count() as u64;
            (sum(job) != sources).then(|| format!("{what} says {} outcomes, there are {sources}", sum(job)))
        }
        "verify" => {
            let sources = history.shards.iter().filter(|shard| index.tasks.contains_key(&shard.task));
            let fed = sources.filter(|shard| shard.kind == "raw" && is_of_pipeline(index, shard.task, job));
            let keys: HashSet<&str> = fed.map(|shard| shard.key.as_str()).collect();
            let images = history.images.iter().filter(|image| keys.contains(image.raw_shard.as_str()));
            let images = images.count() as u64;
            (sum(job) != images).then(|| format!("{what} says {} verdicts, there are {images}", sum(job)))
        }
        "snapshot" => {
            let made: Vec<&str> =
                history.snapshots.iter().filter(|it| it.job == job.id).map(|it| it.digest.as_str()).collect();
            let said = job.output["digest"].as_str().unwrap_or_default();
            (made != [said]).then(|| format!("{what} says snapshot {said:?}, there are {made:?}"))
        }
        "train" => {
            let said = job.output["model_digest"].as_str().unwrap_or_default();
            let there = history.models.iter().filter(|model| model.digest == said).count();
            (there != 1).then(|| format!("{what} says model {said:?}, which is there {there} times"))
        }
        _ => None,
    }
}

/// Of numbers by name.
fn sum(job: &Job) -> u64 {
    job.output.as_object().into_iter().flatten().filter_map(|(_, count)| count.as_u64()).sum()
}

fn is_of_pipeline(index: &Index<'_>, task: uuid::Uuid, job: &Job) -> bool {
    let maker = index.tasks.get(&task).and_then(|task| index.jobs.get(&task.job));
    maker.is_some_and(|maker| maker.pipeline == job.pipeline)
}
