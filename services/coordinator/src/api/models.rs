//! `ModelService`.

use tonic::{Request, Response};
use ursa_proto::v1;
use ursa_proto::v1::model_service_server::ModelService;

use super::interpret::Interpreter;
use super::{Answer, heatmap, next_page, page, refuse};
use crate::context::Context;

/// See the module.
#[derive(Debug)]
pub(crate) struct ModelApi {
    context: Context,
    interpreter: Interpreter,
}

impl ModelApi {
    pub(crate) fn new(context: Context) -> Self {
        Self { context, interpreter: Interpreter::new() }
    }
}

#[tonic::async_trait]
impl ModelService for ModelApi {
    async fn list_models(&self, request: Request<v1::ListModelsRequest>) -> Answer<v1::ListModelsResponse> {
        let (size, token) = page(request.into_inner().page)?;
        let mut models = self.context.store.models(token.as_deref(), size as i64 + 1).await.map_err(refuse)?;
        let next_page_token = next_page(&mut models, size, |model| model.digest.clone());
        Ok(Response::new(v1::ListModelsResponse { models, next_page_token }))
    }

    async fn get_model(&self, request: Request<v1::GetModelRequest>) -> Answer<v1::Model> {
        let digest = self.context.store.resolve_model(&request.into_inner().digest).await.map_err(refuse)?;
        let evaluations = self.context.store.evaluations(&digest).await.map_err(refuse)?;
        let model = self.context.store.model(&digest).await.map_err(refuse)?;
        Ok(Response::new(v1::Model { evaluations, ..model }))
    }

    async fn interpret_model(&self, request: Request<v1::InterpretModelRequest>) -> Answer<v1::Interpretation> {
        self.interpreter.interpret(&self.context, request.into_inner()).await.map(Response::new)
    }

    async fn get_heatmap(&self, request: Request<v1::GetHeatmapRequest>) -> Answer<v1::Heatmap> {
        heatmap::get(&self.context, &request.into_inner()).await.map(Response::new)
    }
}
