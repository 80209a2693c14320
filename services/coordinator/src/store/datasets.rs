//! Datasets as users see them: counts, images, and what became of every URL.

use std::collections::{BTreeMap, HashMap};

use ursa_proto::{ApiError, v1};
use uuid::Uuid;

use super::{Store, StoreResult};

impl Store {
    /// One dataset, with counts.
    pub(crate) async fn dataset(&self, name: &str) -> StoreResult<v1::Dataset> {
        let dataset = self.select_datasets(Some(name), None, 1).await?.pop();
        Ok(dataset.ok_or_else(|| ApiError::not_found("dataset", name))?)
    }

    /// Datasets with names after `after`, in their order, with counts.
    pub(crate) async fn datasets(&self, after: Option<&str>, limit: i64) -> StoreResult<Vec<v1::Dataset>> {
        self.select_datasets(None, after, limit).await
    }

    async fn select_datasets(
        &self,
        name: Option<&str>,
        after: Option<&str>,
        limit: i64,
    ) -> StoreResult<Vec<v1::Dataset>> {
        let rows = sqlx::query!(
            r#"select d.id, d.name, d.created_at,
                coalesce((select max(number) from snapshots s where s.dataset_id = d.id), 0) as "latest!"
            from datasets d where ($1::text is null or d.name = $1) and ($2::text is null or d.name > $2)
            order by d.name limit $3"#,
            name,
            after,
            limit,
        )
        .fetch_all(&self.lists)
        .await?;
        let mut datasets = Vec::with_capacity(rows.len());
        for row in rows {
            datasets.push(v1::Dataset {
                name: row.name,
                classes: self.class_summaries(row.id).await?,
                sources: self.source_counts(row.id).await?,
                images: self.image_counts(row.id).await?,
                latest_snapshot: row.latest as u32,
                created_at: Some(ursa_proto::timestamp(row.created_at)),
            });
        }
        Ok(datasets)
    }

    async fn class_summaries(&self, dataset: Uuid) -> StoreResult<Vec<v1::ClassSummary>> {
        let rows = sqlx::query!(
            r#"select c.name,
                (select count(*) from sources s where s.dataset_id = $1 and s.class_index = c.index) as "sources!",
                (select count(*) from images i where i.dataset_id = $1 and i.class_index = c.index and i.verdict = 'kept') as "kept!",
                (select count(*) from images i where i.dataset_id = $1 and i.class_index = c.index and i.verdict = 'refused') as "refused!"
            from classes c where c.dataset_id = $1 order by c.index"#,
            dataset,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| v1::ClassSummary {
                name: row.name,
                sources: row.sources as u64,
                kept: row.kept as u64,
                refused: row.refused as u64,
            })
            .collect())
    }

    async fn source_counts(&self, dataset: Uuid) -> StoreResult<BTreeMap<String, u64>> {
        let rows = sqlx::query!(
            r#"select case outcome when 'failed' then error_class else outcome end as "name!", count(*) as "count!"
            from sources where dataset_id = $1 group by 1"#,
            dataset,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(|row| (row.name, row.count as u64)).collect())
    }

    async fn image_counts(&self, dataset: Uuid) -> StoreResult<BTreeMap<String, u64>> {
        let rows = sqlx::query!(
            r#"select case verdict when 'refused' then reason else verdict end as "name!", count(*) as "count!"
            from images where dataset_id = $1 group by 1"#,
            dataset,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(|row| (row.name, row.count as u64)).collect())
    }

    /// Images of a dataset after `after`, by id. `verdict` is a verdict or a reason of refusal; empty filters match all.
    pub(crate) async fn images(
        &self,
        dataset: &str,
        verdict: &str,
        class: &str,
        after: Option<Uuid>,
        limit: i64,
    ) -> StoreResult<Vec<v1::Image>> {
        let dataset = self.dataset_id(dataset).await?;
        let rows = sqlx::query!(
            "select i.id, c.name as class, i.verdict, i.reason, i.detail, i.sha256, i.bytes, i.width, i.height, i.format,
                i.duplicate_of, s.url
            from images i join sources s on s.id = i.id
            join classes c on c.dataset_id = i.dataset_id and c.index = i.class_index
            where i.dataset_id = $1 and ($2 = '' or i.verdict = $2 or i.reason = $2) and ($3 = '' or c.name = $3)
                and ($4::uuid is null or i.id > $4)
            order by i.id limit $5",
            dataset,
            verdict,
            class,
            after,
            limit,
        )
        .fetch_all(&self.lists)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| v1::Image {
                id: row.id.to_string(),
                class: row.class,
                verdict: row.verdict,
                reason: row.reason,
                detail: row.detail,
                sha256: row.sha256,
                bytes: row.bytes as u64,
                width: row.width as u32,
                height: row.height as u32,
                format: row.format,
                duplicate_of: row.duplicate_of.map(|id| id.to_string()).unwrap_or_default(),
                url: row.url,
            })
            .collect())
    }

    /// Sources of a dataset after `after`, by id. `outcome` is an outcome or an error class; empty matches all.
    pub(crate) async fn sources(
        &self,
        dataset: &str,
        outcome: &str,
        after: Option<Uuid>,
        limit: i64,
    ) -> StoreResult<Vec<v1::Source>> {
        let dataset = self.dataset_id(dataset).await?;
        let rows = sqlx::query!(
            "select s.id, c.name as class, s.list_name, s.line, s.url, s.outcome, s.error_class, s.error, s.http_status,
                s.bytes, s.sha256, s.final_url, s.fetched_at, s.duration_ms
            from sources s join classes c on c.dataset_id = s.dataset_id and c.index = s.class_index
            where s.dataset_id = $1 and ($2 = '' or s.outcome = $2 or s.error_class = $2) and ($3::uuid is null or s.id > $3)
            order by s.id limit $4",
            dataset,
            outcome,
            after,
            limit,
        )
        .fetch_all(&self.lists)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| v1::Source {
                id: row.id.to_string(),
                class: row.class,
                list_name: row.list_name,
                line: row.line as u32,
                url: row.url,
                outcome: row.outcome,
                error_class: row.error_class,
                error: row.error,
                http_status: row.http_status as u32,
                bytes: row.bytes as u64,
                sha256: row.sha256,
                final_url: row.final_url,
                fetched_at: row.fetched_at.map(ursa_proto::timestamp),
                duration_ms: row.duration_ms as u32,
            })
            .collect())
    }

    /// Where images came from; those that are not known any more are left out.
    pub(crate) async fn source_urls(&self, ids: &[Uuid]) -> StoreResult<HashMap<Uuid, String>> {
        let rows = sqlx::query!("select id, url from sources where id = any ($1)", ids).fetch_all(&self.pool).await?;
        Ok(rows.into_iter().map(|row| (row.id, row.url)).collect())
    }

    /// The failed ones among `ids`, or all failed sources when `ids` is empty.
    pub(crate) async fn failed_sources(&self, dataset: &str, ids: &[Uuid]) -> StoreResult<Vec<Uuid>> {
        let dataset = self.dataset_id(dataset).await?;
        let failed = sqlx::query_scalar!(
            "select id from sources where dataset_id = $1 and outcome = 'failed'
                and (cardinality($2::uuid[]) = 0 or id = any ($2)) order by id",
            dataset,
            ids,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(failed)
    }
}
