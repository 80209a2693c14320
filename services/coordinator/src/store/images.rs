//! Images and the shards they lie in: the effects of scrape and verify tasks, committed with the attempt's end.

use std::collections::BTreeMap;

use ursa_domain::{JobKind, Lease};
use ursa_proto::{ApiError, parse_id, v1};
use uuid::Uuid;

use super::fencing::{Held, hold_to_complete};
use super::logs::{clean, time_of};
use super::results::{check_complete, check_scrape, check_verify};
use super::tasks::succeed;
use super::{Store, StoreError, StoreResult, Tx, ensure_rows, jobs};

/// Characters of a licence.
const MAX_LICENCE: usize = 200;

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
        check_scrape(lease, result)?;
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
        tx.commit().await
    }

    /// Ends a verify attempt well: every image of the raw shard gets its verdict, and exact copies are refused.
    #[tracing::instrument(skip(self, result), err(level = "debug"))]
    pub(crate) async fn complete_verify(&self, lease: &Lease, result: &v1::VerifyResult) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        let Some(held) = hold_to_complete(&mut tx, lease, JobKind::Verify).await? else { return Ok(()) };
        check_verify(lease, result)?;
        let raw = held.payload["shard_key"].as_str().unwrap_or_default().to_owned();
        let dataset = dataset_of(&mut tx, &raw).await?;
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
        tx.commit().await
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

    /// The class that an image is labelled with.
    pub(crate) async fn label_of(&self, id: Uuid) -> StoreResult<String> {
        let label = sqlx::query_scalar!(
            "select c.name from images i join classes c on c.dataset_id = i.dataset_id and c.index = i.class_index
            where i.id = $1",
            id,
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(label.ok_or_else(|| ApiError::not_found("image", id))?)
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

/// Gives every source of a task its outcome: each exactly one.
async fn update_sources(tx: &mut Tx, task_id: Uuid, outcomes: &[v1::FetchOutcome]) -> StoreResult<()> {
    let ids = ids("outcomes.source_id", outcomes.iter().map(|outcome| &outcome.source_id))?;
    let given = sqlx::query_file!(
        "src/store/sql/update_sources.sql",
        task_id,
        &ids,
        &column(outcomes, |o| o.error_class.clone()),
        &column(outcomes, |o| clean(&o.error)),
        &column(outcomes, |o| o.http_status as i32),
        &column(outcomes, |o| o.bytes as i64),
        &column(outcomes, |o| o.sha256.clone()),
        &column(outcomes, |o| clean(&o.final_url)),
        &column(outcomes, |o| time_of(o.fetched_at.as_ref())),
        &column(outcomes, |o| o.duration_ms as i32),
    )
    .execute(&mut **tx)
    .await?
    .rows_affected();
    let left = sqlx::query_scalar!(
        r#"select count(*) as "count!" from sources where task_id = $1 and outcome = 'pending'"#,
        task_id,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(check_complete("outcomes", "source of the task", outcomes.len() as u64, given, left as u64)?)
}

fn ids<'a>(field: &str, texts: impl Iterator<Item = &'a String>) -> StoreResult<Vec<Uuid>> {
    Ok(texts.map(|text| parse_id(field, text)).collect::<Result<_, _>>()?)
}

pub(super) fn column<R, T>(rows: &[R], pick: impl Fn(&R) -> T) -> Vec<T> {
    rows.iter().map(pick).collect()
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
    let fetched: Vec<_> = outcomes.iter().filter(|outcome| outcome.error_class.is_empty()).collect();
    let ids = ids("outcomes.source_id", fetched.iter().map(|outcome| &outcome.source_id))?;
    let result = sqlx::query!(
        "insert into images (id, dataset_id, class_index, sha256, bytes, raw_shard, raw_offset, raw_length)
        select s.id, s.dataset_id, s.class_index, s.sha256, s.bytes, $2, o.shard_offset, o.shard_length
        from unnest($3::uuid[], $4::bigint[], $5::bigint[]) as o (id, shard_offset, shard_length)
        join sources s on s.id = o.id and s.task_id = $1",
        task_id,
        shard,
        &ids,
        &column(&fetched, |o| o.shard_offset as i64),
        &column(&fetched, |o| o.shard_length as i64),
    )
    .execute(&mut **tx)
    .await?;
    ensure_rows("image", &result, fetched.len() as u64)
}

async fn dataset_of(tx: &mut Tx, raw_shard: &str) -> StoreResult<Uuid> {
    let dataset =
        sqlx::query_scalar!("select dataset_id from shards where key = $1", raw_shard).fetch_one(&mut **tx).await?;
    Ok(dataset)
}

/// False when another task was faster: its verdicts stand.
async fn mark_verified(tx: &mut Tx, raw_shard: &str) -> StoreResult<bool> {
    let result = sqlx::query!("update shards set verified = true where key = $1 and not verified", raw_shard)
        .execute(&mut **tx)
        .await?;
    Ok(result.rows_affected() == 1)
}

/// Gives every image of a raw shard its verdict: each exactly one.
async fn update_verdicts(
    tx: &mut Tx,
    raw_shard: &str,
    normal_shard: Option<&str>,
    verdicts: &[v1::ImageVerdict],
) -> StoreResult<()> {
    let given = sqlx::query_file!(
        "src/store/sql/update_verdicts.sql",
        raw_shard,
        normal_shard,
        &ids("verdicts.image_id", verdicts.iter().map(|verdict| &verdict.image_id))?,
        &column(verdicts, |v| v.reason.clone()),
        &column(verdicts, |v| clean(&v.detail)),
        &column(verdicts, |v| v.width as i32),
        &column(verdicts, |v| v.height as i32),
        &column(verdicts, |v| v.format.clone()),
        &column(verdicts, |v| v.mode.clone()),
        &column(verdicts, |v| v.orientation as i32),
        &column(verdicts, |v| v.pixel_sha256.clone()),
        &column(verdicts, |v| v.perceptual_hash as i64),
        &column(verdicts, |v| v.shard_offset as i64),
        &column(verdicts, |v| v.shard_length as i64),
        &column(verdicts, |v| v.normal_width as i32),
        &column(verdicts, |v| v.normal_height as i32),
        &column(verdicts, |v| cut(&clean(&v.licence))),
    )
    .execute(&mut **tx)
    .await?
    .rows_affected();
    let left = sqlx::query_scalar!(
        r#"select count(*) as "count!" from images where raw_shard = $1 and verdict = 'unverified'"#,
        raw_shard,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(check_complete("verdicts", "image of the shard", verdicts.len() as u64, given, left as u64)?)
}

/// Of images with the same bytes the first one listed is kept; the others become its copies, whichever was verified first.
/// They are found across shards, so whoever looks for them waits for others' verdicts on the dataset to be committed.
async fn refuse_copies(tx: &mut Tx, dataset: Uuid, raw_shard: &str) -> StoreResult<()> {
    sqlx::query!("select from datasets where id = $1 for no key update", dataset).execute(&mut **tx).await?;
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

/// What a worker says of a licence, as far as it is believed.
fn cut(licence: &str) -> String {
    licence.chars().take(MAX_LICENCE).collect()
}
