//! Everything that is told and stored of some jobs, to be compared: what has no effect leaves it as it is.

use ursa_client::Client;
use ursa_proto::{ApiError, v1};

use crate::Postgres;

/// Tables whose every row is compared. Log lines are not among them: those of an attempt that has ended move from the
/// table to the object store, and read as before.
const TABLES: [&str; 11] = [
    "jobs",
    "tasks",
    "metrics",
    "checkpoints",
    "shards",
    "sources",
    "images",
    "snapshots",
    "models",
    "evaluations",
    "events",
];
/// Of an attempt that is open, all but what every beat renews; of one that was lost, all but whether its worker came back,
/// and whether it was cleaned since.
const ATTEMPTS: &str = "select to_jsonb(a) - case state
        when 'lost' then '{error_class,fenced_at,cleaned_at}'::text[] else '{expires_at}' end as r
    from attempts a";
/// At most so many lines of a log are compared; more than any test writes.
const LINES: u32 = 10_000;

/// See the module.
#[derive(Debug, PartialEq)]
pub struct Record {
    told: Vec<Told>,
    rows: String,
}

/// What clients are told of a job.
#[derive(Debug, PartialEq)]
struct Told {
    detail: v1::JobDetail,
    log: Vec<v1::LogLine>,
    metrics: v1::ListMetricsResponse,
}

impl Record {
    /// As it is now: what `client` is told of the jobs with these ids, and every row of the database.
    pub async fn of(client: &Client, postgres: &Postgres, jobs: &[String]) -> anyhow::Result<Self> {
        let mut told = Vec::with_capacity(jobs.len());
        for job in jobs {
            told.push(Told::of(client, job).await?);
        }
        Ok(Self { told, rows: postgres.ask(&all_rows()).await? })
    }
}

impl Told {
    async fn of(client: &Client, job: &str) -> Result<Self, ApiError> {
        let detail = client.jobs().get_job(v1::GetJobRequest { id: job.to_owned() }).await?.into_inner();
        let lines = v1::ListLogsRequest { job_id: job.to_owned(), after_id: 0, limit: LINES };
        let log = client.jobs().list_logs(lines).await?.into_inner().lines;
        let of_job = v1::ListMetricsRequest { job_id: job.to_owned(), ..v1::ListMetricsRequest::default() };
        let metrics = client.jobs().list_metrics(of_job).await?.into_inner();
        Ok(Self { detail: timeless(detail), log, metrics })
    }
}

/// Without what changes with the time alone; of a lost attempt, without whether its worker came back, and whether it was
/// cleaned since.
fn timeless(mut detail: v1::JobDetail) -> v1::JobDetail {
    if let Some(job) = &mut detail.job {
        (job.rate, job.eta_seconds, job.looked_at_again_at) = (0.0, 0.0, None);
        // Who is silent for a moment is not counted among the workers there are.
        job.waiting_reason.clear();
    }
    let attempts = detail.tasks.iter_mut().flat_map(|task| &mut task.attempts);
    for attempt in attempts.filter(|attempt| attempt.state == "lost") {
        (attempt.error_class, attempt.cleaned_at) = (0, None);
    }
    detail
}

/// A query for all rows as one text, table by table.
fn all_rows() -> String {
    let tables = TABLES.map(|table| (table, format!("select to_jsonb(t) as r from {table} t")));
    let all = tables.into_iter().chain([("attempts", ATTEMPTS.to_owned())]);
    let parts = all.map(|(table, rows)| format!("'{table}', (select jsonb_agg(r order by r) from ({rows}) {table})"));
    format!("select jsonb_pretty(jsonb_build_object({}))", parts.collect::<Vec<_>>().join(", "))
}
