//! Watching until the end, through losses of the connection.

use std::time::Duration;

use ursa_client::Client;
use ursa_proto::v1::watch_events_request::Subject;
use ursa_proto::{ApiError, v1};

use crate::output::line;

const RECONNECT: Duration = Duration::from_secs(1);

/// Prints events as they happen until the subject has ended. A lost connection is taken up where it broke.
pub(super) async fn until_ended(client: &Client, subject: Subject) -> anyhow::Result<()> {
    let mut after_id = 0;
    loop {
        match follow(client, subject.clone(), &mut after_id).await {
            Ok(()) => return Ok(()),
            Err(error) if error.is_retryable() => {
                tracing::warn!(%error, "lost the coordinator; watching on as soon as it is back");
                tokio::time::sleep(RECONNECT).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

async fn follow(client: &Client, subject: Subject, after_id: &mut i64) -> Result<(), ApiError> {
    let request = v1::WatchEventsRequest { subject: Some(subject), after_id: *after_id };
    let mut events = client.jobs().watch_events(request).await?.into_inner();
    while let Some(event) = events.message().await? {
        *after_id = event.id.max(*after_id);
        // Who reads the lines may have gone; the watch goes on for its exit code.
        let _ = line(&format!("{:<16} {}", event.kind, event.message));
    }
    Ok(())
}
