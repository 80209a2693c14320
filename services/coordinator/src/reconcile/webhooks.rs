//! Sends events to webhooks. A receiver that takes its time holds up its own deliveries only: each has a share of what
//! may be under way.

use std::collections::HashMap;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use ursa_domain::webhook;
use uuid::Uuid;

use super::{SWEEP, note};
use crate::context::Context;
use crate::hub;
use crate::store::{ClaimedDelivery, StoreResult, Topic};

const AT_A_TIME: usize = 64;
const PER_WEBHOOK: i64 = 4;
/// Longer than any request; after that, whoever sent it is gone, and it is sent again.
const HOLD: Duration = Duration::from_secs(30);
const TIDY: Duration = Duration::from_mins(10);

/// Runs until told to stop; ends what is under way then.
pub(super) async fn run(context: Context, stop: CancellationToken) {
    let mut wake = context.hub.subscribe(Topic::Deliveries);
    let mut tidying = tokio::time::interval(TIDY);
    let mut sender = Sender { context, work: JoinSet::new(), under_way: HashMap::new() };
    let patience = sender.context.store.patience().long();
    let mut outage = false;
    loop {
        wake.borrow_and_update();
        note("webhooks", patience.with(sender.begin()).await, &mut outage);
        tokio::select! {
            () = stop.cancelled() => break,
            Some(ended) = sender.work.join_next_with_id() => sender.end(ended),
            _ = tidying.tick() => note("webhooks", patience.with(sender.tidy()).await, &mut outage),
            () = hub::wait(&mut wake, SWEEP) => {}
        }
    }
    while sender.work.join_next().await.is_some() {}
}

struct Sender {
    context: Context,
    work: JoinSet<()>,
    /// The webhooks that deliveries go to.
    under_way: HashMap<Id, Uuid>,
}

impl Sender {
    /// Begins to send what is due, as far as there is room.
    async fn begin(&mut self) -> StoreResult<()> {
        let room = AT_A_TIME - self.work.len().min(AT_A_TIME);
        if room == 0 {
            return Ok(());
        }
        let mut counts: HashMap<Uuid, i64> = HashMap::new();
        for webhook in self.under_way.values() {
            *counts.entry(*webhook).or_default() += 1;
        }
        let due = self.context.store.claim_deliveries(room as i64, PER_WEBHOOK, &counts, HOLD).await?;
        for delivery in due {
            let webhook = delivery.webhook_id;
            let handle = self.work.spawn(send(self.context.clone(), delivery));
            self.under_way.insert(handle.id(), webhook);
        }
        Ok(())
    }

    /// A panic is a bug; what it was about is sent again.
    fn end(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
        self.under_way.remove(&id);
    }

    async fn tidy(&self) -> StoreResult<()> {
        let forgotten = self.context.store.tidy_deliveries().await?;
        if forgotten > 0 {
            tracing::debug!(forgotten, "forgot deliveries of webhooks that are gone");
        }
        Ok(())
    }
}

async fn send(context: Context, delivery: ClaimedDelivery) {
    let signature = webhook::signature(&delivery.secret, delivery.at.timestamp(), &delivery.body);
    let headers = [("Content-Type", "application/cloudevents+json"), ("Ursa-Signature", signature.as_str())];
    let sent = context.fetcher.post(&delivery.url, &headers, delivery.body.clone()).await;
    let (status, error) = match sent {
        Ok(status) => (status, complaint(status)),
        Err(error) => (0, Some(error.to_string())),
    };
    let noted = match error {
        None => context.store.note_delivered(&delivery, status).await,
        Some(error) => {
            let backoff = webhook::backoff(context.config.webhook_first_wait);
            let wait = backoff.delay(delivery.attempts as u32, rand::random());
            context.store.note_undelivered(&delivery, status, &error, wait).await
        }
    };
    if let Err(error) = noted {
        tracing::info!(%error, delivery = delivery.id, "could not note what became of a delivery; it is sent again");
    }
}

/// What is wrong with an answer, if anything.
fn complaint(status: u16) -> Option<String> {
    match status {
        200..=299 => None,
        300..=399 => {
            Some(format!("the receiver answered {status}: redirects are not followed, give the address they lead to"))
        }
        _ => Some(format!("the receiver answered {status}")),
    }
}
