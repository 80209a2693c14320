//! `/events`: what happens, as server-sent events. One watch at the coordinator per browser; when the coordinator goes
//! away the browser is told so, and the watch goes on where it stopped as soon as the coordinator is back.
//!
//! Three kinds of message: unnamed ones are events of the API as JSON (with their id, unless they are mere progress),
//! `ready` says that the watch stands, `waiting` that the coordinator does not answer.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures::Stream;
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use ursa_proto::v1;

use crate::app::App;

const HEARTBEAT: Duration = Duration::from_secs(10);
const RECONNECT_AFTER: Duration = Duration::from_secs(1);
const BUFFERED: usize = 256;

/// Where to go on, for a browser that opens a new stream; one that reconnects says it in a header.
#[derive(Debug, Deserialize)]
pub(crate) struct Resume {
    after: Option<i64>,
}

/// `GET /events`
pub(crate) async fn stream(
    State(app): State<App>,
    Query(resume): Query<Resume>,
    headers: HeaderMap,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let header = headers.get("last-event-id").and_then(|value| value.to_str().ok()?.parse().ok());
    let (sender, receiver) = mpsc::channel(BUFFERED);
    let relay = Relay { after_id: header.or(resume.after).unwrap_or(-1), sender };
    tokio::spawn(async move { app.stop.run_until_cancelled(relay.run(&app)).await });
    Sse::new(ReceiverStream::new(receiver)).keep_alive(KeepAlive::new().interval(HEARTBEAT))
}

/// One browser that watches.
struct Relay {
    /// Id of the last event sent; -1 before the first.
    after_id: i64,
    sender: mpsc::Sender<Result<Event, Infallible>>,
}

/// The browser has gone.
struct Gone;

impl Relay {
    async fn run(mut self, app: &App) {
        let gone = self.sender.clone();
        tokio::select! { _ = self.relay_for_ever(app) => {}, () = gone.closed() => {} }
    }

    async fn relay_for_ever(&mut self, app: &App) -> Gone {
        loop {
            if let Err(gone) = self.relay_one_watch(app).await {
                return gone;
            }
            if let Err(gone) =
                self.send(Event::default().event("waiting").data("the coordinator does not answer")).await
            {
                return gone;
            }
            tokio::time::sleep(RECONNECT_AFTER).await;
        }
    }

    /// Relays until the coordinator goes away.
    async fn relay_one_watch(&mut self, app: &App) -> Result<(), Gone> {
        let request = v1::WatchEventsRequest { subject: None, after_id: self.after_id };
        let mut events = match app.client.jobs().watch_events(request).await {
            Ok(answer) => answer.into_inner(),
            Err(status) => {
                tracing::debug!(%status, "the coordinator cannot be watched");
                return Ok(());
            }
        };
        self.send(Event::default().event("ready").data("watching")).await?;
        while let Ok(Some(event)) = events.message().await {
            self.after_id = self.after_id.max(event.id);
            self.send(message(&event)).await?;
        }
        Ok(())
    }

    async fn send(&self, event: Event) -> Result<(), Gone> {
        self.sender.send(Ok(event)).await.map_err(|_| Gone)
    }
}

/// What the script needs to know.
#[derive(Serialize)]
struct Notice<'a> {
    id: i64,
    kind: &'a str,
    job: &'a str,
    pipeline: &'a str,
    message: &'a str,
}

fn message(event: &v1::Event) -> Event {
    let notice = Notice {
        id: event.id,
        kind: &event.kind,
        job: &event.job_id,
        pipeline: &event.pipeline_id,
        message: &event.message,
    };
    // Five plain members always serialise.
    let data = serde_json::to_string(&notice).unwrap_or_default();
    // Progress is not recorded and has no id: an id of 0 would make a reconnecting browser start from the beginning.
    if event.id > 0 { Event::default().id(event.id.to_string()).data(data) } else { Event::default().data(data) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_does_not_move_the_place_to_resume_from() {
        let text = |id| format!("{:?}", message(&v1::Event { id, kind: "job.progress".into(), ..Default::default() }));
        assert!(!text(0).contains("id: "), "{}", text(0));
        assert!(text(7).contains("id: 7"), "{}", text(7));
    }
}
