//! `ursa webhook`.

use clap::Subcommand;
use ursa_client::Client;
use ursa_proto::{ApiError, v1};

use super::pages::Limit;
use crate::output::{Column, Output};
use crate::say;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Send events to an address, as signed CloudEvents.
    #[command(after_help = "Examples:
  ursa webhook add https://example.org/hook
  ursa webhook add https://example.org/hook --kind job.failed --kind model. --project zoo

The header Ursa-Signature is `t=SECONDS,v1=HEX`: the HMAC-SHA-256 of `SECONDS.BODY` under the secret printed here.")]
    Add {
        /// Where to: http or https.
        url: String,
        /// Beginning of the kinds of event, for instance job. or job.failed; may be repeated. Without it: job. and model.
        #[arg(long = "kind", value_name = "KIND")]
        kinds: Vec<String>,
        /// Only events of this project.
        #[arg(long, default_value = "", hide_default_value = true)]
        project: String,
    },
    /// List webhooks.
    List {
        #[command(flatten)]
        limit: Limit,
    },
    /// Forget a webhook and its deliveries.
    Remove {
        /// Its id.
        id: String,
    },
    /// List the deliveries of a webhook, newest first.
    Deliveries {
        /// The webhook's id.
        id: String,
        #[command(flatten)]
        limit: Limit,
    },
    /// Send one delivery again, whatever became of it.
    Redeliver {
        /// The delivery's id.
        id: i64,
    },
}

const WEBHOOKS: &[Column] =
    &[("ID", "id"), ("URL", "url"), ("PROJECT", "project"), ("KINDS", "kinds"), ("CREATED", "created_at")];
const CREATED: &[Column] = &[("ID", "webhook/id"), ("URL", "webhook/url"), ("SECRET", "secret")];
const DELIVERIES: &[Column] = &[
    ("ID", "id"),
    ("EVENT", "event_id"),
    ("KIND", "kind"),
    ("STATE", "state"),
    ("ATTEMPTS", "attempts"),
    ("HTTP", "http_status"),
    ("NEXT", "next_at"),
    ("DELIVERED", "delivered_at"),
    ("ERROR", "error"),
];

pub(crate) async fn run(command: &Command, client: &Client, output: &Output) -> anyhow::Result<()> {
    let mut webhooks = client.webhooks();
    match command {
        Command::Add { url, kinds, project } => {
            let request = v1::CreateWebhookRequest { url: url.clone(), project: project.clone(), kinds: kinds.clone() };
            let created = webhooks.create_webhook(request).await.map_err(ApiError::from)?;
            output.print(created.get_ref(), "CreateWebhookResponse", "", CREATED)?;
            say("keep the secret: it signs every delivery and is not shown again");
            Ok(())
        }
        Command::List { limit } => {
            let ask = async |page| client.webhooks().list_webhooks(v1::ListWebhooksRequest { page }).await;
            output.print(&limit.walk(ask).await?, "ListWebhooksResponse", "webhooks", WEBHOOKS)
        }
        Command::Remove { id } => {
            let request = v1::DeleteWebhookRequest { id: id.clone() };
            let answer = webhooks.delete_webhook(request).await.map_err(ApiError::from)?;
            output.print_done(answer.get_ref(), "DeleteWebhookResponse", &format!("webhook {id} is forgotten"))
        }
        Command::Deliveries { id, limit } => {
            let request = |page| v1::ListDeliveriesRequest { page, webhook_id: id.clone() };
            let ask = async |page| client.webhooks().list_deliveries(request(page)).await;
            output.print(&limit.walk(ask).await?, "ListDeliveriesResponse", "deliveries", DELIVERIES)
        }
        Command::Redeliver { id } => {
            let request = v1::RedeliverEventRequest { id: *id };
            let delivery = webhooks.redeliver_event(request).await.map_err(ApiError::from)?;
            output.print(delivery.get_ref(), "Delivery", "", DELIVERIES)
        }
    }
}
