//! Why nobody is at work on a job, or on some of its tasks: what they need, and what there is. Names nobody else's workers,
//! jobs or labels.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use ursa_domain::JobKind;
use ursa_domain::lifecycle::job::JobState;
use ursa_domain::scheduling::{self, LaneView, Offer, ProjectView, Promises, Request};
use uuid::Uuid;

use crate::context::Context;
use crate::dispatch;
use crate::store::{JobRow, ReadyLane, StoreError, StoreResult};

/// Explains jobs of one answer: what it needs to know it asks for once, and only if there is something to explain.
pub(super) struct Explainer<'a> {
    context: &'a Context,
    known: Option<Known>,
}

/// Why nobody is at work on a job, or on some of its tasks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Wait {
    /// What it needs, and what there is.
    pub(super) reason: String,
    /// When that is looked at again at the latest; `None` where it takes something else that happens to end the wait.
    pub(super) looked_at_again_at: Option<DateTime<Utc>>,
}

impl Wait {
    fn for_something_else(reason: impl ToString) -> Self {
        Self { reason: reason.to_string(), looked_at_again_at: None }
    }

    fn for_the_next_round(reason: impl ToString) -> Self {
        Self { reason: reason.to_string(), looked_at_again_at: Some(Utc::now() + dispatch::LOOK) }
    }
}

struct Known {
    offers: Vec<Offer>,
    promises: Promises,
    projects: Vec<ProjectView>,
    paused: HashSet<String>,
}

impl<'a> Explainer<'a> {
    pub(super) fn new(context: &'a Context) -> Self {
        Self { context, known: None }
    }

    /// `None` when somebody is at work on it, or it has ended.
    pub(super) async fn explain(&mut self, job: &JobRow) -> StoreResult<Option<Wait>> {
        if job.held_tasks > 0 { Ok(None) } else { self.explain_rest(job).await }
    }

    /// As [`Self::explain`], and where somebody is at work on a part of it, why nobody is on the rest: most jobs that run have
    /// one, so that a list would say little else.
    pub(super) async fn explain_rest(&mut self, job: &JobRow) -> StoreResult<Option<Wait>> {
        if job.state == JobState::Waiting.as_str() {
            return Ok(Some(Wait::for_something_else(waits_for(job.depends_on.len()))));
        }
        if job.state != JobState::Running.as_str() {
            return Ok(None);
        }
        if job.kind == JobKind::Verify.as_str() && job.open_tasks == 0 {
            let reason = "has nothing to verify for now: pictures are still to come, or another job is at them";
            return Ok(Some(Wait::for_something_else(reason)));
        }
        if job.idle_tasks() <= 0 {
            return Ok(None);
        }
        let Some(lane) = self.ready_lane(job).await? else {
            return Ok(Some(self.retries(job.id).await?));
        };
        if lane.gang > 1 && self.context.store.next_wake(job.id).await?.is_some() {
            // Those that are ready begin with the others.
            return Ok(Some(self.retries(job.id).await?));
        }
        // Of a gang some may have done their part.
        let gang = u32::try_from(job.idle_tasks()).map_or(lane.gang, |idle| idle.min(lane.gang));
        let context = self.context;
        let known = self.known().await?;
        let lane = LaneView {
            id: i64::from(lane.id),
            project: job.project.clone(),
            kind: lane.kind,
            priority: job.effective_priority(),
            request: Request { kind: lane.kind, resources: lane.resources },
            ready: gang,
            head_ready_at: 0.0,
            gang,
            paused: known.paused.contains(&job.kind),
        };
        let project = known.projects.iter().find(|project| project.name == job.project);
        Ok(Some(match project.and_then(|project| scheduling::hold(&lane, project)) {
            Some(hold) if hold.is_pause() => Wait::for_something_else(hold),
            Some(hold) => Wait::for_the_next_round(hold),
            None => Wait::for_the_next_round(no_room(context, &lane, known)),
        }))
    }

    /// Of a job at work, ready tasks are looked for only where there are some: it may have a million that are none.
    async fn ready_lane(&self, job: &JobRow) -> StoreResult<Option<ReadyLane>> {
        let store = &self.context.store;
        if job.held_tasks > 0 && store.is_none_ready(job.id, job.idle_tasks()).await? {
            return Ok(None);
        }
        store.ready_lane(job.id).await
    }

    async fn retries(&self, job: Uuid) -> StoreResult<Wait> {
        Ok(match self.context.store.next_wake(job).await? {
            Some(at) => Wait {
                reason: format!("waits until {} before the next attempt", at.format("%H:%M:%S UTC")),
                looked_at_again_at: Some(at),
            },
            None => Wait::for_something_else("its tasks wait for others of it to end"),
        })
    }

    async fn known(&mut self) -> StoreResult<&Known> {
        if self.known.is_none() {
            let store = &self.context.store;
            self.known = Some(Known {
                offers: store.offers(self.context.config.patience()).await?,
                promises: self.context.dispatcher.promises().await,
                projects: store.project_usage().await?.into_iter().map(ProjectView::from).collect(),
                paused: store.paused_queues().await?,
            });
        }
        self.known.as_ref().ok_or(StoreError::Database(sqlx::Error::RowNotFound))
    }
}

/// Why it has no place, as far as this coordinator knows.
fn no_room(context: &Context, lane: &LaneView, known: &Known) -> String {
    let why = scheduling::explain(&lane.request, lane.gang, &known.offers, &known.promises.kept_from(lane.id));
    let takers = known.offers.iter().filter(|offer| offer.kinds.contains(&lane.kind));
    let is_spread = lane.gang > 1 && !context.roster.has_all(takers.map(|offer| offer.id));
    if is_spread { format!("{why}; all of them have to be attached to the same coordinator") } else { why }
}

fn waits_for(jobs: usize) -> String {
    match jobs {
        1 => "waits for another job of its pipeline".to_owned(),
        jobs => format!("waits for {jobs} other jobs of its pipeline"),
    }
}
