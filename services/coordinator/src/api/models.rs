//! `ModelService`.

use chrono::{DateTime, Utc};
use tonic::{Request, Response};
use ursa_proto::v1;
use ursa_proto::v1::model_service_server::ModelService;

use super::interpret::Interpreter;
use super::{Answer, heatmap, pages, refuse};
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
        let (size, before) = pages::read(request.into_inner().page, place)?;
        let mut models = self.context.store.models(before.as_ref(), size as i64 + 1).await.map_err(refuse)?;
        let next_page_token = pages::next(&mut models, size, token);
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

/// The place of a model in the list: when it was registered, and its digest.
fn token(model: &v1::Model) -> String {
    let at = model.created_at.unwrap_or_default();
    format!("{} {} {}", at.seconds, at.nanos, model.digest)
}

/// Reads what [`token`] wrote.
fn place(token: &str) -> Option<(DateTime<Utc>, String)> {
    let mut parts = token.splitn(3, ' ');
    let seconds = pages::number(parts.next()?)?;
    let at = DateTime::from_timestamp(seconds, pages::number(parts.next()?)?)?;
    let digest = parts.next().filter(|digest| digest.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    Some((at, digest.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_found_again_by_its_token() {
        let at = prost_types::Timestamp { seconds: 1_790_000_000, nanos: 123_456_000 };
        let model = v1::Model { digest: "9f2c".into(), created_at: Some(at), ..v1::Model::default() };
        let (when, digest) = place(&token(&model)).unwrap();
        assert_eq!((ursa_proto::timestamp(when), digest.as_str()), (at, "9f2c"));
        for none in ["9f2c", "1790000000 123456000", "1790000000 123456000 wolf", "1790000000 -1 9f2c"] {
            assert_eq!(place(none), None, "{none}");
        }
    }
}
