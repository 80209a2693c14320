//! Many attempts that leave nothing behind, ended well in one statement: what takes a commit each otherwise.

use std::collections::HashSet;

use ursa_domain::lifecycle::job::{self, JobEvent, JobOutcome, JobState};
use ursa_domain::lifecycle::task::{self, TaskEvent, TaskState};
use ursa_domain::{JobKind, Lease};
use ursa_proto::{ApiError, ErrorCode};
use uuid::Uuid;

use super::events::MANY;
use super::leases::columns;
use super::{Store, StoreResult, Topic};

/// What became of one request to end an attempt.
pub(crate) type Completion = Result<(), ApiError>;

impl Store {
    /// Ends probe attempts well; answers in the order of `leases`. For one caller at a time.
    #[tracing::instrument(skip_all, err(level = "debug"))]
    pub(crate) async fn complete_probes(&self, leases: &[Lease]) -> StoreResult<Vec<Completion>> {
        let once = once(leases);
        let mut ended = self.end(&once).await?;
        let mut unsaid = None;
        if ended.len() < once.len() {
            // What has ended has ended, whether or not the others hear what became of theirs.
            match self.succeeded_before(&once).await {
                Ok(before) => ended.extend(before),
                Err(error) => unsaid = Some(ApiError::from(error)),
            }
        }
        let answer = |lease: &Lease| match &unsaid {
            _ if ended.contains(&lease.token) => Ok(()),
            Some(error) => Err(error.clone()),
            None => Err(lost(lease)),
        };
        Ok(leases.iter().map(answer).collect())
    }

    /// Ends the attempts of those leases that are current, and their tasks, and what that ends; the tokens of those that were.
    async fn end(&self, leases: &[Lease]) -> StoreResult<HashSet<Uuid>> {
        task::next(TaskState::Leased, TaskEvent::Complete)?;
        task::next(TaskState::Waiting, TaskEvent::Release)?;
        let job_succeeded = job::next(JobState::Running, JobEvent::Finish(JobOutcome::Succeeded))?;
        let (tasks, attempts, tokens) = columns(leases);
        let mut line = self.ends.hold().await?;
        let rows = sqlx::query_file!(
            "src/store/sql/end_well.sql",
            &tasks,
            &attempts,
            &tokens,
            JobKind::Probe.as_str(),
            job_succeeded.as_str(),
            MANY as i64,
        )
        .fetch_all(&mut *line)
        .await;
        let rows = line.put_back(rows)?;
        if let Some(first) = rows.first() {
            let topics = [
                (Topic::Room, true),
                (Topic::Events, true),
                (Topic::Tasks, first.released),
                (Topic::Deliveries, first.deliveries > 0),
                (Topic::Jobs, first.look_at_jobs),
            ];
            let topics: Vec<Topic> =
                topics.into_iter().filter(|(_, has_news)| *has_news).map(|(topic, _)| topic).collect();
            self.hub.committed(&topics);
        }
        Ok(rows.into_iter().map(|row| row.token).collect())
    }

    async fn succeeded_before(&self, leases: &[Lease]) -> StoreResult<Vec<Uuid>> {
        let (tasks, attempts, tokens) = columns(leases);
        let mut line = self.ends.hold().await?;
        let rows = sqlx::query_scalar!(
            "select a.lease_token from unnest($1::uuid[], $2::integer[], $3::uuid[]) as l (id, attempt, token)
            join attempts a on a.task_id = l.id and a.number = l.attempt and a.lease_token = l.token
            where a.state = 'succeeded'",
            &tasks,
            &attempts,
            &tokens,
        )
        .fetch_all(&mut *line)
        .await;
        line.put_back(rows)
    }
}

/// Each lease once: a request may be repeated while the first one still waits.
fn once(leases: &[Lease]) -> Vec<Lease> {
    let mut seen = HashSet::new();
    leases.iter().filter(|lease| seen.insert(**lease)).copied().collect()
}

fn lost(lease: &Lease) -> ApiError {
    let message =
        format!("the lease of attempt {} of task {} is not current: drop the work", lease.attempt, lease.task_id);
    ApiError::new(ErrorCode::LeaseLost, message)
}
