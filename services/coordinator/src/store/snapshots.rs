//! Snapshots: what of a dataset is frozen, and the row that makes a manifest count.

use serde_json::json;
use ursa_domain::Lease;
use ursa_domain::run::SnapshotInfo;
use ursa_domain::split::ClassCount;
use ursa_proto::{ApiError, v1};
use uuid::Uuid;

use super::fencing::hold;
use super::models::check_prefix;
use super::tasks::succeed;
use super::{Store, StoreError, StoreResult, jobs};

/// A kept image of a dataset.
#[derive(Debug, Clone)]
pub(crate) struct SnapshotImage {
    /// Its id.
    pub id: Uuid,
    /// Its class.
    pub class_index: i32,
    /// SHA-256 of the bytes as fetched, hex.
    pub sha256: String,
    /// SHA-256 of the normalised pixels, hex.
    pub pixel_sha256: String,
    /// Difference hash.
    pub perceptual_hash: i64,
    /// Key of the shard with the normalised picture.
    pub shard: String,
    /// Offset in the shard, in bytes.
    pub offset: i64,
    /// Length in the shard, in bytes.
    pub length: i64,
    /// Width of the normalised picture.
    pub width: i32,
    /// Height of the normalised picture.
    pub height: i32,
    /// Where it came from.
    pub url: String,
    /// What its file says of its licence; empty when that is nothing.
    pub licence: String,
}

/// A snapshot to store.
#[derive(Debug)]
pub(crate) struct SnapshotRow<'a> {
    /// The dataset's name.
    pub dataset: &'a str,
    /// Its number.
    pub number: u32,
    /// Seed of the split.
    pub seed: u64,
    /// Share of the validation side, in percent.
    pub valid_percent: u32,
    /// SHA-256 of the manifest, hex.
    pub digest: String,
    /// Images per class and side.
    pub classes: &'a [ClassCount],
}

impl Store {
    /// The classes of a dataset in order, its kept images in an order that goes by their content alone, so that a run learns in
    /// the same order from the same pictures, and the number of its next snapshot.
    pub(crate) async fn images_to_freeze(&self, dataset: &str) -> StoreResult<(Vec<String>, Vec<SnapshotImage>, u32)> {
        let classes = sqlx::query_scalar!(
            "select c.name from classes c join datasets d on d.id = c.dataset_id where d.name = $1 order by c.index",
            dataset,
        )
        .fetch_all(&self.pool)
        .await?;
        let images = sqlx::query_as!(
            SnapshotImage,
            r#"select i.id, i.class_index, i.sha256, i.pixel_sha256, i.perceptual_hash, i.normal_shard as "shard!",
                i.normal_offset as offset, i.normal_length as length, i.normal_width as width, i.normal_height as height, s.url, i.licence
            from images i join sources s on s.id = i.id join datasets d on d.id = i.dataset_id
            where d.name = $1 and i.verdict = 'kept' order by i.sha256, i.id"#,
            dataset,
        )
        .fetch_all(&self.pool)
        .await?;
        let number = sqlx::query_scalar!(
            r#"select coalesce(max(s.number), 0) + 1 as "number!" from snapshots s
            join datasets d on d.id = s.dataset_id where d.name = $1"#,
            dataset,
        )
        .fetch_one(&self.pool)
        .await?;
        Ok((classes, images, number as u32))
    }

    /// Ends a snapshot attempt well: the manifest counts from now on. A number taken in the meantime is a database error,
    /// which makes the attempt start over.
    #[tracing::instrument(skip(self, snapshot), err(level = "debug"))]
    pub(crate) async fn complete_snapshot(&self, lease: &Lease, snapshot: &SnapshotRow<'_>) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        let held = hold(&mut tx, lease).await?;
        let id = Uuid::now_v7();
        sqlx::query!(
            "insert into snapshots (id, dataset_id, number, seed, valid_percent, digest, classes, job_id)
            select $1, id, $3, $4, $5, $6, $7, $8 from datasets where name = $2",
            id,
            snapshot.dataset,
            snapshot.number as i32,
            snapshot.seed as i64,
            snapshot.valid_percent as i32,
            snapshot.digest,
            json!(snapshot.classes),
            held.job_id,
        )
        .execute(&mut *tx)
        .await?;
        let output = json!({
            "snapshot_id": id, "dataset": snapshot.dataset, "number": snapshot.number, "digest": snapshot.digest,
            "classes": snapshot.classes,
        });
        jobs::set_output(&mut tx, held.job_id, &output).await?;
        let images: u64 = snapshot.classes.iter().map(|class| class.train + class.valid).sum();
        let message = format!("snapshot {}@{} has {images} images", snapshot.dataset, snapshot.number);
        succeed(&mut tx, &held, message).await?;
        tx.commit().await
    }

    /// Snapshots of a dataset before the one with the number `before`, newest first.
    pub(crate) async fn snapshots(
        &self,
        dataset: &str,
        before: Option<i32>,
        limit: i64,
    ) -> StoreResult<Vec<v1::Snapshot>> {
        let id = self.dataset_id(dataset).await?;
        let rows = sqlx::query!(
            "select id, number, digest, seed, valid_percent, classes, created_at from snapshots
            where dataset_id = $1 and ($2::integer is null or number < $2) order by number desc limit $3",
            id,
            before,
            limit,
        )
        .fetch_all(&self.lists)
        .await?;
        rows.into_iter()
            .map(|row| {
                let classes: Vec<ClassCount> = serde_json::from_value(row.classes)
                    .map_err(|error| StoreError::unreadable("classes of a snapshot", &error))?;
                Ok(v1::Snapshot {
                    id: row.id.to_string(),
                    dataset: dataset.to_owned(),
                    number: row.number as u32,
                    digest: row.digest,
                    seed: row.seed as u64,
                    valid_percent: row.valid_percent as u32,
                    classes: classes
                        .into_iter()
                        .map(|class| v1::SnapshotClass { name: class.class, train: class.train, valid: class.valid })
                        .collect(),
                    created_at: Some(ursa_proto::timestamp(row.created_at)),
                })
            })
            .collect()
    }

    /// The snapshot whose digest starts with `prefix`, if exactly one has such a digest.
    pub(crate) async fn resolve_snapshot(&self, prefix: &str) -> StoreResult<SnapshotInfo> {
        check_prefix("snapshot", prefix)?;
        let mut found = sqlx::query!(
            "select s.id, d.name as dataset, s.number, s.digest from snapshots s join datasets d on d.id = s.dataset_id
            where starts_with(s.digest, $1) order by s.digest limit 2",
            prefix.to_ascii_lowercase(),
        )
        .fetch_all(&self.pool)
        .await?;
        match (found.pop(), found.is_empty()) {
            (Some(row), true) => {
                Ok(SnapshotInfo { id: row.id, dataset: row.dataset, number: row.number as u32, digest: row.digest })
            }
            (Some(_), false) => {
                Err(ApiError::invalid(format!("more than one snapshot starts with {prefix}: give more digits")).into())
            }
            (None, _) => Err(ApiError::not_found("snapshot", prefix).into()),
        }
    }

    /// One snapshot.
    pub(crate) async fn snapshot(&self, id: Uuid) -> StoreResult<SnapshotInfo> {
        let row = sqlx::query!(
            "select d.name as dataset, s.number, s.digest from snapshots s join datasets d on d.id = s.dataset_id
            where s.id = $1",
            id,
        )
        .fetch_optional(&self.pool)
        .await?
        .ok_or_else(|| ApiError::not_found("snapshot", id))?;
        Ok(SnapshotInfo { id, dataset: row.dataset, number: row.number as u32, digest: row.digest })
    }

    /// The id of the dataset called `name`.
    pub(crate) async fn dataset_id(&self, name: &str) -> StoreResult<Uuid> {
        let id =
            sqlx::query_scalar!("select id from datasets where name = $1", name).fetch_optional(&self.pool).await?;
        Ok(id.ok_or_else(|| ApiError::not_found("dataset", name))?)
    }
}
