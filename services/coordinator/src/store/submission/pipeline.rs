//! What is stored of a pipeline, from its specification alone.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use ursa_domain::JobSpec;
use ursa_domain::inheritance::{Inherited, inherited};
use ursa_domain::lifecycle::job::{self, JobEvent, JobState};
use ursa_domain::pipeline::JobDefinition;
use ursa_domain::policy::JobPolicy;
use ursa_domain::scheduling::Resources;
use uuid::Uuid;

use super::record::{FirstTask, Record};
use super::{Submission, Submitted};
use crate::store::events::{NewEvent, Of};
use crate::store::jobs::{JobRow, LockedJob, moved};
use crate::store::pipelines::PipelineRow;
use crate::store::planning::{AtOnce, NewTask, at_once};
use crate::store::{StoreError, StoreResult, Topic};

/// Jobs without tasks and tasks of a pipeline that is stored together with others, at most.
const FEW_TASKS: usize = 100;

/// A job as `insert_pipelines.sql` reads it.
#[derive(Serialize)]
struct NewJob<'a> {
    id: Uuid,
    pipeline_id: Uuid,
    ordinal: usize,
    name: &'a str,
    kind: &'static str,
    spec: &'a JobSpec,
    policy: &'a JobPolicy,
    priority: i32,
    inherited_priority: Option<i32>,
    inherited_from: Option<Uuid>,
    parallelism: Option<u32>,
    /// Deadlines, in seconds.
    queue_wait: Option<f64>,
    run: Option<f64>,
    no_progress: Option<f64>,
    total: Option<f64>,
    state: JobState,
    /// What its progress counts.
    unit: &'static str,
    cache_key: Option<&'a str>,
    max_attempts: u32,
    resources: &'a Resources,
    workers: u32,
}

/// A pipeline as it is stored: everything in the order of its jobs.
pub(super) struct NewPipeline<'a> {
    pub(super) submission: &'a Submission<'a>,
    /// The version of what will do the work.
    pub(super) code: &'a str,
    pub(super) id: Uuid,
    ids: Vec<Uuid>,
    /// Who waits, and for whom.
    dependencies: Vec<(Uuid, Uuid)>,
    /// What those that are waited for have of the others' priorities.
    inherited: BTreeMap<Uuid, Inherited>,
    /// Of those that run at once.
    plans: Vec<Option<AtOnce>>,
}

/// Whether a job takes over what an earlier one made of the same.
fn reuses(submission: &Submission<'_>, job: &JobDefinition) -> bool {
    submission.pipeline.reuse && !job.policy.fresh
}

impl<'a> NewPipeline<'a> {
    pub(super) fn of(submission: &'a Submission<'a>, code: &'a str) -> StoreResult<Self> {
        let jobs = &submission.pipeline.jobs;
        let ids: Vec<Uuid> = jobs.iter().map(|_| Uuid::now_v7()).collect();
        let known: HashMap<&str, Uuid> = jobs.iter().map(|job| job.name.as_str()).zip(ids.clone()).collect();
        let waits = |(job, id): (&'a JobDefinition, &Uuid)| {
            let (id, known) = (*id, &known);
            job.dependencies().into_iter().filter_map(move |name| Some((id, *known.get(name)?))).collect::<Vec<_>>()
        };
        let dependencies: Vec<(Uuid, Uuid)> = jobs.iter().zip(&ids).flat_map(waits).collect();
        let priorities: BTreeMap<Uuid, i32> =
            ids.iter().zip(jobs).map(|(id, job)| (*id, job.policy.priority)).collect();
        let inherited = inherited(&priorities, &dependencies);
        let plan = |job: &JobDefinition| {
            let may_begin = job.dependencies().is_empty() && !reuses(submission, job);
            if may_begin { at_once(&job.spec, &job.policy, code) } else { None }
        };
        let plans = jobs.iter().map(plan).collect();
        // Nothing is planned against the rules of its life cycle.
        job::next(JobState::Waiting, JobEvent::Start)?;
        Ok(Self { submission, code, id: Uuid::now_v7(), ids, dependencies, inherited, plans })
    }

    fn jobs(&self) -> impl Iterator<Item = (&'a JobDefinition, Uuid, Option<&AtOnce>)> {
        self.submission
            .pipeline
            .jobs
            .iter()
            .zip(&self.ids)
            .zip(&self.plans)
            .map(|((job, id), plan)| (job, *id, plan.as_ref()))
    }

    /// Whether nothing is left to do but to insert it.
    pub(super) fn is_begun(&self) -> bool {
        self.jobs().all(|(job, _, plan)| plan.is_some() || !job.dependencies().is_empty())
    }

    /// Whether others may wait for it to be stored.
    pub(super) fn is_small(&self) -> bool {
        self.jobs().map(|(.., plan)| plan.map_or(1, |plan| plan.tasks.len())).sum::<usize>() <= FEW_TASKS
    }

    /// Those that wait for no other and take more to plan than their specification: they are started at once, so that
    /// nothing has to look for them. Nobody else sees them before the transaction is committed, which is as good as a lock.
    pub(super) fn unplanned(&self) -> StoreResult<Vec<LockedJob>> {
        let free = self.jobs().filter(|(job, _, plan)| plan.is_none() && job.dependencies().is_empty());
        free.map(|(job, id, _)| self.locked(job, id)).collect()
    }

    fn locked(&self, job: &JobDefinition, id: Uuid) -> StoreResult<LockedJob> {
        Ok(LockedJob {
            id,
            pipeline_id: self.id,
            project: self.submission.pipeline.project.clone(),
            name: job.name.clone(),
            kind: job.spec.kind(),
            state: JobState::Waiting,
            priority: self.inherited.get(&id).map_or(job.policy.priority, |of| of.priority),
            reuse: reuses(self.submission, job),
            error: String::new(),
            open_tasks: 0,
            task_count: 0,
            spec: written("job specification", &job.spec)?,
            policy: written("job policy", &job.policy)?,
        })
    }

    fn events(&self) -> Vec<NewEvent> {
        let of_job = |(job, id, plan): (&JobDefinition, Uuid, Option<&AtOnce>)| {
            let message = format!("{} was submitted", job.name);
            let submitted = NewEvent { job_id: id, of: Of::Job, kind: "job.waiting", message };
            let begun = plan.map(|_| moved(id, &job.name, JobState::Running, ""));
            [Some(submitted), begun].into_iter().flatten()
        };
        self.jobs().flat_map(of_job).collect()
    }

    /// As it is written.
    pub(super) fn record(&self) -> StoreResult<Record> {
        let Submission { pipeline, idempotency_key, rerun_of, fingerprint } = *self.submission;
        let mut topics = vec![Topic::Events];
        if self.plans.iter().any(Option::is_some) {
            topics.push(Topic::Tasks);
        }
        if !self.dependencies.is_empty() {
            topics.push(Topic::Jobs);
        }
        let job = |(ordinal, (job, id, plan))| written("job", &self.new_job(ordinal, job, id, plan));
        Ok(Record {
            id: self.id,
            name: pipeline.name.clone(),
            project: pipeline.project.clone(),
            idempotency_key: idempotency_key.map(str::to_owned),
            fingerprint,
            spec: written("pipeline specification", pipeline)?,
            rerun_of,
            reuse: pipeline.reuse,
            jobs: self.jobs().enumerate().map(job).collect::<StoreResult<_>>()?,
            dependencies: self.dependencies.clone(),
            tasks: self.tasks(),
            events: self.events(),
            topics,
        })
    }

    fn tasks(&self) -> Vec<FirstTask> {
        let of_job = |(_, job, plan): (&JobDefinition, Uuid, Option<&AtOnce>)| {
            let tasks = plan.map(|plan| plan.tasks.as_slice()).unwrap_or_default().iter().enumerate();
            let task = |(ordinal, task): (usize, &NewTask)| FirstTask {
                id: task.id,
                job,
                ordinal: ordinal as i32,
                payload: task.payload.clone(),
                units: task.units as i64,
            };
            tasks.map(task).collect::<Vec<_>>()
        };
        self.jobs().flat_map(of_job).collect()
    }

    /// As whoever asks sees it, just after it was inserted.
    pub(super) fn submitted(&self, created_at: DateTime<Utc>) -> Submitted {
        let Submission { pipeline, rerun_of, .. } = *self.submission;
        Submitted {
            pipeline: PipelineRow {
                id: self.id,
                name: pipeline.name.clone(),
                project: pipeline.project.clone(),
                rerun_of,
                created_at,
            },
            jobs: self.jobs().map(|(job, id, plan)| self.row(job, id, plan, created_at)).collect(),
            already_existed: false,
        }
    }

    fn row(&self, job: &JobDefinition, id: Uuid, plan: Option<&AtOnce>, created_at: DateTime<Utc>) -> JobRow {
        let awaited = self.dependencies.iter().filter(|(waiting, _)| *waiting == id);
        let mut awaited: Vec<Uuid> = awaited.map(|(_, awaited)| *awaited).collect();
        awaited.sort_unstable();
        let tasks = plan.map_or(0, |plan| plan.tasks.len() as i32);
        JobRow {
            id,
            pipeline_id: self.id,
            project: self.submission.pipeline.project.clone(),
            name: job.name.clone(),
            kind: job.spec.kind().as_str().to_owned(),
            priority: job.policy.priority,
            inherited_priority: self.inherited.get(&id).map(|of| of.priority),
            inherited_from: self.inherited.get(&id).and_then(|of| self.name(of.from)),
            state: state(plan).as_str().to_owned(),
            cached_from: None,
            error: String::new(),
            output: json!({}),
            depends_on: awaited,
            created_at,
            started_at: plan.map(|_| created_at),
            finished_at: None,
            read_at: created_at,
            done: 0,
            done_before: 0,
            total: plan.map_or(0, |plan| plan.tasks.iter().map(|task| task.units as i64).sum()),
            unit: plan.map_or("", |plan| plan.unit).to_owned(),
            message: String::new(),
            task_count: tasks,
            open_tasks: tasks,
            held_tasks: 0,
            dead_tasks: 0,
            failed_tasks: 0,
            cancelled_tasks: 0,
        }
    }

    fn new_job<'b>(&self, ordinal: usize, job: &'b JobDefinition, id: Uuid, plan: Option<&'b AtOnce>) -> NewJob<'b> {
        let seconds = |deadline: Option<Duration>| deadline.map(|deadline| deadline.as_secs_f64());
        let policy = &job.policy;
        let inherited = self.inherited.get(&id);
        NewJob {
            id,
            pipeline_id: self.id,
            ordinal,
            name: &job.name,
            kind: job.spec.kind().as_str(),
            spec: &job.spec,
            policy,
            priority: policy.priority,
            inherited_priority: inherited.map(|of| of.priority),
            inherited_from: inherited.map(|of| of.from),
            parallelism: policy.parallelism,
            queue_wait: seconds(policy.deadlines.queue_wait),
            run: seconds(policy.deadlines.run),
            no_progress: seconds(policy.deadlines.no_progress),
            total: seconds(policy.deadlines.total),
            state: state(plan),
            unit: plan.map_or("", |plan| plan.unit),
            cache_key: plan.and_then(|plan| plan.cache_key.as_deref()),
            max_attempts: policy.max_attempts,
            resources: &policy.resources,
            workers: policy.workers,
        }
    }

    fn name(&self, id: Uuid) -> Option<String> {
        self.jobs().find(|(_, job, _)| *job == id).map(|(job, ..)| job.name.clone())
    }
}

fn state(plan: Option<&AtOnce>) -> JobState {
    if plan.is_some() { JobState::Running } else { JobState::Waiting }
}

pub(super) fn written(what: &'static str, value: &impl Serialize) -> StoreResult<Value> {
    serde_json::to_value(value).map_err(|error| StoreError::unreadable(what, &error))
}
