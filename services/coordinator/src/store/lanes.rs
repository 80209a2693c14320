//! Lanes: what makes ready tasks interchangeable for whoever places them.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use ursa_domain::JobKind;
use ursa_domain::scheduling::{ProjectView, Resources};
use uuid::Uuid;

use super::projects::ProjectUsage;
use super::{Store, StoreError, StoreResult, Tx, word};

/// A place in a lane, whose ready tasks stand in the order of time and id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark {
    /// When a task became ready.
    pub at: DateTime<Utc>,
    /// Which of those that became ready then.
    pub id: Uuid,
}

impl Mark {
    /// Before every task.
    pub(crate) const START: Self = Self { at: DateTime::UNIX_EPOCH, id: Uuid::nil() };
}

/// A lane, and what is ready in it.
#[derive(Debug, Clone)]
pub(crate) struct LaneHead {
    /// Its id.
    pub id: i32,
    /// Whose tasks they are.
    pub project: String,
    /// Their kind.
    pub kind: JobKind,
    /// Their priority.
    pub priority: i32,
    /// What each needs of a worker.
    pub resources: Resources,
    /// Tasks that are leased together; 1 is none.
    pub gang: u32,
    /// How many are ready, as far as anybody wanted to know; of a gang's lane, the tasks of its first whole gang.
    pub ready: u32,
    /// Where the first of them stands, or where the next one would.
    pub head: Mark,
    /// What its project may have, and has.
    pub owner: ProjectView,
    /// Whether the queue of its kind is paused.
    pub paused: bool,
}

impl LaneHead {
    /// Whether its project may have only so much.
    pub(crate) fn has_quota(&self) -> bool {
        self.owner.max_running.is_some() || self.owner.max_gpus.is_some()
    }
}

/// What a lane is.
#[derive(Debug, Clone)]
pub(crate) struct LaneInfo {
    /// Its id.
    pub id: i32,
    /// Kind of its tasks.
    pub kind: JobKind,
    /// Their priority.
    pub priority: i32,
    /// What each needs of a worker.
    pub resources: Resources,
}

/// What there is to do in a lane.
#[derive(Debug, Clone)]
pub(crate) struct LaneBacklog {
    /// Its id.
    pub id: i32,
    /// Whose tasks they are.
    pub project: String,
    /// Whether its project may have only so much.
    pub has_quota: bool,
    /// What each needs of a worker.
    pub resources: Resources,
    /// Tasks at work.
    pub held: u64,
    /// Tasks that are ready or will be soon, as far as anybody wanted to know; none when they are paused.
    pub waiting: u64,
    /// Where the first of those that are ready stands, or where the next one would.
    pub head: Mark,
}

/// Marks as statements take them, side by side: their lanes, times and ids.
fn columns(marks: &HashMap<i32, Mark>) -> (Vec<i32>, Vec<DateTime<Utc>>, Vec<Uuid>) {
    let (lanes, marks): (Vec<i32>, Vec<Mark>) = marks.iter().map(|(lane, mark)| (*lane, *mark)).unzip();
    let (times, ids) = marks.iter().map(|mark| (mark.at, mark.id)).unzip();
    (lanes, times, ids)
}

/// What the tasks of a lane are and need; nothing where a coordinator of a later version has made it, which places them.
fn understood(lane: i32, kind: &str, resources: Value) -> Option<(JobKind, Resources)> {
    let resources = serde_json::from_value(resources).map_err(|error| StoreError::unreadable("resources", &error));
    let understood = word("job kind", kind).and_then(|kind| Ok((kind, resources?)));
    understood.inspect_err(|error| tracing::debug!(%error, lane, "the tasks of a lane are left to others")).ok()
}

impl Store {
    /// Every lane with a ready task, with how many it has, up to `limit`. `marks` tells for some lanes where to begin, and `back`
    /// how much earlier: what was taken before lies dead in the index until Postgres can clean up. Where that is a while ago, a
    /// lane is listed with nothing ready, too. Of those with a mark, some may be `left_out`.
    pub(crate) async fn lane_heads(
        &self,
        marks: &HashMap<i32, Mark>,
        back: Duration,
        left_out: &HashSet<i32>,
        limit: u32,
        within: Option<&mut Tx>,
    ) -> StoreResult<Vec<LaneHead>> {
        let (lanes, times, ids) = columns(marks);
        let look = sqlx::query_file!(
            "src/store/sql/lane_heads.sql",
            &lanes,
            &times,
            &ids,
            i64::from(limit),
            back.as_secs_f64(),
            &lanes.iter().map(|lane| left_out.contains(lane)).collect::<Vec<_>>(),
        );
        let rows = if let Some(tx) = within {
            look.fetch_all(&mut **tx).await?
        } else {
            let mut line = self.rounds.hold().await?;
            let rows = look.fetch_all(&mut *line).await;
            line.put_back(rows)?
        };
        let heads = rows
            .into_iter()
            .filter_map(|row| {
                let (kind, resources) = understood(row.id, &row.kind, row.resources)?;
                let owner = ProjectUsage {
                    name: row.project.clone(),
                    weight: row.weight,
                    max_running: row.max_running,
                    max_gpus: row.max_gpus,
                    paused: row.project_paused,
                    running: row.running,
                    gpus: row.gpus,
                };
                Some(LaneHead {
                    id: row.id,
                    project: row.project,
                    kind,
                    priority: row.priority,
                    resources,
                    gang: row.gang as u32,
                    ready: row.ready as u32,
                    head: Mark { at: row.head_ready_at, id: row.head },
                    owner: owner.into(),
                    paused: row.queue_paused,
                })
            })
            .collect();
        Ok(heads)
    }

    /// What there is to do in the lanes of a kind, and of a project if one is given. Counts no further than `limit`; what
    /// is ready within `soon` counts as waiting. `marks` tells for some lanes where to begin, and `back` how much earlier, as for
    /// [`Store::lane_heads`].
    pub(crate) async fn backlog(
        &self,
        kind: JobKind,
        project: Option<&str>,
        limit: u32,
        soon: Duration,
        marks: &HashMap<i32, Mark>,
        back: Duration,
    ) -> StoreResult<Vec<LaneBacklog>> {
        let (lanes, times, ids) = columns(marks);
        let rows = sqlx::query_file!(
            "src/store/sql/backlog.sql",
            kind.as_str(),
            project,
            i64::from(limit),
            soon.as_secs_f64(),
            &lanes,
            &times,
            &ids,
            back.as_secs_f64(),
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(LaneBacklog {
                    id: row.id,
                    project: row.project,
                    has_quota: row.has_quota,
                    resources: serde_json::from_value(row.resources)
                        .map_err(|error| StoreError::unreadable("resources", &error))?,
                    held: row.held as u64,
                    waiting: row.waiting as u64,
                    head: Mark { at: row.head_ready_at, id: row.head },
                })
            })
            .collect()
    }

    /// What some lanes are.
    pub(crate) async fn lanes(&self, ids: &[i32], within: Option<&mut Tx>) -> StoreResult<Vec<LaneInfo>> {
        let look = sqlx::query!("select id, kind, priority, resources from lanes where id = any ($1)", ids);
        let rows = match within {
            Some(tx) => look.fetch_all(&mut **tx).await?,
            None => look.fetch_all(&self.pool).await?,
        };
        let infos = rows
            .into_iter()
            .filter_map(|row| {
                let (kind, resources) = understood(row.id, &row.kind, row.resources)?;
                Some(LaneInfo { id: row.id, kind, priority: row.priority, resources })
            })
            .collect();
        Ok(infos)
    }
}
