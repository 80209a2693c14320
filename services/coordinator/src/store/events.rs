//! The event log. Within a pipeline, ids grow in the order of commits: whoever records an event holds the pipeline's
//! event lock until its transaction ends, so a reader that resumes after an id misses nothing. Whoever reads the events of all
//! pipelines goes no further than `horizon` says.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Store, StoreResult, Topic, Tx};

/// Something to record.
#[derive(Debug, Clone)]
pub(super) struct NewEvent {
    pub job_id: Uuid,
    pub of: Of,
    pub kind: &'static str,
    pub message: String,
}

/// What an event is about.
#[derive(Debug, Clone)]
pub(super) enum Of {
    /// The job.
    Job,
    /// One of its tasks, in an attempt.
    Task(Uuid, u32),
    /// Many of its tasks, each in an attempt.
    Tasks(Vec<(Uuid, u32)>),
}

impl Of {
    fn task(&self) -> Option<(Uuid, u32)> {
        match self {
            Self::Task(task, attempt) => Some((*task, *attempt)),
            Self::Job | Self::Tasks(_) => None,
        }
    }

    fn many(&self) -> Option<&[(Uuid, u32)]> {
        match self {
            Self::Tasks(tasks) => Some(tasks),
            Self::Job | Self::Task(..) => None,
        }
    }
}

/// One recorded event.
#[derive(Debug, Clone)]
pub(crate) struct EventRow {
    /// Grows with time, within a pipeline.
    pub id: i64,
    /// By the database's clock.
    pub at: DateTime<Utc>,
    /// The pipeline.
    pub pipeline_id: Uuid,
    /// The job.
    pub job_id: Uuid,
    /// The task, when it is about one.
    pub task_id: Option<Uuid>,
    /// The attempt, when it is about one.
    pub attempt: Option<i32>,
    /// The tasks, when it is about many.
    pub task_ids: Option<Vec<Uuid>>,
    /// The attempt at each of them.
    pub attempts: Option<Vec<i32>>,
    /// `job.running`, `task.leased`, …
    pub kind: String,
    /// For people.
    pub message: String,
}

/// Whose events are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EventSubject {
    /// Everybody's.
    All,
    /// One pipeline's.
    Pipeline(Uuid),
    /// One job's.
    Job(Uuid),
}

impl EventSubject {
    /// The pipeline, or the job, that it is about.
    fn ids(self) -> (Option<Uuid>, Option<Uuid>) {
        match self {
            Self::All => (None, None),
            Self::Pipeline(id) => (Some(id), None),
            Self::Job(id) => (None, Some(id)),
        }
    }
}

/// So many tasks of a job, and more, that the same happens to in one transaction are one event, which names them.
pub(super) const MANY: usize = 8;

/// Events of single tasks, those of the same job side by side; where there are many of one job, one instead that says
/// `what` happened to them.
pub(super) fn gather(events: Vec<NewEvent>, kind: &'static str, what: &str) -> Vec<NewEvent> {
    if events.len() < MANY {
        return events;
    }
    let of_job = |events: &[NewEvent]| match events {
        [first, ..] if events.len() >= MANY => {
            let of = Of::Tasks(events.iter().filter_map(|event| event.of.task()).collect());
            vec![NewEvent { job_id: first.job_id, of, kind, message: format!("{} tasks {what}", events.len()) }]
        }
        few => few.to_vec(),
    };
    events.chunk_by(|a, b| a.job_id == b.job_id).flat_map(of_job).collect()
}

/// Records events as the last thing of a transaction (the event lock is the last lock to take), addresses them to
/// webhooks, and wakes the watchers.
pub(super) async fn record(tx: &mut Tx, events: &[NewEvent]) -> StoreResult<()> {
    if events.is_empty() {
        return Ok(());
    }
    let (tasks, attempts): (Vec<Option<Uuid>>, Vec<Option<i32>>) =
        events.iter().map(|event| event.of.task().map(|(task, number)| (task, number as i32)).unzip()).unzip();
    let many = || events.iter().map(|event| event.of.many());
    let many_tasks: Vec<Option<String>> = many().map(|many| Some(list(many?.iter().map(|(task, _)| task)))).collect();
    let many_attempts: Vec<Option<String>> =
        many().map(|many| Some(list(many?.iter().map(|(_, number)| number)))).collect();
    let deliveries = sqlx::query_scalar!(
        r#"select record_events(
            array_agg(pipeline_id), array_agg(job_id), array_agg(task_id), array_agg(attempt), array_agg(many),
            array_agg(attempts), array_agg(kind), array_agg(message)) as "made!"
        from (
            select t.pipeline_id, n.*
            from unnest($1::uuid[], $2::uuid[], $3::integer[], $4::text[], $5::text[], $6::text[], $7::text[])
                with ordinality as n (job_id, task_id, attempt, many, attempts, kind, message, place)
            join job_terms t on t.job_id = n.job_id
            order by n.place
        ) n"#,
        &events.iter().map(|event| event.job_id).collect::<Vec<_>>(),
        &tasks as &[Option<Uuid>],
        &attempts as &[Option<i32>],
        &many_tasks as &[Option<String>],
        &many_attempts as &[Option<String>],
        &events.iter().map(|event| event.kind.to_owned()).collect::<Vec<_>>(),
        &events.iter().map(|event| event.message.clone()).collect::<Vec<_>>(),
    )
    .fetch_one(&mut **tx)
    .await?;
    tx.hint(Topic::Events);
    if deliveries > 0 {
        tx.hint(Topic::Deliveries);
    }
    Ok(())
}

/// As Postgres writes a list.
fn list(values: impl Iterator<Item = impl std::fmt::Display>) -> String {
    let values: Vec<String> = values.map(|value| value.to_string()).collect();
    format!("{{{}}}", values.join(","))
}

impl Store {
    /// Events after `after_id` and not after `up_to`, in the order of their ids, at most `limit`.
    #[tracing::instrument(skip(self), err(level = "debug"))]
    pub(crate) async fn events(
        &self,
        subject: EventSubject,
        after_id: i64,
        up_to: i64,
        limit: i64,
    ) -> StoreResult<Vec<EventRow>> {
        let (pipeline, job) = subject.ids();
        let rows = sqlx::query_as!(
            EventRow,
            r#"select id, at, pipeline_id, job_id, task_id, attempt, task_ids, attempts, kind, message from events
            where id > $1 and id <= $2 and ($3::uuid is null or pipeline_id = $3) and ($4::uuid is null or job_id = $4)
            order by id limit $5"#,
            after_id,
            up_to,
            pipeline,
            job,
            limit,
        )
        .fetch_all(&self.lists)
        .await?;
        Ok(rows)
    }

    /// The id of the newest event of `subject`; 0 without any. Of a pipeline or a job, whatever is committed later has a larger
    /// one.
    pub(crate) async fn last_event_id(&self, subject: EventSubject) -> StoreResult<i64> {
        let (pipeline, job) = subject.ids();
        let last = sqlx::query_scalar!(
            r#"select coalesce(max(id), 0) as "id!" from events
            where ($1::uuid is null or pipeline_id = $1) and ($2::uuid is null or job_id = $2)"#,
            pipeline,
            job,
        )
        .fetch_one(&self.lists)
        .await?;
        Ok(last)
    }
}
