//! KEDA's `ExternalScaler`: how many replicas of a worker there is work for.
//!
//! KEDA wants as many replicas as the metric divided by its target per replica. So the metric is everything that needs a
//! worker: what waits for one, and what has one. Without the latter a queue that is all taken would count as empty, and
//! the replicas at work on it would be removed. What cannot begin whoever is there (paused, or beyond a project's quota)
//! does not count, nor does what would find no place on such a worker as the trigger describes: `ursa_domain::scheduling`
//! says so, as it does when the worker is there.
//!
//! A count begins where the last one of the same lanes found the first ready task (`marks`), behind what is dead. To find what is
//! at work it goes over all attempts that ended since somebody opened an old transaction: whoever watches looks the more seldom
//! the longer that takes.

use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::Stream;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use ursa_domain::JobKind;
use ursa_domain::scheduling::{self, GpuCount, MAX_GPUS, Resources, WorkerClass};
use ursa_domain::size::ByteSize;
use ursa_proto::ApiError;
use ursa_proto::externalscaler as keda;
use ursa_proto::externalscaler::external_scaler_server::ExternalScaler;

use super::{Answer, kind, name, refuse};
use crate::context::Context;
use crate::hub;
use crate::marks::{Begin, Marks};
use crate::pace::Rests;
use crate::store::{LaneBacklog, Mark, ProjectUsage, StoreResult, Topic};

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct ScalerApi {
    context: Context,
    places: Arc<Places>,
}

/// Tasks of a lane are counted this far; nobody has more replicas.
const COUNTED: u32 = 10_000;
/// A task that comes back so soon after a failed attempt finds its worker still there.
const SOON: Duration = Duration::from_mins(1);
const MOST_PER_REPLICA: f64 = 1e6;
const KEYS: &str = "kind or queue, project, gpus, gpuMemory, gpuModel, gpuDriver, labels and tasksPerReplica";
/// Between two looks at the queue for one watcher.
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// The same where a look takes long.
const LONGEST_REST: Duration = Duration::from_secs(30);
/// Of the trigger, and about the connection: KEDA passes them on.
const OF_KEDA: [&str; 7] =
    ["scalerAddress", "enableTLS", "unsafeSsl", "caCert", "tlsCertFile", "tlsClientCert", "tlsClientKey"];

#[tonic::async_trait]
impl ExternalScaler for ScalerApi {
    async fn is_active(&self, request: Request<keda::ScaledObjectRef>) -> Answer<keda::IsActiveResponse> {
        let wanted = Wanted::read(&request.into_inner().scaler_metadata)?;
        let result = self.finds_work(&wanted).await.map_err(refuse)?;
        Ok(Response::new(keda::IsActiveResponse { result }))
    }

    type StreamIsActiveStream = Pin<Box<dyn Stream<Item = Result<keda::IsActiveResponse, Status>> + Send>>;

    async fn stream_is_active(&self, request: Request<keda::ScaledObjectRef>) -> Answer<Self::StreamIsActiveStream> {
        let wanted = Wanted::read(&request.into_inner().scaler_metadata)?;
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(watch(self.clone(), wanted, sender));
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
        let tasks = self.count(&wanted, COUNTED).await.map_err(refuse)?;
        let value = keda::MetricValue { metric_name, metric_value: tasks as i64, metric_value_float: tasks as f64 };
        Ok(Response::new(keda::GetMetricsResponse { metric_values: vec![value] }))
    }
}

/// Whose work is counted, and for which workers.
#[derive(Debug, Clone, PartialEq)]
struct Wanted {
    kind: JobKind,
    project: Option<String>,
    /// What each replica has.
    class: WorkerClass,
    per_replica: f64,
}

impl Wanted {
    /// Reads a trigger's metadata.
    fn read(metadata: &BTreeMap<String, String>) -> Result<Self, Status> {
        let (mut queue, mut project, mut per_replica) = (None, None, 1.0);
        let mut class = WorkerClass::default();
        for (key, value) in metadata {
            let said = Some(value.as_str()).filter(|value| !value.is_empty());
            // KEDA resolves what is taken from the environment, and leaves its name as it is.
            match key.strip_suffix("FromEnv").unwrap_or(key) {
                word @ ("kind" | "queue") => queue = Some(the_same(queue, worker_kind(word, value)?)?),
                "project" => project = said.map(|said| name("project", said).map(str::to_owned)).transpose()?,
                "gpus" => class.gpus = gpus(value)?,
                "gpuMemory" => class.gpu_memory_bytes = said.map(memory_bytes).transpose()?,
                "gpuModel" => class.gpu_model = said.map(str::to_owned),
                "gpuDriver" => class.gpu_driver = said.map(driver).transpose()?,
                "labels" => class.labels = said.map(labels).transpose()?,
                "tasksPerReplica" => per_replica = tasks_per_replica(value)?,
                known if OF_KEDA.contains(&known) => {}
                _ => return Err(ApiError::invalid(format!("{key} is not known; there are {KEYS}")).into()),
            }
        }
        let kind =
            queue.ok_or_else(|| ApiError::invalid(format!("kind is missing: give one of {}", worker_kinds())))?;
        Ok(Self { kind, project, class: with_gpus_described(class)?, per_replica })
    }

    /// Whose lanes are looked at.
    fn whose(&self) -> Whose {
        (self.kind, self.project.clone())
    }

    fn metric_name(&self) -> String {
        format!("ursa-{}-tasks", self.kind)
    }

    /// How many GPUs a task of a lane takes of such a worker; `None` when it is no work for one.
    fn gpus_for(&self, lane: &LaneBacklog) -> Option<u32> {
        self.class.gpus_for(&scheduling::Request { kind: self.kind, resources: lane.resources.clone() })
    }
}

/// The queue is that of a kind: where both are given, they name the same.
fn the_same(before: Option<JobKind>, kind: JobKind) -> Result<JobKind, Status> {
    if before.is_some_and(|before| before != kind) {
        return Err(ApiError::invalid("kind and queue name two kinds of task: give one of them").into());
    }
    Ok(kind)
}

/// Who says what GPUs are like says that there are some.
fn with_gpus_described(class: WorkerClass) -> Result<WorkerClass, Status> {
    match class.gpus {
        GpuCount::Exactly(0) if class.describes_gpu() => Err(ApiError::invalid(
            "gpus says that a worker has none: leave out gpuMemory, gpuModel and gpuDriver, or say how many it has",
        )
        .into()),
        GpuCount::Unsaid if class.describes_gpu() => Ok(WorkerClass { gpus: GpuCount::AsWanted, ..class }),
        _ => Ok(class),
    }
}

fn worker_kinds() -> String {
    let kinds = JobKind::ALL.iter().filter(|kind| kind.runs_on_workers());
    kinds.map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ")
}

fn worker_kind(key: &str, value: &str) -> Result<JobKind, Status> {
    let kind = kind(key, value)?;
    if kind.runs_on_workers() {
        return Ok(kind);
    }
    let message = format!("{key}: {kind} tasks need no worker; give one of {}", worker_kinds());
    Err(ApiError::invalid(message).into())
}

fn gpus(value: &str) -> Result<GpuCount, Status> {
    match value {
        "" => Ok(GpuCount::Unsaid),
        "true" => Ok(GpuCount::AsWanted),
        "false" => Ok(GpuCount::Exactly(0)),
        number => number.parse::<u32>().ok().filter(|gpus| *gpus <= MAX_GPUS).map(GpuCount::Exactly).ok_or_else(|| {
            let message = format!("gpus is {number:?}; give true, false, or how many a worker has, up to {MAX_GPUS}");
            ApiError::invalid(message).into()
        }),
    }
}

fn memory_bytes(value: &str) -> Result<u64, Status> {
    let size = value.parse::<ByteSize>().map_err(|error| ApiError::invalid(format!("gpuMemory: {error}")))?;
    Ok(size.0)
}

fn driver(value: &str) -> Result<String, Status> {
    let asked_for = Resources { min_driver: value.to_owned(), ..Resources::default() };
    if asked_for.check().is_err() {
        let message = format!("gpuDriver is {value:?}; give numbers with dots between them, like \"550.54\"");
        return Err(ApiError::invalid(message).into());
    }
    Ok(asked_for.min_driver)
}

fn labels(value: &str) -> Result<BTreeMap<String, String>, Status> {
    if value == "none" {
        return Ok(BTreeMap::new());
    }
    let label = |text: &str| {
        let (name, value) = text.trim().split_once('=').filter(|(name, _)| !name.is_empty())?;
        Some((name.to_owned(), value.to_owned()))
    };
    value.split(',').map(label).collect::<Option<_>>().ok_or_else(|| {
        let message = format!("labels is {value:?}; give those of a worker like \"zone=cellar,disk=ssd\", or none");
        ApiError::invalid(message).into()
    })
}

fn tasks_per_replica(value: &str) -> Result<f64, Status> {
    let number = value.parse::<f64>().ok().filter(|number| (1.0..=MOST_PER_REPLICA).contains(number));
    number.ok_or_else(|| {
        let message = format!(
            "tasksPerReplica is {value:?}; give a number from 1 to {MOST_PER_REPLICA}, such as a worker's slots"
        );
        ApiError::invalid(message).into()
    })
}

/// A kind, and a project if one is named.
type Whose = (JobKind, Option<String>);

/// Where the counts begin in the lanes, by whose lanes are looked at together: with marks that all share, it could be always the
/// same ones for whom a look reaches back.
#[derive(Debug, Default)]
struct Places(Mutex<HashMap<Whose, Marks>>);

impl Places {
    fn marks(&self) -> MutexGuard<'_, HashMap<Whose, Marks>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where to begin by now, and how much earlier.
    fn begin(&self, wanted: &Wanted) -> (HashMap<i32, Mark>, Duration) {
        let now = Instant::now();
        let mut all = self.marks();
        let Begin { marks, back } = all.entry(wanted.whose()).or_insert_with(|| Marks::new(now)).for_a_look(now);
        (marks.clone(), back)
    }

    /// Takes note of what was found. Of those who have no lanes, who may be anybody, nothing is kept.
    fn learn(&self, wanted: &Wanted, lanes: &[LaneBacklog]) {
        let (mut all, whose) = (self.marks(), wanted.whose());
        if lanes.is_empty() {
            all.remove(&whose);
        } else if let Some(marks) = all.get_mut(&whose) {
            marks.learn(lanes.iter().map(|lane| (lane.id, lane.head)));
        }
    }
}

impl ScalerApi {
    pub(crate) fn new(context: Context) -> Self {
        Self { context, places: Arc::default() }
    }

    async fn finds_work(&self, wanted: &Wanted) -> StoreResult<bool> {
        Ok(self.count(wanted, 1).await? > 0)
    }

    /// Tasks that need a worker, counted up to `limit` per lane.
    async fn count(&self, wanted: &Wanted, limit: u32) -> StoreResult<u64> {
        let (store, project) = (&self.context.store, wanted.project.as_deref());
        let (marks, back) = self.places.begin(wanted);
        let lanes = store.backlog(wanted.kind, project, limit, SOON, &marks, back).await?;
        self.places.learn(wanted, &lanes);
        let lanes: Vec<(u32, LaneBacklog)> =
            lanes.into_iter().filter_map(|lane| Some((wanted.gpus_for(&lane)?, lane))).collect();
        let has_quota = lanes.iter().any(|(_, lane)| lane.has_quota);
        let mut projects = if has_quota { store.project_usage().await? } else { Vec::new() };
        Ok(total(&lanes, &mut projects))
    }
}

/// What is at work, and what may begin within the projects' quotas. Lanes come with the GPUs that each task takes.
fn total(lanes: &[(u32, LaneBacklog)], projects: &mut [ProjectUsage]) -> u64 {
    let mut total = 0;
    for (gpus, lane) in lanes {
        let gpus = i64::from(*gpus);
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
async fn watch(api: ScalerApi, wanted: Wanted, sender: mpsc::Sender<Result<keda::IsActiveResponse, Status>>) {
    let mut wake = api.context.hub.subscribe(Topic::Tasks);
    let mut said = None;
    let mut rests = Rests::default();
    loop {
        wake.borrow_and_update();
        let begin = Instant::now();
        let found = api.finds_work(&wanted).await;
        // An outage is no reason to rest.
        let took = if found.is_ok() { begin.elapsed() } else { Duration::ZERO };
        let news = match found {
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
            () = pause(&mut wake, rests.after(took, &(SHORTEST_PAUSE..LONGEST_REST))) => {}
        }
    }
}

/// However much happens, a watcher costs a look now and then.
async fn pause(wake: &mut tokio::sync::watch::Receiver<u64>, rest: Duration) {
    tokio::time::sleep(rest).await;
    hub::wait(wake, LONGEST_PAUSE.saturating_sub(rest)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Wanted, ApiError> {
        let metadata = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Wanted::read(&metadata).map_err(ApiError::from)
    }

    fn lane(gpus: Option<u32>, held: u64, waiting: u64) -> LaneBacklog {
        let resources = Resources { gpus, ..Resources::default() };
        let project = "bears".into();
        LaneBacklog { id: 1, project, has_quota: true, resources, held, waiting, head: Mark::START }
    }

    fn project(max_running: Option<i32>, max_gpus: Option<i32>) -> ProjectUsage {
        ProjectUsage { name: "bears".into(), weight: 1.0, max_running, max_gpus, paused: false, running: 2, gpus: 2 }
    }

    #[test]
    fn a_trigger_is_read_with_what_keda_adds_to_it() {
        let wanted = read(&[
            ("kind", "train"),
            ("queue", "train"),
            ("projectFromEnv", "bears"),
            ("gpus", "2"),
            ("gpuMemory", "80GiB"),
            ("gpuModel", "NVIDIA H100"),
            ("gpuDriver", "550.54"),
            ("labels", "zone=cellar, spot="),
            ("tasksPerReplica", "2.5"),
            ("scalerAddress", "ursa:7400"),
            ("enableTLS", "true"),
        ]);
        let class = WorkerClass {
            gpus: GpuCount::Exactly(2),
            gpu_memory_bytes: Some(80 << 30),
            gpu_model: Some("NVIDIA H100".into()),
            gpu_driver: Some("550.54".into()),
            labels: Some([("spot".into(), String::new()), ("zone".into(), "cellar".into())].into()),
        };
        let expected = Wanted { kind: JobKind::Train, project: Some("bears".into()), class, per_replica: 2.5 };
        assert_eq!(wanted, Ok(expected));
    }

    #[test]
    fn what_is_empty_says_nothing_and_who_describes_gpus_has_some() {
        let class = |pairs: &[(&str, &str)]| read(&[&[("kind", "probe")][..], pairs].concat()).unwrap().class;
        let empty = ["gpus", "gpuMemory", "gpuModel", "gpuDriver", "labels", "project"].map(|key| (key, ""));
        assert_eq!(class(&empty), WorkerClass::default());
        assert_eq!(class(&[("labels", "none")]).labels, Some(BTreeMap::new()));
        assert_eq!(class(&[("gpuMemory", "24GiB")]).gpus, GpuCount::AsWanted);
        assert_eq!(class(&[("gpus", "false")]).gpus, GpuCount::Exactly(0));
    }

    #[test]
    fn a_trigger_that_cannot_be_meant_is_refused_with_the_cure() {
        let cases = [
            (&[][..], "kind is missing: give one of scrape"),
            (&[("kind", "bake")], "known are scrape"),
            (&[("queue", "bake")], "queue: "),
            (&[("kind", "deploy")], "need no worker"),
            (&[("kind", "train"), ("queue", "probe")], "give one of them"),
            (&[("kind", "train"), ("gpu", "1")], "there are kind or queue, project, gpus"),
            (&[("kind", "train"), ("zone", "")], "there are kind or queue, project, gpus"),
            (&[("kind", "train"), ("project", "no such name!")], "project"),
            (&[("kind", "train"), ("gpus", "-1")], "give true, false, or how many"),
            (&[("kind", "train"), ("gpus", "65")], "up to 64"),
            (&[("kind", "train"), ("gpus", "0"), ("gpuModel", "H100")], "leave out gpuMemory, gpuModel"),
            (&[("kind", "train"), ("gpuMemory", "large")], "40GiB"),
            (&[("kind", "train"), ("gpuDriver", "new")], "550.54"),
            (&[("kind", "train"), ("labels", "cellar")], "zone=cellar"),
            (&[("kind", "train"), ("labels", "=cellar")], "zone=cellar"),
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
    fn training_that_does_not_say_takes_a_gpu_where_there_is_one_and_does_without_elsewhere() {
        let wants =
            |kind, gpus, lane: &LaneBacklog| read(&[("kind", kind), ("gpus", gpus)]).unwrap().gpus_for(lane).is_some();
        for (gpus, unsaid, none, two) in [
            ("", true, true, true),
            ("true", true, false, true),
            ("false", true, true, false),
            ("1", true, false, false),
            ("2", true, false, true),
        ] {
            assert_eq!(wants("train", gpus, &lane(None, 0, 1)), unsaid, "{gpus}");
            assert_eq!(wants("train", gpus, &lane(Some(0), 0, 1)), none, "{gpus}");
            assert_eq!(wants("train", gpus, &lane(Some(2), 0, 1)), two, "{gpus}");
        }
        assert!(wants("scrape", "false", &lane(None, 0, 1)));
    }

    #[test]
    fn a_count_begins_where_the_last_one_of_the_same_lanes_found_a_task() {
        let places = Places::default();
        let all = read(&[("kind", "probe")]).unwrap();
        let one = read(&[("kind", "probe"), ("project", "bears")]).unwrap();
        assert_eq!(places.begin(&all).0, HashMap::new(), "at the very start");
        places.learn(&all, &[lane(None, 0, 1)]);
        assert_eq!(places.begin(&all).0, HashMap::from([(1, Mark::START)]));
        assert_eq!(places.begin(&one).0, HashMap::new());
        places.learn(&one, &[]);
        assert_eq!(places.marks().len(), 1, "who has no lanes may be anybody");
    }

    #[test]
    fn what_is_at_work_counts_and_what_a_quota_forbids_does_not() {
        let lanes = [(2, lane(Some(2), 1, 10)), (0, lane(Some(0), 1, 10))];
        let count = |max_running, max_gpus| total(&lanes, &mut [project(max_running, max_gpus)]);
        assert_eq!(count(None, None), 22);
        assert_eq!(count(Some(5), None), 2 + 3);
        assert_eq!(count(None, Some(7)), 2 + 2 + 10, "five are left, each takes two");
        assert_eq!(count(Some(0), Some(0)), 2);
    }
}
