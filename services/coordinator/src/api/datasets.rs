//! `DatasetService`.

use std::str::FromStr;

use sha2::{Digest, Sha256};
use tonic::{Request, Response};
use ursa_domain::JobSpec;
use ursa_domain::pipeline::{DEFAULT_PROJECT, JobDefinition, PipelineSpec};
use ursa_domain::policy::JobPolicy;
use ursa_domain::spec::{ScrapeOptions, ScrapeSpec};
use ursa_proto::v1::dataset_service_server::DatasetService;
use ursa_proto::{ApiError, ErrorCode, v1};
use ursa_storage::Key;

use super::{Answer, id, jobs, pages, refuse, storage_refused};
use crate::context::Context;
use crate::store::Submission;

/// See the module.
#[derive(Debug)]
pub(crate) struct DatasetApi(pub Context);

const MAX_RETRIED_SOURCES: usize = 10_000;

#[tonic::async_trait]
impl DatasetService for DatasetApi {
    async fn list_datasets(&self, request: Request<v1::ListDatasetsRequest>) -> Answer<v1::ListDatasetsResponse> {
        let (size, after) = pages::read(request.into_inner().page, pages::name)?;
        let mut datasets = self.0.store.datasets(after.as_deref(), size as i64 + 1).await.map_err(refuse)?;
        let next_page_token = pages::next(&mut datasets, size, |dataset| dataset.name.clone());
        Ok(Response::new(v1::ListDatasetsResponse { datasets, next_page_token }))
    }

    async fn get_dataset(&self, request: Request<v1::GetDatasetRequest>) -> Answer<v1::Dataset> {
        Ok(Response::new(self.0.store.dataset(&request.into_inner().name).await.map_err(refuse)?))
    }

    async fn list_images(&self, request: Request<v1::ListImagesRequest>) -> Answer<v1::ListImagesResponse> {
        let request = request.into_inner();
        let (size, after) = pages::read(request.page, pages::id)?;
        let store = &self.0.store;
        let mut images = store
            .images(&request.dataset, &request.verdict, &request.class, after, size as i64 + 1)
            .await
            .map_err(refuse)?;
        let next_page_token = pages::next(&mut images, size, |image| image.id.clone());
        Ok(Response::new(v1::ListImagesResponse { images, next_page_token }))
    }

    async fn get_image(&self, request: Request<v1::GetImageRequest>) -> Answer<v1::GetImageResponse> {
        let request = request.into_inner();
        let image = id("id", &request.id)?;
        let location = self.0.store.image_location(image, request.original).await.map_err(refuse)?;
        let key = Key::from_str(&location.shard).map_err(|error| storage_refused(&error))?;
        let range = location.offset..location.offset + location.length;
        let data = self.0.storage.get_range(&key, range).await.map_err(|error| storage_refused(&error))?;
        let content_type = if request.original { "application/octet-stream" } else { "image/jpeg" };
        Ok(Response::new(v1::GetImageResponse { data, content_type: content_type.into() }))
    }

    async fn list_sources(&self, request: Request<v1::ListSourcesRequest>) -> Answer<v1::ListSourcesResponse> {
        let request = request.into_inner();
        let (size, after) = pages::read(request.page, pages::id)?;
        let store = &self.0.store;
        let mut sources =
            store.sources(&request.dataset, &request.outcome, after, size as i64 + 1).await.map_err(refuse)?;
        let next_page_token = pages::next(&mut sources, size, |source| source.id.clone());
        Ok(Response::new(v1::ListSourcesResponse { sources, next_page_token }))
    }

    async fn retry_sources(&self, request: Request<v1::RetrySourcesRequest>) -> Answer<v1::SubmitPipelineResponse> {
        let request = request.into_inner();
        if request.source_ids.len() > MAX_RETRIED_SOURCES {
            let message = format!("source_ids has {} entries; at most {MAX_RETRIED_SOURCES}", request.source_ids.len());
            return Err(ApiError::invalid(message).into());
        }
        let ids = request.source_ids.iter().map(|text| id("source_ids", text)).collect::<Result<Vec<_>, _>>()?;
        let failed = self.0.store.failed_sources(&request.dataset, &ids).await.map_err(refuse)?;
        if failed.is_empty() {
            let message = format!("none of these sources of dataset {} has failed", request.dataset);
            return Err(ApiError::new(ErrorCode::IllegalState, message).into());
        }
        let spec = retry_pipeline(request.dataset, failed);
        let fingerprint: [u8; 32] = Sha256::digest(spec.name.as_bytes()).into();
        let submission = Submission { pipeline: &spec, idempotency_key: None, rerun_of: None, fingerprint };
        jobs::submit(&self.0, &submission).await.map(Response::new)
    }

    async fn list_snapshots(&self, request: Request<v1::ListSnapshotsRequest>) -> Answer<v1::ListSnapshotsResponse> {
        let request = request.into_inner();
        let (size, before) = pages::read(request.page, pages::number)?;
        let mut snapshots = self.0.store.snapshots(&request.dataset, before, size as i64 + 1).await.map_err(refuse)?;
        let next_page_token = pages::next(&mut snapshots, size, |snapshot| snapshot.number.to_string());
        Ok(Response::new(v1::ListSnapshotsResponse { snapshots, next_page_token }))
    }
}

fn retry_pipeline(dataset: String, sources: Vec<uuid::Uuid>) -> PipelineSpec {
    let name = format!("retry-{dataset}");
    let scrape = ScrapeSpec { dataset, classes: Vec::new(), options: ScrapeOptions::default(), retry_sources: sources };
    let job = JobDefinition {
        name: "scrape".into(),
        after: Vec::new(),
        policy: JobPolicy::default(),
        spec: JobSpec::Scrape(scrape),
    };
    PipelineSpec { name, project: DEFAULT_PROJECT.into(), reuse: false, jobs: vec![job] }
}
