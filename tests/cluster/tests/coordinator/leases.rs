//! Who may do what with a task, and what happens when they do not.

use std::time::Duration;

use ursa_cluster::{Record, Worker, until};
use ursa_proto::{ApiError, ErrorCode, v1};
use ursa_storage::{Digest, Key};

use crate::fixture::{Fixture, after, answered, job, probe, scrape, scraped, snapshot, train, trained, verify};

type Done = v1::complete_task_request::Result;

/// Everything that presents a lease, but for reports.
#[derive(Debug, Clone, Copy)]
enum Verb {
    Complete,
    CompleteWithOthers,
    Fail,
    Log,
    Measure,
    Checkpoint,
}

impl Verb {
    const ALL: [Self; 6] =
        [Self::Complete, Self::CompleteWithOthers, Self::Fail, Self::Log, Self::Measure, Self::Checkpoint];

    /// Has `worker` say it of the task it was ordered to do, of which it would make `result`.
    async fn say(self, worker: &mut Worker, order: &v1::TaskOrder, result: &Done) -> Result<(), ApiError> {
        let lease = order.lease.clone().unwrap();
        let mut workers = worker.client.workers();
        match self {
            Self::Complete => worker.complete(&lease, result.clone()).await?,
            Self::CompleteWithOthers => {
                let completion = v1::CompleteTaskRequest { lease: Some(lease), result: Some(result.clone()) };
                let request = v1::CompleteTasksRequest { completions: vec![completion] };
                let outcome = workers.complete_tasks(request).await?.into_inner().outcomes.remove(0);
                if let Some(error) = outcome.error {
                    return Err(error.into());
                }
            }
            Self::Fail => worker.fail(&lease, v1::ErrorClass::Fatal, "out of spite").await?,
            Self::Log => {
                let line = v1::LogLine { level: "info".into(), message: "here".into(), ..v1::LogLine::default() };
                let request = v1::AppendLogsRequest { lease: Some(lease), lines: vec![line], sequence: 1 };
                workers.append_logs(request).await?;
            }
            Self::Measure => {
                let points = vec![v1::MetricPoint { step: 8, epoch: 0, value: 0.5 }];
                let series = vec![v1::MetricSeries { name: "error_rate".into(), points }];
                workers.append_metrics(v1::AppendMetricsRequest { lease: Some(lease), series }).await?;
            }
            Self::Checkpoint => {
                let checkpoint = Some(checkpoint(&lease));
                workers.record_checkpoint(v1::RecordCheckpointRequest { lease: Some(lease), checkpoint }).await?;
            }
        }
        Ok(())
    }
}

/// Of the first epoch, as an attempt would write it.
fn checkpoint(lease: &v1::Lease) -> v1::Checkpoint {
    let (epoch, step) = (1, 8);
    let key = Key::Checkpoint { task: lease.task_id.parse().unwrap(), attempt: lease.attempt, epoch, step };
    let sha256 = Digest::of(b"weights").to_string();
    v1::Checkpoint { attempt: lease.attempt, epoch, step, key: key.to_string(), sha256, bytes: 7, error_rate: None }
}

/// Two workers and a task: the first fell silent and lost it, the second is at work on it.
struct Contest {
    silent: Worker,
    lost: v1::TaskOrder,
    other: Worker,
    held: v1::TaskOrder,
}

impl Contest {
    async fn begin(fixture: &Fixture) -> Self {
        let mut silent = Worker::attach(fixture.client(), "silent", 1).await.unwrap();
        let lost = silent.next_task().await.unwrap();
        let mut other = Worker::attach(fixture.client(), "other", 1).await.unwrap();
        let held = other.next_task().await.unwrap();
        let [first, second] = [&lost, &held].map(|order| order.lease.clone().unwrap());
        assert_eq!((second.task_id, second.attempt), (first.task_id, 2));
        let progress = v1::Progress { done: 1, total: 4, unit: "steps".into(), message: "by the second".into() };
        other.report.running[0].progress = Some(progress);
        other.say().await.unwrap();
        Self { silent, lost, other, held }
    }

    /// The first says everything that it would say, with `result`; all of it is refused, and none leaves a trace.
    async fn the_first_speaks(&mut self, fixture: &Fixture, jobs: &[String], result: &Done) {
        let before = self.record(fixture, jobs).await;
        for verb in Verb::ALL {
            let refused = verb.say(&mut self.silent, &self.lost, result).await.unwrap_err();
            assert_eq!(refused.code, ErrorCode::LeaseLost, "{verb:?}: {refused}");
            assert_eq!(self.record(fixture, jobs).await, before, "{verb:?}");
        }
        let progress = v1::Progress { done: 3, total: 4, unit: "steps".into(), message: "by the first".into() };
        let lease = self.lost.lease.clone();
        let running = v1::RunningAttempt { lease: lease.clone(), progress: Some(progress), stop_stage: 0 };
        self.silent.report.running = vec![running];
        let stop = self.silent.next_stop().await.unwrap();
        assert_eq!((stop.reason(), stop.lease), (v1::StopReason::LeaseLost, lease));
        assert_eq!(self.record(fixture, jobs).await, before, "progress");
        self.silent.report.running.clear();
    }

    /// The second goes on meanwhile.
    async fn record(&mut self, fixture: &Fixture, jobs: &[String]) -> Record {
        self.other.say().await.unwrap();
        Record::of(fixture.client(), &fixture.postgres, jobs).await.unwrap()
    }

    /// The first speaks while the second is at work, and when that one has ended the task well, the last of `jobs`.
    async fn decide(mut self, fixture: &Fixture, jobs: &[String], of_first: Done, of_second: Done) {
        self.the_first_speaks(fixture, jobs, &of_first).await;
        let lease = self.held.lease.clone().unwrap();
        self.other.complete(&lease, of_second.clone()).await.unwrap();
        // Repeated after a lost answer, it is harmless.
        self.other.complete(&lease, of_second).await.unwrap();
        let detail = fixture.job_in(jobs.last().unwrap(), "succeeded").await;
        let states: Vec<_> = detail.tasks[0].attempts.iter().map(|attempt| attempt.state.as_str()).collect();
        assert_eq!(states, ["lost", "succeeded"]);
        let class = detail.tasks[0].attempts[0].error_class();
        assert_eq!(class, v1::ErrorClass::Fenced, "it came back after its lease was gone");
        self.the_first_speaks(fixture, jobs, &of_first).await;
    }
}

#[tokio::test]
async fn nothing_that_is_said_of_a_scrape_task_with_a_lost_lease_leaves_a_trace() {
    let fixture = Fixture::start().await;
    let ids = fixture.submit(vec![scrape(2)]).await;
    let contest = Contest::begin(&fixture).await;
    let of_first = scraped(&fixture.storage(), &contest.lost, |url| Some(url.as_bytes().to_vec())).await;
    let of_second = scraped(&fixture.storage(), &contest.held, |url| Some(url.as_bytes().to_vec())).await;
    contest.decide(&fixture, &ids, of_first, of_second).await;
    let counts = fixture.ask("select string_agg(attempt::text, ' ') from shards").await;
    assert_eq!(counts, "2", "of the shards only that of the second attempt counts");
}

#[tokio::test]
async fn nothing_that_is_said_of_a_training_run_with_a_lost_lease_leaves_a_trace() {
    let fixture = Fixture::start().await;
    let jobs = [scrape(30), after(verify(), &["scrape"]), after(snapshot(), &["verify"]), train()];
    let ids = fixture.submit(jobs.into()).await;
    let mut preparing = Worker::attach(fixture.client(), "preparing", 1).await.unwrap();
    preparing.report.kinds = vec!["scrape".into(), "verify".into()];
    fixture.prepare_images(&mut preparing).await;

    let contest = Contest::begin(&fixture).await;
    let model_json = r#"{"architecture": "resnet18", "classes": ["black", "teddy"], "metrics": {"error_rate": 0}}"#;
    let of_first = Done::Train(v1::TrainResult {
        model_digest: Digest::of(model_json.as_bytes()).to_string(),
        model_json: model_json.into(),
        ..v1::TrainResult::default()
    });
    contest.decide(&fixture, &ids, of_first, trained()).await;
    assert_eq!(fixture.ask("select count(*), max(attempt) from models").await, "1|2");
}

#[tokio::test]
async fn nothing_that_is_said_of_a_probe_with_a_lost_lease_leaves_a_trace() {
    let fixture = Fixture::start().await;
    let ids = fixture.submit(vec![probe(1)]).await;
    let contest = Contest::begin(&fixture).await;
    contest.decide(&fixture, &ids, answered(), answered()).await;
}

/// A run counts batches, a train job epochs.
#[tokio::test]
async fn attempts_that_count_in_a_unit_of_their_own_are_told_in_that_of_the_job() {
    let fixture = Fixture::start().await;
    let counted = |tasks| {
        let spec = v1::ProbeSpec { tasks, duration_ms: 100, failures: 0 };
        job("probe", v1::job_definition::Spec::Probe(spec))
    };
    for (tasks, told) in [(1, (1, 4, "steps")), (2, (25, 200, "ms"))] {
        let ids = fixture.submit(vec![counted(tasks)]).await;
        let mut worker = Worker::attach(fixture.client(), "counting", 1).await.unwrap();
        let lease = worker.next_task().await.unwrap().lease.unwrap();
        let progress = v1::Progress { done: 1, total: 4, unit: "steps".into(), message: String::new() };
        worker.report.running[0].progress = Some(progress);
        let look = async || fixture.job(&ids[0]).await.job.unwrap().progress.unwrap();
        worker.say().await.unwrap();
        until("the progress", look, |now: &v1::Progress| (now.done, now.total, now.unit.as_str()) == told).await;
        worker.fail(&lease, v1::ErrorClass::Fatal, "enough").await.unwrap();
    }
}

#[tokio::test]
async fn a_worker_that_reports_keeps_its_task() {
    let fixture = Fixture::start().await;
    let ids = fixture.submit(vec![scrape(2)]).await;
    let mut worker = Worker::attach(fixture.client(), "slow", 1).await.unwrap();
    let order = worker.next_task().await.unwrap();
    let begin = std::time::Instant::now();
    while begin.elapsed() < Duration::from_secs(4) {
        worker.report.running[0].progress =
            Some(v1::Progress { done: 1, total: 4, unit: "urls".into(), message: String::new() });
        assert!(worker.say().await.unwrap().stop.is_empty());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let detail = fixture.job(&ids[0]).await;
    assert_eq!(detail.tasks[0].attempts.len(), 1);
    assert_eq!(detail.job.unwrap().progress.unwrap().done, 1);
    let result = scraped(&fixture.storage(), &order, |url| Some(url.as_bytes().to_vec())).await;
    worker.complete(order.lease.as_ref().unwrap(), result).await.unwrap();
    fixture.job_in(&ids[0], "succeeded").await;
}

#[tokio::test]
async fn attempts_run_out() {
    let fixture = Fixture::start().await;
    let ids = fixture.submit(vec![scrape(2)]).await;
    let mut worker = Worker::attach(fixture.client(), "unlucky", 1).await.unwrap();
    for attempt in 1..=2 {
        let order = worker.next_task().await.unwrap();
        let lease = order.lease.unwrap();
        assert_eq!(lease.attempt, attempt);
        worker.fail(&lease, v1::ErrorClass::Retryable, &format!("bad luck {attempt}")).await.unwrap();
    }
    let detail = fixture.job_in(&ids[0], "failed").await;
    assert_eq!(detail.job.unwrap().error, "bad luck 2");
    assert_eq!((detail.tasks[0].state.as_str(), detail.tasks[0].attempts.len()), ("dead", 2));
}

#[tokio::test]
async fn cancellation_reaches_the_running_work() {
    let fixture = Fixture::start().await;
    let ids = fixture.submit(vec![scrape(2)]).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    let order = worker.next_task().await.unwrap();
    let cancel = v1::CancelJobRequest { id: ids[0].clone() };
    let job = fixture.client().jobs().cancel_job(cancel.clone()).await.unwrap().into_inner();
    assert_eq!(job.state, "cancelling");
    let stop = worker.next_stop().await.unwrap();
    assert_eq!(stop.reason(), v1::StopReason::Cancelled);
    worker.fail(order.lease.as_ref().unwrap(), v1::ErrorClass::Cancelled, "stopped").await.unwrap();
    fixture.job_in(&ids[0], "cancelled").await;
    let error = ApiError::from(fixture.client().jobs().cancel_job(cancel).await.unwrap_err());
    assert_eq!(
        (error.code, error.message.as_str()),
        (ErrorCode::IllegalState, "a job that is cancelled cannot be cancelled")
    );
}

#[tokio::test]
async fn a_cancelled_job_whose_worker_died_ends_with_the_lease() {
    let fixture = Fixture::start().await;
    let ids = fixture.submit(vec![scrape(2)]).await;
    let mut worker = Worker::attach(fixture.client(), "mortal", 1).await.unwrap();
    worker.next_task().await.unwrap();
    drop(worker);
    fixture.client().jobs().cancel_job(v1::CancelJobRequest { id: ids[0].clone() }).await.unwrap();
    fixture.job_in(&ids[0], "cancelled").await;
}

#[tokio::test]
async fn logs_and_metrics_are_stored_once() {
    let fixture = Fixture::start().await;
    let ids = fixture.submit(vec![scrape(2)]).await;
    let mut worker = Worker::attach(fixture.client(), "chatty", 1).await.unwrap();
    let order = worker.next_task().await.unwrap();
    let line = |message: &str| v1::LogLine { level: "info".into(), message: message.into(), ..v1::LogLine::default() };
    let logs =
        v1::AppendLogsRequest { lease: order.lease.clone(), lines: vec![line("one"), line("t\0wo")], sequence: 1 };
    let points = vec![v1::MetricPoint { step: 7, epoch: 0, value: 0.25 }];
    let series = vec![v1::MetricSeries { name: "train_loss".into(), points }];
    let metrics = v1::AppendMetricsRequest { lease: order.lease.clone(), series: series.clone() };
    for _ in 0..2 {
        fixture.client().workers().append_logs(logs.clone()).await.unwrap();
        fixture.client().workers().append_metrics(metrics.clone()).await.unwrap();
    }
    let request = v1::ListLogsRequest { job_id: ids[0].clone(), after_id: 0, limit: 0 };
    let lines = fixture.client().jobs().list_logs(request).await.unwrap().into_inner().lines;
    assert_eq!(lines.iter().map(|line| line.message.as_str()).collect::<Vec<_>>(), ["one", "t\u{fffd}wo"]);
    let request = v1::ListMetricsRequest { job_id: ids[0].clone(), ..v1::ListMetricsRequest::default() };
    assert_eq!(fixture.client().jobs().list_metrics(request).await.unwrap().into_inner().series, series);
}

#[tokio::test]
async fn a_worker_is_shown_online_and_then_offline() {
    let fixture = Fixture::start().await;
    let worker = Worker::attach(fixture.client(), "worker", 3).await.unwrap();
    let list = || async {
        fixture.client().workers().list_workers(v1::ListWorkersRequest::default()).await.unwrap().into_inner().workers
    };
    let seen = until("the worker", list, |workers| !workers.is_empty()).await;
    assert_eq!((seen[0].name.as_str(), seen[0].slots, seen[0].state.as_str()), ("worker", 3, "online"));
    drop(worker);
    until("the worker to be offline", list, |workers| workers[0].state == "offline").await;
}

#[tokio::test]
async fn a_repeated_error_rate_is_one_event() {
    let fixture = Fixture::start().await;
    let ids = fixture.submit(vec![scrape(2)]).await;
    let mut worker = Worker::attach(fixture.client(), "chatty", 1).await.unwrap();
    let order = worker.next_task().await.unwrap();
    let point = |epoch: u32| v1::MetricPoint { step: u64::from(epoch), epoch, value: 0.25 };
    let metrics = |points| v1::AppendMetricsRequest {
        lease: order.lease.clone(),
        series: vec![v1::MetricSeries { name: "error_rate".into(), points }],
    };
    for points in [vec![point(0)], vec![point(0)], vec![point(0), point(1)]] {
        fixture.client().workers().append_metrics(metrics(points)).await.unwrap();
    }
    let result = scraped(&fixture.storage(), &order, |url| Some(url.as_bytes().to_vec())).await;
    worker.complete(order.lease.as_ref().unwrap(), result).await.unwrap();
    let events = fixture.events(&ids[0], 0).await;
    let epochs: Vec<_> = events.iter().filter(|event| event.kind == "epoch").map(|event| &event.message).collect();
    assert_eq!(epochs, ["epoch 1: error rate 25.0 %", "epoch 2: error rate 25.0 %"]);
}

#[tokio::test]
async fn of_two_attempts_of_a_task_the_lost_one_is_stopped() {
    let fixture = Fixture::start().await;
    fixture.submit(vec![scrape(2)]).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    let lost = worker.next_task().await.unwrap().lease.unwrap();
    worker.fail(&lost, v1::ErrorClass::Retryable, "bad luck").await.unwrap();
    let held = worker.next_task().await.unwrap().lease.unwrap();
    assert_eq!((&held.task_id, held.attempt), (&lost.task_id, 2));
    worker.report.running.push(v1::RunningAttempt { lease: Some(lost.clone()), progress: None, stop_stage: 0 });
    let stop = worker.next_stop().await.unwrap();
    assert_eq!((stop.reason(), stop.lease), (v1::StopReason::LeaseLost, Some(lost)));
}
