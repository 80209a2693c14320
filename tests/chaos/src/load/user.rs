//! Somebody who asks until there is an answer, and watches.

use std::collections::HashSet;
use std::future::Future;
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinSet;
use ursa_client::Client;
use ursa_proto::v1::watch_events_request::Subject;
use ursa_proto::{ApiError, v1};
use uuid::Uuid;

use super::ledger::Ledger;
use crate::history::Submitted;

/// How long one call may take before it is made again.
const CALL: Duration = Duration::from_secs(4);
const AGAIN: Duration = Duration::from_millis(200);

/// Somebody who asks for pipelines, and watches each of them.
pub(super) struct User {
    pub(super) client: Client,
    pub(super) ledger: Ledger,
    watching: JoinSet<anyhow::Result<Uuid>>,
    seen: HashSet<Uuid>,
}

impl User {
    pub(super) fn new(client: Client, ledger: Ledger) -> Self {
        Self { client, ledger, watching: JoinSet::new(), seen: HashSet::new() }
    }

    /// Asks for a pipeline until there is an answer.
    pub(super) async fn submit(&mut self, key: &str, jobs: Vec<v1::JobDefinition>) -> anyhow::Result<Uuid> {
        let pipeline = v1::PipelineSpec { name: "chaos".into(), jobs, ..v1::PipelineSpec::default() };
        let request = v1::SubmitPipelineRequest { pipeline: Some(pipeline), idempotency_key: key.to_owned() };
        let client = &self.client;
        let ask = || async { client.jobs().submit_pipeline(request.clone()).await };
        let answer = until_answered(client, ask).await.with_context(|| format!("{key} was refused"))?;
        self.begin_to_watch(key, answer)
    }

    /// Asks for a pipeline to be run again until there is an answer.
    pub(super) async fn rerun(&mut self, key: &str, earlier: Uuid) -> anyhow::Result<Uuid> {
        let (id, idempotency_key) = (earlier.to_string(), key.to_owned());
        let request = v1::RerunPipelineRequest { id, idempotency_key, ..v1::RerunPipelineRequest::default() };
        let client = &self.client;
        let ask = || async { client.jobs().rerun_pipeline(request.clone()).await };
        let answer = until_answered(client, ask).await.with_context(|| format!("{key} was refused"))?;
        self.begin_to_watch(key, answer)
    }

    fn begin_to_watch(&mut self, key: &str, answer: v1::SubmitPipelineResponse) -> anyhow::Result<Uuid> {
        let id = answer.pipeline.context("an answer without a pipeline")?.id.parse()?;
        self.ledger.lock().submitted.push(Submitted { key: key.to_owned(), pipeline: id });
        self.watching.spawn(watch(self.client.clone(), self.ledger.clone(), id));
        Ok(id)
    }

    /// Waits until a pipeline's events have all been seen. Safe to cancel.
    pub(super) async fn until_seen(&mut self, pipeline: Uuid) -> anyhow::Result<()> {
        while !self.seen.contains(&pipeline) {
            let Some(seen) = self.watching.join_next().await else { break };
            self.seen.insert(seen??);
        }
        Ok(())
    }

    /// Waits until fewer pipelines than that are left to be seen to their end. Safe to cancel.
    pub(super) async fn until_fewer(&mut self, than: usize) -> anyhow::Result<()> {
        while self.watching.len() >= than {
            let Some(seen) = self.watching.join_next().await else { break };
            self.seen.insert(seen??);
        }
        Ok(())
    }

    pub(super) async fn leave(mut self) -> anyhow::Result<()> {
        while let Some(seen) = self.watching.join_next().await {
            seen??;
        }
        Ok(())
    }
}

/// Makes a call until it is answered, of whichever coordinator is there.
pub(super) async fn until_answered<T, F, Fut>(client: &Client, call: F) -> Result<T, ApiError>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
{
    loop {
        match tokio::time::timeout(CALL, call()).await.map(|answer| answer.map_err(ApiError::from)) {
            Ok(Ok(answer)) => return Ok(answer.into_inner()),
            Ok(Err(error)) if !error.is_retryable() => return Err(error),
            Ok(Err(_)) | Err(_) => client.turn(),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Writes down the events of a pipeline until it ends.
async fn watch(client: Client, ledger: Ledger, pipeline: Uuid) -> anyhow::Result<Uuid> {
    ledger.lock().watched.insert(pipeline, Vec::new());
    let note = |id| ledger.lock().watched.entry(pipeline).or_default().push(id);
    follow(&client, Some(Subject::PipelineId(pipeline.to_string())), note).await?;
    Ok(pipeline)
}

/// Writes down all events for as long as there is a coordinator.
pub(super) async fn watch_everything(client: Client, ledger: Ledger) -> anyhow::Result<()> {
    follow(&client, None, |id| ledger.lock().watched_everything.push(id)).await
}

/// Has events noted as somebody sees them who resumes where they were whenever they are cut off.
async fn follow(client: &Client, subject: Option<Subject>, mut note: impl FnMut(i64)) -> anyhow::Result<()> {
    let mut last = 0;
    loop {
        let request = v1::WatchEventsRequest { subject: subject.clone(), after_id: last };
        let ask = || async { client.jobs().watch_events(request.clone()).await };
        let mut events = until_answered(client, ask).await.context("watching was refused")?;
        let cut_off = loop {
            match events.message().await {
                // Progress is not recorded and has no id.
                Ok(Some(event)) if event.id > 0 => {
                    last = event.id;
                    note(last);
                }
                Ok(Some(_)) => {}
                Ok(None) => return Ok(()),
                Err(status) => break ApiError::from(status),
            }
        };
        anyhow::ensure!(cut_off.is_retryable(), "watching was ended: {cut_off}");
        tokio::time::sleep(AGAIN).await;
        client.turn();
    }
}
