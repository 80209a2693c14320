//! Server-sent events: delivered, resumed, and honest about a coordinator that is away.

use std::future::Future;

use tokio::net::TcpListener;
use ursa_proto::v1;

use crate::data::{bears, id, job_id};
use crate::fake::{Fake, Script};
use crate::setup::{Dashboard, PATIENCE, serve, start};

/// Waits for `condition` to hold, but not for ever.
pub(crate) async fn eventually<F: Future<Output = bool>>(condition: impl Fn() -> F) {
    let waiting = async {
        while !condition().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("the condition did not come to hold");
}

fn event(number: i64, kind: &str) -> v1::Event {
    v1::Event {
        id: number,
        job_id: job_id(4),
        pipeline_id: id(1, 1),
        kind: kind.into(),
        message: "line one\nline two".into(),
        ..Default::default()
    }
}

/// A browser's end of `/events`.
struct Stream {
    answer: reqwest::Response,
    text: String,
}

impl Stream {
    async fn open(dashboard: &Dashboard, path: &str, last_event_id: Option<&str>) -> Self {
        let mut request = dashboard.http.get(dashboard.url(path));
        if let Some(last) = last_event_id {
            request = request.header("last-event-id", last);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Self { answer, text: String::new() }
    }

    /// Reads on until one more message that holds `text` has come whole.
    async fn until(&mut self, text: &str) -> String {
        let reading = async {
            loop {
                while let Some((message, rest)) = self.text.split_once("\n\n") {
                    let (message, rest) = (message.to_owned(), rest.to_owned());
                    self.text = rest;
                    if message.contains(text) {
                        return message;
                    }
                }
                let chunk = self.answer.chunk().await.unwrap().expect("the stream ended");
                self.text.push_str(std::str::from_utf8(&chunk).unwrap());
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.unwrap_or_else(|_| panic!("no message with {text:?} came"))
    }
}

#[tokio::test]
async fn events_reach_the_browser_with_their_ids() {
    let (dashboard, fake) = start(bears()).await;
    let mut stream = Stream::open(&dashboard, "/events", None).await;
    stream.until("event: ready").await;
    fake.emit(event(7, "job.succeeded"));
    let message = stream.until("job.succeeded").await;
    assert!(message.contains("id: 7") && message.contains(&job_id(4)), "{message}");
    fake.emit(event(0, "job.progress"));
    let message = stream.until("job.progress").await;
    assert!(
        !message.contains("\nid:") && !message.starts_with("id:"),
        "progress is not a place to resume from: {message}"
    );
    assert_eq!(fake.asked(), ["watch after -1"]);
}

#[tokio::test]
async fn a_browser_that_comes_back_gets_what_it_missed() {
    let (dashboard, fake) = start(bears()).await;
    for number in 1..=9 {
        fake.emit(event(number, &format!("kind-{number}")));
    }
    let mut by_header = Stream::open(&dashboard, "/events?after=2", Some("7")).await;
    let first = by_header.until("data: {").await;
    assert!(first.contains("kind-8"), "{first}");
    by_header.until("kind-9").await;
    let mut by_query = Stream::open(&dashboard, "/events?after=8", None).await;
    assert!(by_query.until("data: {").await.contains("kind-9"));
    assert_eq!(fake.asked(), ["watch after 7", "watch after 8"]);
}

#[tokio::test]
async fn a_coordinator_that_goes_and_returns_is_watched_from_where_it_stopped() {
    let fake = Fake::new(Script::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let first_life = serve(&fake, listener);
    let dashboard = Dashboard::start(address).await;
    let mut stream = Stream::open(&dashboard, "/events", None).await;
    stream.until("event: ready").await;
    fake.emit(event(3, "before"));
    stream.until("before").await;
    first_life.cancel();
    fake.hang_up();
    stream.until("event: waiting").await;
    fake.emit(event(4, "meanwhile"));
    let listener = rebind(address).await;
    let _second_life = serve(&fake, listener).drop_guard();
    stream.until("event: ready").await;
    let message = stream.until("data: {").await;
    assert!(message.contains("meanwhile") && message.contains("id: 4"), "{message}");
}

async fn rebind(address: std::net::SocketAddr) -> TcpListener {
    let binding = async {
        loop {
            match TcpListener::bind(address).await {
                Ok(listener) => return listener,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, binding).await.expect("the port did not become free")
}

#[tokio::test]
async fn without_a_coordinator_the_browser_is_told_to_wait() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let dashboard = Dashboard::start(address).await;
    Stream::open(&dashboard, "/events", None).await.until("event: waiting").await;
}

#[tokio::test]
async fn pages_follow_what_the_coordinator_says_next() {
    let (dashboard, fake) = start(bears()).await;
    let path = format!("/fragments/jobs/{}/status", job_id(5));
    dashboard.get(&path).await.shows("waiting");
    fake.change(|script| script.pipelines[0].jobs[4].state = "running".into());
    dashboard.get(&path).await.shows("running").lacks("waiting");
}
