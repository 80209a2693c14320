//! `QueueService`: projects and queues.

use tonic::{Request, Response};
use ursa_domain::JobKind;
use ursa_domain::pipeline::is_name;
use ursa_proto::v1::queue_service_server::QueueService;
use ursa_proto::{ApiError, v1};

use super::{Answer, kind, pages, refuse};
use crate::context::Context;

/// See the module.
#[derive(Debug)]
pub(crate) struct QueueApi(pub Context);

const MAX_WEIGHT: f64 = 1e6;

#[tonic::async_trait]
impl QueueService for QueueApi {
    async fn list_projects(&self, request: Request<v1::ListProjectsRequest>) -> Answer<v1::ListProjectsResponse> {
        let (size, after) = pages::read(request.into_inner().page, pages::name)?;
        let mut projects = self.0.store.projects(after.as_deref(), size as i64 + 1).await.map_err(refuse)?;
        let next_page_token = pages::next(&mut projects, size, |project| project.name.clone());
        Ok(Response::new(v1::ListProjectsResponse { projects, next_page_token }))
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

    async fn list_queues(&self, request: Request<v1::ListQueuesRequest>) -> Answer<v1::ListQueuesResponse> {
        let (size, after) = pages::read(request.into_inner().page, |token| token.parse::<JobKind>().ok())?;
        let mut queues = self.0.store.queues(after).await.map_err(refuse)?;
        let next_page_token = pages::next(&mut queues, size, |queue| queue.kind.clone());
        Ok(Response::new(v1::ListQueuesResponse { queues, next_page_token }))
    }

    async fn pause_queue(&self, request: Request<v1::PauseQueueRequest>) -> Answer<v1::Queue> {
        let request = request.into_inner();
        let wanted: JobKind = kind("kind", &request.kind)?;
        self.0.store.pause_queue(wanted, request.paused).await.map_err(refuse)?;
        let queues = self.0.store.queues(None).await.map_err(refuse)?;
        let found = queues.into_iter().find(|queue| queue.kind == wanted.as_str());
        Ok(Response::new(found.unwrap_or_default()))
    }
}

impl QueueApi {
    async fn project(&self, name: &str) -> Answer<v1::Project> {
        Ok(Response::new(self.0.store.project(name).await.map_err(refuse)?))
    }
}
