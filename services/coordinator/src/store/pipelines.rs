//! Pipelines as whoever asks sees them; how they come in is in `submission`.

use chrono::{DateTime, Utc};
use ursa_domain::pipeline::PipelineSpec;
use ursa_proto::ApiError;
use uuid::Uuid;

use super::jobs::JobRow;
use super::{Store, StoreError, StoreResult};

/// A stored pipeline.
#[derive(Debug, Clone)]
pub(crate) struct PipelineRow {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub project: String,
    /// The pipeline that it runs again.
    pub rerun_of: Option<Uuid>,
    /// When it was submitted.
    pub created_at: DateTime<Utc>,
}

impl Store {
    /// A pipeline as it was specified.
    pub(crate) async fn pipeline_spec(&self, id: Uuid) -> StoreResult<PipelineSpec> {
        let spec = sqlx::query_scalar!("select spec from pipelines where id = $1", id)
            .fetch_optional(&self.pool)
            .await?
            .ok_or_else(|| ApiError::not_found("pipeline", id))?;
        serde_json::from_value(spec).map_err(|error| StoreError::unreadable("pipeline specification", &error))
    }

    /// One pipeline with its jobs.
    pub(crate) async fn pipeline(&self, id: Uuid) -> StoreResult<(PipelineRow, Vec<JobRow>)> {
        let row = sqlx::query_as!(
            PipelineRow,
            "select id, name, project, rerun_of, created_at from pipelines where id = $1",
            id
        )
        .fetch_optional(&self.pool)
        .await?
        .ok_or_else(|| ApiError::not_found("pipeline", id))?;
        Ok((row, self.jobs_of_pipelines(&[id]).await?))
    }

    /// Pipelines older than `before`, newest first, with their jobs.
    pub(crate) async fn pipelines(
        &self,
        project: Option<&str>,
        before: Option<Uuid>,
        limit: i64,
    ) -> StoreResult<Vec<(PipelineRow, Vec<JobRow>)>> {
        let rows = sqlx::query_as!(
            PipelineRow,
            "select id, name, project, rerun_of, created_at from pipelines
            where ($1::uuid is null or id < $1) and ($3::text is null or project = $3) order by id desc limit $2",
            before,
            limit,
            project,
        )
        .fetch_all(&self.lists)
        .await?;
        let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
        let mut jobs = self.jobs_of_pipelines(&ids).await?;
        Ok(rows
            .into_iter()
            .map(|row| {
                let (mine, rest) = std::mem::take(&mut jobs).into_iter().partition(|job| job.pipeline_id == row.id);
                jobs = rest;
                (row, mine)
            })
            .collect())
    }
}
