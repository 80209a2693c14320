//! `WebhookService`.

use tonic::{Request, Response, Status};
use ursa_domain::webhook::{DEFAULT_KINDS, FAMILIES, MAX_URL_BYTES, is_beginning_of_a_kind};
use ursa_proto::v1::webhook_service_server::WebhookService;
use ursa_proto::{ApiError, v1};

use super::{Answer, id, name, pages, refuse};
use crate::context::Context;
use crate::store::NewWebhook;

/// See the module.
#[derive(Debug)]
pub(crate) struct WebhookApi(pub Context);

const MAX_KINDS: usize = 20;

#[tonic::async_trait]
impl WebhookService for WebhookApi {
    async fn create_webhook(&self, request: Request<v1::CreateWebhookRequest>) -> Answer<v1::CreateWebhookResponse> {
        let request = request.into_inner();
        self.check_url(&request.url).await?;
        let project = Some(request.project.as_str()).filter(|project| !project.is_empty());
        let secret = hex::encode(rand::random::<[u8; 32]>());
        let new = NewWebhook {
            url: request.url.trim(),
            secret: &secret,
            project: project.map(|project| name("project", project)).transpose()?,
            kinds: &kinds(request.kinds)?,
        };
        let webhook = self.0.store.create_webhook(&new).await.map_err(refuse)?;
        Ok(Response::new(v1::CreateWebhookResponse { webhook: Some(webhook), secret }))
    }

    async fn get_webhook(&self, request: Request<v1::GetWebhookRequest>) -> Answer<v1::Webhook> {
        let id = id("id", &request.into_inner().id)?;
        Ok(Response::new(self.0.store.webhook(id).await.map_err(refuse)?))
    }

    async fn list_webhooks(&self, request: Request<v1::ListWebhooksRequest>) -> Answer<v1::ListWebhooksResponse> {
        let (size, after) = pages::read(request.into_inner().page, pages::id)?;
        let mut webhooks = self.0.store.webhooks(after, size as i64 + 1).await.map_err(refuse)?;
        let next_page_token = pages::next(&mut webhooks, size, |webhook| webhook.id.clone());
        Ok(Response::new(v1::ListWebhooksResponse { webhooks, next_page_token }))
    }

    async fn delete_webhook(&self, request: Request<v1::DeleteWebhookRequest>) -> Answer<v1::DeleteWebhookResponse> {
        let id = id("id", &request.into_inner().id)?;
        self.0.store.delete_webhook(id).await.map_err(refuse)?;
        Ok(Response::new(v1::DeleteWebhookResponse {}))
    }

    async fn list_deliveries(&self, request: Request<v1::ListDeliveriesRequest>) -> Answer<v1::ListDeliveriesResponse> {
        let request = request.into_inner();
        let webhook = id("webhook_id", &request.webhook_id)?;
        let (size, before) = pages::read(request.page, pages::number)?;
        let mut deliveries = self.0.store.deliveries(webhook, before, size as i64 + 1).await.map_err(refuse)?;
        let next_page_token = pages::next(&mut deliveries, size, |delivery| delivery.id.to_string());
        Ok(Response::new(v1::ListDeliveriesResponse { deliveries, next_page_token }))
    }

    async fn redeliver_event(&self, request: Request<v1::RedeliverEventRequest>) -> Answer<v1::Delivery> {
        Ok(Response::new(self.0.store.redeliver(request.into_inner().id).await.map_err(refuse)?))
    }
}

impl WebhookApi {
    /// Refuses what can never be delivered. A name that cannot be looked up now is given a chance; deliveries are checked
    /// again.
    async fn check_url(&self, url: &str) -> Result<(), Status> {
        if url.len() > MAX_URL_BYTES {
            return Err(ApiError::invalid(format!("url has {} bytes; at most {MAX_URL_BYTES}", url.len())).into());
        }
        match self.0.fetcher.check(url).await {
            Err(error) if !error.is_retryable() => Err(ApiError::invalid(format!("url: {error}")).into()),
            _ => Ok(()),
        }
    }
}

fn kinds(wanted: Vec<String>) -> Result<Vec<String>, Status> {
    if wanted.is_empty() {
        return Ok(DEFAULT_KINDS.map(str::to_owned).to_vec());
    }
    if wanted.len() > MAX_KINDS {
        return Err(ApiError::invalid(format!("kinds has {} entries; at most {MAX_KINDS}", wanted.len())).into());
    }
    match wanted.iter().find(|beginning| !is_beginning_of_a_kind(beginning)) {
        None => Ok(wanted),
        Some(bad) => {
            let message =
                format!("kinds: no event's kind begins with {bad:?}; they begin with {}", FAMILIES.join(", "));
            Err(ApiError::invalid(message).into())
        }
    }
}
