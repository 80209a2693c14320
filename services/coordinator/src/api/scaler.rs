//! KEDA's `ExternalScaler`: how many replicas of a worker there is work for.
//!
//! KEDA wants as many replicas as the metric divided by its target per replica. So the metric is everything that needs a
//! worker: what waits for one, and what has one. Without the latter a queue that is all taken would count as empty, and
//! the replicas at work on it would be removed. What cannot begin whoever is there (paused, or beyond a project's quota)
//! does not count.

use std::collections::HashMap;
use std::pin::Pin;
use std::time::Duration;

use futures::Stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use ursa_domain::JobKind;
use ursa_proto::ApiError;
use ursa_proto::externalscaler as keda;
use ursa_proto::externalscaler::external_scaler_server::ExternalScaler;

use super::{Answer, kind, name, refuse};
use crate::context::Context;
use crate::hub;
use crate::store::{LaneBacklog, ProjectUsage, StoreResult, Topic};

/// See the module.
#[derive(Debug)]
pub(crate) struct ScalerApi(pub Context);

/// Tasks of a lane are counted this far; nobody has more replicas.
const COUNTED: u32 = 10_000;
/// A task that comes back so soon after a failed attempt finds its worker still there.
const SOON: Duration = Duration::from_mins(1);
const MOST_PER_REPLICA: f64 = 1e6;
/// Between two looks at the queue for one watcher.
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Of the trigger, and about the connection: KEDA passes them on.
const OF_KEDA: [&str; 7] =
    ["scalerAddress", "enableTLS", "unsafeSsl", "caCert", "tlsCertFile", "tlsClientCert", "tlsClientKey"];

#[tonic::async_trait]
impl ExternalScaler for ScalerApi {
    async fn is_active(&self, request: Request<keda::ScaledObjectRef>) -> Answer<keda::IsActiveResponse> {
        let wanted = Wanted::read(&request.into_inner().scaler_metadata)?;
        let result = is_active(&self.0, &wanted).await.map_err(refuse)?;
        Ok(Response::new(keda::IsActiveResponse { result }))
    }

    type StreamIsActiveStream = Pin<Box<dyn Stream<Item = Result<keda::IsActiveResponse, Status>> + Send>>;

    async fn stream_is_active(&self, request: Request<keda::ScaledObjectRef>) -> Answer<Self::StreamIsActiveStream> {
        let wanted = Wanted::read(&request.into_inner().scaler_metadata)?;
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(watch(self.0.clone(), wanted, sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn get_metric_spec(&self, request: Request<keda::ScaledObjectRef>) -> Answer<keda::GetMetricSpecResponse> {
        let wanted = Wanted::read(&request.into_inner().scaler_metadata)?;
        let spec = keda::MetricSpec {
            metric_name: wanted.metric_name(),
            target_size: wanted.per_replica.round() as i64,
            target_size_float: wanted.per_replica,
        };
        Ok(Response::new(keda::GetMetricSpecResponse { metric_specs: vec![spec] }))
    }

    async fn get_metrics(&self, request: Request<keda::GetMetricsRequest>) -> Answer<keda::GetMetricsResponse> {
        let request = request.into_inner();
        let wanted = Wanted::read(&request.scaled_object_ref.unwrap_or_default().scaler_metadata)?;
        let metric_name = wanted.metric_name();
        if !request.metric_name.is_empty() && request.metric_name != metric_name {
            let message = format!("metricName is {:?}; the only one there is is {metric_name}", request.metric_name);
            return Err(ApiError::invalid(message).into());
        }
        let tasks = count(&self.0, &wanted, COUNTED).await.map_err(refuse)?;
        let value = keda::MetricValue { metric_name, metric_value: tasks as i64, metric_value_float: tasks as f64 };
        Ok(Response::new(keda::GetMetricsResponse { metric_values: vec![value] }))
    }
}

/// Whose work is counted.
#[derive(Debug, Clone, PartialEq)]
struct Wanted {
    kind: JobKind,
    project: Option<String>,
    gpus: Gpus,
    per_replica: f64,
}

/// How many GPUs a task asks for. Training that does not say asks for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gpus {
    Any,
    Some,
    Exactly(u32),
}

impl Wanted {
    /// Reads a trigger's metadata.
    fn read(metadata: &HashMap<String, String>) -> Result<Self, Status> {
        let mut wanted = Self { kind: JobKind::Probe, project: None, gpus: Gpus::Any, per_replica: 1.0 };
        let mut has_kind = false;
        for (key, value) in metadata {
            // KEDA resolves what is taken from the environment, and leaves its name as it is.
            match key.strip_suffix("FromEnv").unwrap_or(key) {
                "kind" => {
                    wanted.kind = worker_kind(value)?;
                    has_kind = true;
                }
                "project" if value.is_empty() => {}
                "project" => wanted.project = Some(name("project", value)?.to_owned()),
                "gpus" => wanted.gpus = gpus(value)?,
                "tasksPerReplica" => wanted.per_replica = per_replica(value)?,
                known if OF_KEDA.contains(&known) => {}
                _ => {
                    let message = format!("{key} is not known; there are kind, project, gpus and tasksPerReplica");
                    return Err(ApiError::invalid(message).into());
                }
            }
        }
        if has_kind {
            return Ok(wanted);
        }
        Err(ApiError::invalid(format!("kind is missing: give one of {}", worker_kinds())).into())
    }

    fn metric_name(&self) -> String {
        format!("ursa-{}-tasks", self.kind)
    }

    fn wants(&self, lane: &LaneBacklog) -> bool {
        let asked = self.gpus_of(lane);
        match self.gpus {
            Gpus::Any => true,
            Gpus::Some => asked > 0,
            Gpus::Exactly(gpus) => asked == gpus,
        }
    }

    fn gpus_of(&self, lane: &LaneBacklog) -> u32 {
        lane.resources.gpus.unwrap_or(u32::from(self.kind.learns()))
    }
}

fn worker_kinds() -> String {
    let kinds = JobKind::ALL.iter().filter(|kind| kind.runs_on_workers());
    kinds.map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ")
}

fn worker_kind(value: &str) -> Result<JobKind, Status> {
    let kind = kind("kind", value)?;
    if kind.runs_on_workers() {
        return Ok(kind);
    }
    let message = format!("kind: {kind} tasks need no worker; give one of {}", worker_kinds());
    Err(ApiError::invalid(message).into())
}

fn gpus(value: &str) -> Result<Gpus, Status> {
    match value {
        "" => Ok(Gpus::Any),
        "true" => Ok(Gpus::Some),
        "false" => Ok(Gpus::Exactly(0)),
        number => number.parse().map(Gpus::Exactly).map_err(|_| {
            ApiError::invalid(format!("gpus is {number:?}; give true, false, or how many a task asks for")).into()
        }),
    }
}

fn per_replica(value: &str) -> Result<f64, Status> {
    let number = value.parse::<f64>().ok().filter(|number| (1.0..=MOST_PER_REPLICA).contains(number));
    number.ok_or_else(|| {
        let message = format!(
            "tasksPerReplica is {value:?}; give a number from 1 to {MOST_PER_REPLICA}, such as a worker's slots"
        );
        ApiError::invalid(message).into()
    })
}

async fn is_active(context: &Context, wanted: &Wanted) -> StoreResult<bool> {
    Ok(count(context, wanted, 1).await? > 0)
}

/// Tasks that need a worker, counted up to `limit` per lane.
async fn count(context: &Context, wanted: &Wanted, limit: u32) -> StoreResult<u64> {
    let lanes = context.store.backlog(wanted.kind, wanted.project.as_deref(), limit, SOON).await?;
    let lanes: Vec<LaneBacklog> = lanes.into_iter().filter(|lane| wanted.wants(lane)).collect();
    if lanes.is_empty() {
        return Ok(0);
    }
    let mut projects = context.store.project_usage().await?;
    Ok(total(wanted, &lanes, &mut projects))
}

/// What is at work, and what may begin within the projects' quotas.
fn total(wanted: &Wanted, lanes: &[LaneBacklog], projects: &mut [ProjectUsage]) -> u64 {
    let mut total = 0;
    for lane in lanes {
        let gpus = i64::from(wanted.gpus_of(lane));
        let mut may_begin = lane.waiting;
        if let Some(project) = projects.iter_mut().find(|project| project.name == lane.project) {
            may_begin = may_begin.min(room(project, gpus));
            project.running += may_begin as i64;
            project.gpus += may_begin as i64 * gpus;
        }
        total += lane.held + may_begin;
    }
    total
}

/// How many more tasks with so many GPUs each a project may have.
fn room(project: &ProjectUsage, gpus: i64) -> u64 {
    let left = |max: Option<i32>, used: i64| max.map_or(i64::MAX, |max| (i64::from(max) - used).max(0));
    let by_gpus = if gpus == 0 { i64::MAX } else { left(project.max_gpus, project.gpus) / gpus };
    left(project.max_running, project.running).min(by_gpus) as u64
}

/// Tells one watcher whether there is anything to do, at once and whenever it changes. While the database is away it
/// hears nothing: what it knows may well be so still.
async fn watch(context: Context, wanted: Wanted, sender: mpsc::Sender<Result<keda::IsActiveResponse, Status>>) {
    let mut wake = context.hub.subscribe(Topic::Tasks);
    let mut said = None;
    loop {
        wake.borrow_and_update();
        let news = match is_active(&context, &wanted).await {
            Ok(active) => {
                (said.replace(active) != Some(active)).then_some(Ok(keda::IsActiveResponse { result: active }))
            }
            Err(error) if error.is_outage() => None,
            Err(error) => Some(Err(refuse(error))),
        };
        let is_last = matches!(news, Some(Err(_)));
        if let Some(news) = news
            && (sender.send(news).await.is_err() || is_last)
        {
            return;
        }
        tokio::select! {
            () = sender.closed() => return,
            () = pause(&mut wake) => {}
        }
    }
}

/// However much happens, a watcher costs a look now and then.
async fn pause(wake: &mut tokio::sync::watch::Receiver<u64>) {
    tokio::time::sleep(SHORTEST_PAUSE).await;
    hub::wait(wake, LONGEST_PAUSE.saturating_sub(SHORTEST_PAUSE)).await;
}

#[cfg(test)]
mod tests {
    use ursa_domain::scheduling::Resources;

    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Wanted, ApiError> {
        let metadata = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Wanted::read(&metadata).map_err(ApiError::from)
    }

    fn lane(gpus: Option<u32>, held: u64, waiting: u64) -> LaneBacklog {
        let resources = Resources { gpus, ..Resources::default() };
        LaneBacklog { project: "bears".into(), resources, held, waiting }
    }

    fn project(max_running: Option<i32>, max_gpus: Option<i32>) -> ProjectUsage {
        ProjectUsage { name: "bears".into(), weight: 1.0, max_running, max_gpus, paused: false, running: 2, gpus: 2 }
    }

    #[test]
    fn a_trigger_is_read_with_what_keda_adds_to_it() {
        let wanted = read(&[
            ("kind", "train"),
            ("projectFromEnv", "bears"),
            ("gpus", "true"),
            ("tasksPerReplica", "2.5"),
            ("scalerAddress", "ursa:7400"),
            ("enableTLS", "true"),
        ]);
        let expected =
            Wanted { kind: JobKind::Train, project: Some("bears".into()), gpus: Gpus::Some, per_replica: 2.5 };
        assert_eq!(wanted, Ok(expected));
    }

    #[test]
    fn a_trigger_that_cannot_be_meant_is_refused_with_the_cure() {
        let cases = [
            (&[][..], "kind is missing: give one of scrape"),
            (&[("kind", "bake")], "known are scrape"),
            (&[("kind", "deploy")], "need no worker"),
            (&[("kind", "train"), ("queue", "x")], "there are kind, project, gpus and tasksPerReplica"),
            (&[("kind", "train"), ("project", "no such name!")], "project"),
            (&[("kind", "train"), ("gpus", "-1")], "give true, false, or how many"),
            (&[("kind", "train"), ("tasksPerReplica", "0")], "give a number from 1"),
            (&[("kind", "train"), ("tasksPerReplica", "NaN")], "give a number from 1"),
        ];
        for (pairs, cure) in cases {
            let error = read(pairs).unwrap_err();
            assert_eq!(error.code, ursa_proto::ErrorCode::InvalidArgument);
            assert!(error.message.contains(cure), "{pairs:?}: {error}");
        }
    }

    #[test]
    fn training_that_does_not_say_wants_one_gpu_and_nothing_else_does() {
        let wants = |kind, gpus, lane: &LaneBacklog| read(&[("kind", kind), ("gpus", gpus)]).unwrap().wants(lane);
        for (gpus, unsaid, none, two) in [
            ("", true, true, true),
            ("true", true, false, true),
            ("false", false, true, false),
            ("1", true, false, false),
        ] {
            assert_eq!(wants("train", gpus, &lane(None, 0, 1)), unsaid, "{gpus}");
            assert_eq!(wants("train", gpus, &lane(Some(0), 0, 1)), none, "{gpus}");
            assert_eq!(wants("train", gpus, &lane(Some(2), 0, 1)), two, "{gpus}");
        }
        assert!(wants("scrape", "false", &lane(None, 0, 1)));
    }

    #[test]
    fn what_is_at_work_counts_and_what_a_quota_forbids_does_not() {
        let wanted = read(&[("kind", "train")]).unwrap();
        let lanes = [lane(Some(2), 1, 10), lane(Some(0), 1, 10)];
        let count = |max_running, max_gpus| total(&wanted, &lanes, &mut [project(max_running, max_gpus)]);
        assert_eq!(count(None, None), 22);
        assert_eq!(count(Some(5), None), 2 + 3);
        assert_eq!(count(None, Some(7)), 2 + 2 + 10, "five are left, each takes two");
        assert_eq!(count(Some(0), Some(0)), 2);
    }
}
