//! Projects and queues: shares, quotas, pauses.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use ursa_domain::JobKind;
use ursa_domain::scheduling::ProjectView;
use ursa_proto::{ApiError, timestamp, v1};

use super::{Store, StoreResult, Topic, Tx};

/// What one project may have, and has.
#[derive(Debug, Clone)]
pub(crate) struct ProjectUsage {
    /// Its name.
    pub name: String,
    /// Its share.
    pub weight: f64,
    /// Tasks at a time.
    pub max_running: Option<i32>,
    /// GPUs at a time.
    pub max_gpus: Option<i32>,
    /// Whether nothing more begins.
    pub paused: bool,
    /// Tasks at work.
    pub running: i64,
    /// GPUs at work.
    pub gpus: i64,
}

impl From<ProjectUsage> for ProjectView {
    fn from(project: ProjectUsage) -> Self {
        Self {
            name: project.name,
            weight: project.weight,
            running: project.running as u32,
            gpus: project.gpus as u32,
            max_running: project.max_running.map(|max| max as u32),
            max_gpus: project.max_gpus.map(|max| max as u32),
            paused: project.paused,
        }
    }
}

/// Makes sure that a project exists.
pub(super) async fn ensure_project(tx: &mut Tx, name: &str) -> StoreResult<()> {
    let exists = sqlx::query_scalar!(r#"select exists (select from projects where name = $1) as "e!""#, name)
        .fetch_one(&mut **tx)
        .await?;
    if !exists {
        sqlx::query!("insert into projects (name) values ($1) on conflict do nothing", name).execute(&mut **tx).await?;
    }
    Ok(())
}

/// Locks the projects of `names` that have quotas, in order, so that nobody else uses them up meanwhile.
pub(super) async fn lock_quotas(tx: &mut Tx, names: &[String]) -> StoreResult<Vec<ProjectUsage>> {
    let locked = sqlx::query_scalar!(
        "select name from projects
        where name = any ($1) and (max_running is not null or max_gpus is not null) order by name for no key update",
        names,
    )
    .fetch_all(&mut **tx)
    .await?;
    if locked.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query_file_as!(ProjectUsage, "src/store/sql/project_usage.sql", Some(&locked[..]))
        .fetch_all(&mut **tx)
        .await?;
    Ok(rows)
}

impl Store {
    /// Every project with what it has at work.
    pub(crate) async fn project_usage(&self) -> StoreResult<Vec<ProjectUsage>> {
        self.usage_of(None).await
    }

    async fn usage_of(&self, names: Option<&[String]>) -> StoreResult<Vec<ProjectUsage>> {
        let rows =
            sqlx::query_file_as!(ProjectUsage, "src/store/sql/project_usage.sql", names).fetch_all(&self.pool).await?;
        Ok(rows)
    }

    /// The queues that are paused.
    pub(crate) async fn paused_queues(&self) -> StoreResult<HashSet<String>> {
        let kinds = sqlx::query_scalar!("select kind from queues where paused").fetch_all(&self.pool).await?;
        Ok(kinds.into_iter().collect())
    }

    /// One project.
    pub(crate) async fn project(&self, name: &str) -> StoreResult<v1::Project> {
        let project = self.select_projects(Some(name), None, 1).await?.pop();
        Ok(project.ok_or_else(|| ApiError::not_found("project", name))?)
    }

    /// Projects with names after `after`, in their order.
    pub(crate) async fn projects(&self, after: Option<&str>, limit: i64) -> StoreResult<Vec<v1::Project>> {
        self.select_projects(None, after, limit).await
    }

    async fn select_projects(
        &self,
        name: Option<&str>,
        after: Option<&str>,
        limit: i64,
    ) -> StoreResult<Vec<v1::Project>> {
        let rows = sqlx::query!(
            "select name, created_at from projects
            where ($1::text is null or name = $1) and ($2::text is null or name > $2) order by name limit $3",
            name,
            after,
            limit,
        )
        .fetch_all(&self.lists)
        .await?;
        let created: HashMap<String, DateTime<Utc>> = rows.into_iter().map(|row| (row.name, row.created_at)).collect();
        let names: Vec<String> = created.keys().cloned().collect();
        let usage = self.usage_of(Some(names.as_slice())).await?;
        Ok(usage
            .into_iter()
            .map(|row| v1::Project {
                created_at: created.get(&row.name).copied().map(timestamp),
                name: row.name,
                weight: row.weight,
                max_running: row.max_running.map(|max| max as u32),
                max_gpus: row.max_gpus.map(|max| max as u32),
                paused: row.paused,
                running: row.running as u32,
                gpus: row.gpus as u32,
            })
            .collect())
    }

    /// Makes a project, or changes its share and quotas.
    pub(crate) async fn put_project(&self, project: &v1::PutProjectRequest, weight: f64) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        sqlx::query!(
            "insert into projects (name, weight, max_running, max_gpus) values ($1, $2, $3, $4)
            on conflict (name) do update set weight = $2, max_running = $3, max_gpus = $4",
            project.name,
            weight,
            project.max_running.map(|max| i32::try_from(max).unwrap_or(i32::MAX)),
            project.max_gpus.map(|max| i32::try_from(max).unwrap_or(i32::MAX)),
        )
        .execute(&mut *tx)
        .await?;
        tx.hint(Topic::Tasks);
        tx.commit().await
    }

    /// Pauses or resumes a project.
    pub(crate) async fn pause_project(&self, name: &str, paused: bool) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        let result =
            sqlx::query!("update projects set paused = $2 where name = $1", name, paused).execute(&mut *tx).await?;
        if result.rows_affected() == 0 {
            return Err(ApiError::not_found("project", name).into());
        }
        tx.hint(Topic::Tasks);
        tx.commit().await
    }

    /// Pauses or resumes a queue.
    pub(crate) async fn pause_queue(&self, kind: JobKind, paused: bool) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        sqlx::query!(
            "insert into queues (kind, paused) values ($1, $2) on conflict (kind) do update set paused = $2",
            kind.as_str(),
            paused,
        )
        .execute(&mut *tx)
        .await?;
        tx.hint(Topic::Tasks);
        tx.commit().await
    }

    /// The queues after the one of the kind `after`, in the order of a pipeline.
    pub(crate) async fn queues(&self, after: Option<JobKind>) -> StoreResult<Vec<v1::Queue>> {
        let rows = sqlx::query_file!("src/store/sql/queues.sql").fetch_all(&self.pool).await?;
        let paused = self.paused_queues().await?;
        let place = JobKind::ALL.iter().position(|kind| Some(*kind) == after);
        Ok(JobKind::ALL
            .iter()
            .skip(place.map_or(0, |place| place + 1))
            .map(|kind| {
                let row = rows.iter().find(|row| row.kind == kind.as_str());
                v1::Queue {
                    kind: kind.to_string(),
                    paused: paused.contains(kind.as_str()),
                    ready: row.map_or(0, |row| row.ready as u64),
                    running: row.map_or(0, |row| row.running as u64),
                    oldest_seconds: row.map_or(0.0, |row| row.oldest_seconds),
                }
            })
            .collect())
    }
}
