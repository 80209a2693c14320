//! What a job logs: what there is, or until it has ended.

use std::time::Duration;

use ursa_client::Client;
use ursa_proto::v1::watch_events_request::Subject;
use ursa_proto::{ApiError, v1};

use super::watch;
use crate::output::line_if_read;

/// How often a job that is followed is asked for what it has logged since.
const LOOK: Duration = Duration::from_millis(500);

/// Prints what a job has logged so far.
pub(super) async fn print(client: &Client, id: &str) -> anyhow::Result<()> {
    Log::of(client, id).print_rest().await.map(drop)
}

/// Prints what a job has logged so far and what comes until it has ended, or until nobody reads it any more. A lost
/// connection is taken up where it broke.
pub(super) async fn follow(client: &Client, id: &str) -> anyhow::Result<()> {
    let mut log = Log::of(client, id);
    let mut ended = std::pin::pin!(watch::end(client, Subject::JobId(id.to_owned())));
    loop {
        if !log.print_through_losses().await? {
            return Ok(());
        }
        tokio::select! {
            outcome = &mut ended => {
                outcome?;
                // Attempts say all they have to say before they end.
                return log.print_through_losses().await.map(drop);
            }
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// The log of a job, and how far it was printed.
struct Log<'a> {
    client: &'a Client,
    job: &'a str,
    after_id: i64,
}

impl<'a> Log<'a> {
    fn of(client: &'a Client, job: &'a str) -> Self {
        Self { client, job, after_id: 0 }
    }

    /// As [`Log::print_rest`], again and again until the coordinator answers.
    async fn print_through_losses(&mut self) -> anyhow::Result<bool> {
        loop {
            match self.print_rest().await {
                Err(error) if error.downcast_ref::<ApiError>().is_some_and(ApiError::is_retryable) => {
                    tracing::warn!(%error, "lost the coordinator; reading on as soon as it is back");
                    tokio::time::sleep(watch::RECONNECT).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// Prints the lines that were not printed yet; false when nobody reads them any more.
    async fn print_rest(&mut self) -> anyhow::Result<bool> {
        loop {
            let request = v1::ListLogsRequest { job_id: self.job.to_owned(), after_id: self.after_id, limit: 0 };
            let lines = self.client.jobs().list_logs(request).await.map_err(ApiError::from)?.into_inner().lines;
            if lines.is_empty() {
                return Ok(true);
            }
            for entry in &lines {
                if !line_if_read(&format!("{:<5} {}", entry.level, entry.message))? {
                    return Ok(false);
                }
                self.after_id = entry.id;
            }
        }
    }
}
