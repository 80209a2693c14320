//! `EndpointService`.

use tonic::{Request, Response};
use ursa_domain::pipeline::is_name;
use ursa_proto::v1::endpoint_service_server::EndpointService;
use ursa_proto::{ApiError, v1};

use super::{Answer, pages, refuse};
use crate::context::Context;

/// See the module.
#[derive(Debug)]
pub(crate) struct EndpointApi(pub Context);

#[tonic::async_trait]
impl EndpointService for EndpointApi {
    async fn list_endpoints(&self, request: Request<v1::ListEndpointsRequest>) -> Answer<v1::ListEndpointsResponse> {
        let (size, after) = pages::read(request.into_inner().page, pages::name)?;
        let patience = self.0.config.patience();
        let mut endpoints =
            self.0.store.endpoints(after.as_deref(), size as i64 + 1, patience).await.map_err(refuse)?;
        let next_page_token = pages::next(&mut endpoints, size, |endpoint| endpoint.name.clone());
        Ok(Response::new(v1::ListEndpointsResponse { endpoints, next_page_token }))
    }

    async fn get_endpoint(&self, request: Request<v1::GetEndpointRequest>) -> Answer<v1::Endpoint> {
        self.endpoint(&request.into_inner().name).await
    }

    async fn deploy(&self, request: Request<v1::DeployRequest>) -> Answer<v1::Endpoint> {
        let request = request.into_inner();
        if !is_name(&request.endpoint) {
            let message =
                format!("{:?} cannot be an endpoint's name: use letters, digits, '-', '_' and '.'", request.endpoint);
            return Err(ApiError::invalid(message).into());
        }
        let digest = self.0.store.resolve_model(&request.model_digest).await.map_err(refuse)?;
        self.0.store.deploy(&request.endpoint, &digest).await.map_err(refuse)?;
        self.endpoint(&request.endpoint).await
    }
}

impl EndpointApi {
    async fn endpoint(&self, name: &str) -> Answer<v1::Endpoint> {
        let endpoint = self.0.store.endpoint(name, self.0.config.patience()).await.map_err(refuse)?;
        Ok(Response::new(endpoint))
    }
}
