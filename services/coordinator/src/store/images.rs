//! Images and the shards they lie in: the effects of scrape and verify tasks, committed with the attempt's end.

use std::collections::BTreeMap;

use ursa_domain::{JobKind, Lease};
use ursa_proto::{ApiError, parse_id, v1};
use uuid::Uuid;

use super::logs::{clean, time_of};
use super::tasks::{Held, hold_to_complete, succeed};
use super::{Store, StoreError, StoreResult, Tx, ensure_rows, jobs};

/// Where an image's bytes lie.
#[derive(Debug, Clone)]
pub(crate) struct ImageLocation {
    /// Key of the shard.
    pub shard: String,
    /// Offset in bytes.
    pub offset: u64,
    /// Length in bytes.
    pub length: u64,
}

impl Store {
    /// The sources a scrape task shall fetch, in order.
    pub(crate) async fn sources_of_task(&self, task_id: Uuid) -> StoreResult<Vec<v1::ScrapeSource>> {
        let rows = sqlx::query!(
            "select s.id, s.url, c.name from sources s
            join classes c on c.dataset_id = s.dataset_id and c.index = s.class_index
            where s.task_id = $1 order by s.class_index, s.line, s.id",
            task_id,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| v1::ScrapeSource { id: row.id.to_string(), url: row.url, class: row.name })
            .collect())
    }

    /// Ends a scrape attempt well: every source gets its outcome, and what was fetched becomes images.
    #[tracing::instrument(skip(self, result), err(level = "debug"))]
    pub(crate) async fn complete_scrape(&self, lease: &Lease, result: &v1::ScrapeResult) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        let Some(held) = hold_to_complete(&mut tx, lease, JobKind::Scrape).await? else { return Ok(()) };
        update_sources(&mut tx, lease.task_id, &result.outcomes).await?;
        if let Some(shard) = &result.shard {
            let dataset =
                sqlx::query_scalar!("select dataset_id from sources where task_id = $1 limit 1", lease.task_id)
                    .fetch_one(&mut *tx)
                    .await?;
            insert_shard(&mut tx, &held, dataset, "raw", shard).await?;
            insert_images(&mut tx, lease.task_id, &shard.key, &result.outcomes).await?;
        }
        let fetched = result.outcomes.iter().filter(|outcome| outcome.error_class.is_empty()).count();
        add_to_output(&mut tx, held.job_id, counts_of(&result.outcomes)).await?;
        succeed(&mut tx, &held, format!("fetched {fetched} of {} URLs", result.outcomes.len())).await?;
        Ok(tx.commit().await?)
    }

    /// Ends a verify attempt well: every image of the raw shard gets its verdict, and exact copies are refused.
    #[tracing::instrument(skip(self, result), err(level = "debug"))]
    pub(crate) async fn complete_verify(&self, lease: &Lease, result: &v1::VerifyResult) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        let Some(held) = hold_to_complete(&mut tx, lease, JobKind::Verify).await? else { return Ok(()) };
        let raw = held.payload["shard_key"].as_str().unwrap_or_default().to_owned();
        let dataset = lock_dataset_of(&mut tx, &raw).await?;
        if mark_verified(&mut tx, &raw).await? {
            if let Some(shard) = &result.shard {
                insert_shard(&mut tx, &held, dataset, "normal", shard).await?;
            }
            let normal = result.shard.as_ref().map(|shard| shard.key.as_str());
            update_verdicts(&mut tx, &raw, normal, &result.verdicts).await?;
            refuse_copies(&mut tx, dataset, &raw).await?;
        }
        let counts = verdict_counts(&mut tx, &raw).await?;
        let kept = counts.get("kept").copied().unwrap_or_default();
        add_to_output(&mut tx, held.job_id, counts).await?;
        succeed(&mut tx, &held, format!("kept {kept} of {} images", result.verdicts.len())).await?;
        Ok(tx.commit().await?)
    }

    /// Where the bytes of an image lie: as fetched, or normalised.
    pub(crate) async fn image_location(&self, id: Uuid, original: bool) -> StoreResult<ImageLocation> {
        let row = sqlx::query!(
            "select raw_shard, raw_offset, raw_length, normal_shard, normal_offset, normal_length from images where id = $1",
            id,
        )
        .fetch_optional(&self.pool)
        .await?
        .ok_or_else(|| ApiError::not_found("image", id))?;
        if original {
            return Ok(location(row.raw_shard, row.raw_offset, row.raw_length));
        }
        let shard = row.normal_shard.ok_or_else(|| ApiError::not_found("normalised picture of image", id))?;
        Ok(location(shard, row.normal_offset, row.normal_length))
    }
}

fn location(shard: String, offset: i64, length: i64) -> ImageLocation {
    ImageLocation { shard, offset: offset as u64, length: length as u64 }
}

/// Adds counts to the job's output, name by name: each task of the job contributes its own.
async fn add_to_output(tx: &mut Tx, job_id: Uuid, counts: BTreeMap<String, u64>) -> StoreResult<()> {
    let output = sqlx::query_scalar!("select output from jobs where id = $1 for no key update", job_id)
        .fetch_one(&mut **tx)
        .await?;
    let mut sums: BTreeMap<String, u64> =
        serde_json::from_value(output).map_err(|error| StoreError::unreadable("job output", &error))?;
    for (name, count) in counts {
        *sums.entry(name).or_default() += count;
    }
    jobs::set_output(tx, job_id, &serde_json::json!(sums)).await
}

fn counts_of(outcomes: &[v1::FetchOutcome]) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for outcome in outcomes {
        let name = if outcome.error_class.is_empty() { "fetched" } else { &outcome.error_class };
        *counts.entry(name.to_owned()).or_default() += 1;
    }
    counts
}

async fn update_sources(tx: &mut Tx, task_id: Uuid, outcomes: &[v1::FetchOutcome]) -> StoreResult<()> {
    for outcome in outcomes {
        let result = sqlx::query!(
            "update sources set outcome = $3, error_class = $4, error = $5, http_status = $6, bytes = $7, sha256 = $8,
                final_url = $9, fetched_at = $10, duration_ms = $11
            where id = $1 and task_id = $2 and outcome = 'pending'",
            parse_id("outcomes.source_id", &outcome.source_id)?,
            task_id,
            if outcome.error_class.is_empty() { "fetched" } else { "failed" },
            outcome.error_class,
            clean(&outcome.error),
            outcome.http_status as i32,
            outcome.bytes as i64,
            outcome.sha256,
            clean(&outcome.final_url),
            time_of(outcome.fetched_at.as_ref()),
            outcome.duration_ms as i32,
        )
        .execute(&mut **tx)
        .await?;
        ensure_rows("source", &result, 1)?;
    }
    Ok(())
}

async fn insert_shard(tx: &mut Tx, held: &Held, dataset: Uuid, kind: &str, shard: &v1::Shard) -> StoreResult<()> {
    sqlx::query!(
        "insert into shards (key, dataset_id, kind, task_id, attempt, sha256, bytes) values ($1, $2, $3, $4, $5, $6, $7)",
        shard.key,
        dataset,
        kind,
        held.lease.task_id,
        held.lease.attempt as i32,
        shard.sha256,
        shard.bytes as i64,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn insert_images(tx: &mut Tx, task_id: Uuid, shard: &str, outcomes: &[v1::FetchOutcome]) -> StoreResult<()> {
    for outcome in outcomes.iter().filter(|outcome| outcome.error_class.is_empty()) {
        let result = sqlx::query!(
            "insert into images (id, dataset_id, class_index, sha256, bytes, raw_shard, raw_offset, raw_length)
            select id, dataset_id, class_index, sha256, bytes, $3, $4, $5 from sources where id = $1 and task_id = $2",
            parse_id("outcomes.source_id", &outcome.source_id)?,
            task_id,
            shard,
            outcome.shard_offset as i64,
            outcome.shard_length as i64,
        )
        .execute(&mut **tx)
        .await?;
        ensure_rows("image", &result, 1)?;
    }
    Ok(())
}

/// Copies are found across shards, so verdicts of one dataset are committed one after the other.
async fn lock_dataset_of(tx: &mut Tx, raw_shard: &str) -> StoreResult<Uuid> {
    let dataset = sqlx::query_scalar!(
        "select d.id from datasets d join shards s on s.dataset_id = d.id where s.key = $1 for no key update of d",
        raw_shard,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(dataset)
}

/// False when another task was faster: its verdicts stand.
async fn mark_verified(tx: &mut Tx, raw_shard: &str) -> StoreResult<bool> {
    let result = sqlx::query!("update shards set verified = true where key = $1 and not verified", raw_shard)
        .execute(&mut **tx)
        .await?;
    Ok(result.rows_affected() == 1)
}

async fn update_verdicts(
    tx: &mut Tx,
    raw_shard: &str,
    normal_shard: Option<&str>,
    verdicts: &[v1::ImageVerdict],
) -> StoreResult<()> {
    for verdict in verdicts {
        let kept = verdict.reason.is_empty();
        let result = sqlx::query!(
            "update images set verdict = $3, reason = $4, detail = $5, width = $6, height = $7, format = $8, mode = $9,
                orientation = $10, pixel_sha256 = $11, perceptual_hash = $12, normal_shard = $13, normal_offset = $14,
                normal_length = $15, normal_width = $16, normal_height = $17
            where id = $1 and raw_shard = $2 and verdict = 'unverified'",
            parse_id("verdicts.image_id", &verdict.image_id)?,
            raw_shard,
            if kept { "kept" } else { "refused" },
            verdict.reason,
            clean(&verdict.detail),
            verdict.width as i32,
            verdict.height as i32,
            verdict.format,
            verdict.mode,
            verdict.orientation as i32,
            verdict.pixel_sha256,
            verdict.perceptual_hash as i64,
            normal_shard.filter(|_| kept),
            verdict.shard_offset as i64,
            verdict.shard_length as i64,
            verdict.normal_width as i32,
            verdict.normal_height as i32,
        )
        .execute(&mut **tx)
        .await?;
        ensure_rows("image", &result, 1)?;
    }
    Ok(())
}

/// Of images with the same bytes the first one listed is kept; the others become its copies, whichever was verified first.
async fn refuse_copies(tx: &mut Tx, dataset: Uuid, raw_shard: &str) -> StoreResult<()> {
    sqlx::query_file!("src/store/sql/refuse_copies.sql", dataset, raw_shard).execute(&mut **tx).await?;
    Ok(())
}

async fn verdict_counts(tx: &mut Tx, raw_shard: &str) -> StoreResult<BTreeMap<String, u64>> {
    let rows = sqlx::query!(
        r#"select case verdict when 'refused' then reason else verdict end as "name!", count(*) as "count!"
        from images where raw_shard = $1 group by 1"#,
        raw_shard,
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows.into_iter().map(|row| (row.name, row.count as u64)).collect())
}
