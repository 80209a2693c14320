//! `QueueService`: projects and queues.

use tonic::{Request, Response};
use ursa_domain::JobKind;
use ursa_domain::pipeline::is_name;
use ursa_proto::v1::queue_service_server::QueueService;
use ursa_proto::{ApiError, v1};

use super::{Answer, kind, refuse};
use crate::context::Context;

/// See the module.
#[derive(Debug)]
pub(crate) struct QueueApi(pub Context);

const MAX_WEIGHT: f64 = 1e6;

#[tonic::async_trait]
impl QueueService for QueueApi {
    async fn list_projects(&self, _: Request<v1::ListProjectsRequest>) -> Answer<v1::ListProjectsResponse> {
        let projects = self.0.store.projects().await.map_err(refuse)?;
        Ok(Response::new(v1::ListProjectsResponse { projects }))
    }

    async fn put_project(&self, request: Request<v1::PutProjectRequest>) -> Answer<v1::Project> {
        let request = request.into_inner();
        if !is_name(&request.name) {
            let message =
                format!("name {:?} is not a name: use 1 to 100 letters, digits, '-', '_' and '.'", request.name);
            return Err(ApiError::invalid(message).into());
        }
        let weight = if request.weight == 0.0 { 1.0 } else { request.weight };
        if !(weight > 0.0 && weight <= MAX_WEIGHT) {
            return Err(
                ApiError::invalid(format!("weight is {weight}; it must be above 0 and at most a million")).into()
            );
        }
        self.0.store.put_project(&request, weight).await.map_err(refuse)?;
        self.project(&request.name).await
    }

    async fn pause_project(&self, request: Request<v1::PauseProjectRequest>) -> Answer<v1::Project> {
        let request = request.into_inner();
        self.0.store.pause_project(&request.name, request.paused).await.map_err(refuse)?;
        self.project(&request.name).await
    }

    async fn list_queues(&self, _: Request<v1::ListQueuesRequest>) -> Answer<v1::ListQueuesResponse> {
        let queues = self.0.store.queues().await.map_err(refuse)?;
        Ok(Response::new(v1::ListQueuesResponse { queues }))
    }

    async fn pause_queue(&self, request: Request<v1::PauseQueueRequest>) -> Answer<v1::Queue> {
        let request = request.into_inner();
        let wanted: JobKind = kind("kind", &request.kind)?;
        self.0.store.pause_queue(wanted, request.paused).await.map_err(refuse)?;
        let queues = self.0.store.queues().await.map_err(refuse)?;
        let found = queues.into_iter().find(|queue| queue.kind == wanted.as_str());
        Ok(Response::new(found.unwrap_or_default()))
    }
}

impl QueueApi {
    async fn project(&self, name: &str) -> Answer<v1::Project> {
        Ok(Response::new(self.0.store.project(name).await.map_err(refuse)?))
    }
}
