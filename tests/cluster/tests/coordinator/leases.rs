//! Who may do what with a task, and what happens when they do not.

use std::time::Duration;

use ursa_cluster::{Worker, until};
use ursa_proto::{ApiError, ErrorCode, v1};

use crate::fixture::{Fixture, job, scrape, scraped};

#[tokio::test]
async fn a_worker_that_falls_silent_loses_its_task_and_every_right_to_it() {
    let fixture = Fixture::start().await;
    let ids = fixture.submit(vec![scrape(2)]).await;
    let mut silent = Worker::attach(fixture.client(), "silent", 1).await.unwrap();
    let first = silent.next_task().await.unwrap();
    let lost = first.lease.clone().unwrap();

    let mut other = Worker::attach(fixture.client(), "other", 1).await.unwrap();
    let second = other.next_task().await.unwrap();
    let held = second.lease.clone().unwrap();
    assert_eq!((held.task_id.as_str(), held.attempt), (lost.task_id.as_str(), 2));

    for refused in every_verb(&fixture, &mut silent, &first).await {
        assert_eq!(refused.unwrap_err().code, ErrorCode::LeaseLost);
    }
    silent.report.running = vec![v1::RunningAttempt { lease: Some(lost.clone()), progress: None, stop_stage: 0 }];
    let stop = silent.next_stop().await.unwrap();
    assert_eq!((stop.lease.clone().unwrap(), stop.reason()), (lost, v1::StopReason::LeaseLost));

    let result = scraped(&fixture.storage(), &second, |url| Some(url.as_bytes().to_vec())).await;
    other.complete(&held, result.clone()).await.unwrap();
    other.complete(&held, result).await.expect("repeating it after a lost answer is harmless");
    let detail = fixture.job_in(&ids[0], "succeeded").await;
    let states: Vec<_> = detail.tasks[0].attempts.iter().map(|attempt| attempt.state.as_str()).collect();
    assert_eq!(states, ["lost", "succeeded"]);
    let class = detail.tasks[0].attempts[0].error_class();
    assert_eq!(class, v1::ErrorClass::Fenced, "it came back after its lease was gone");
}

/// Everything that presents a lease, with the lease of `order`.
async fn every_verb(fixture: &Fixture, worker: &mut Worker, order: &v1::TaskOrder) -> Vec<Result<(), ApiError>> {
    let lease = order.lease.clone();
    let mut workers = fixture.client().workers();
    let line = v1::LogLine { level: "info".into(), message: "still here".into(), ..v1::LogLine::default() };
    let logs = v1::AppendLogsRequest { lease: lease.clone(), lines: vec![line], sequence: 1 };
    let metrics = v1::AppendMetricsRequest { lease: lease.clone(), series: Vec::new() };
    let checkpoint = v1::RecordCheckpointRequest { lease: lease.clone(), checkpoint: Some(v1::Checkpoint::default()) };
    let mut answers = vec![
        workers.append_logs(logs).await.map(drop).map_err(ApiError::from),
        workers.append_metrics(metrics).await.map(drop).map_err(ApiError::from),
        workers.record_checkpoint(checkpoint).await.map(drop).map_err(ApiError::from),
    ];
    let lease = lease.unwrap();
    let result = scraped(&fixture.storage(), order, |url| Some(url.as_bytes().to_vec())).await;
    answers.push(worker.complete(&lease, result).await);
    answers.push(worker.fail(&lease, v1::ErrorClass::Fatal, "out of spite").await);
    answers
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
