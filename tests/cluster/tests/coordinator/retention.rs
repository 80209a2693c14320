//! What is deleted when it is old, and what is not.

use std::os::unix::fs::symlink;
use std::path::Path;

use ursa_cluster::{Node, Worker, until};
use ursa_proto::{ApiError, ErrorCode, v1};
use ursa_storage::Key;
use uuid::Uuid;

use crate::fixture::{Fixture, after, answered, probe};

/// Nothing gets so old in a test by itself. How often is swept goes by the shortest time.
const OLD: [&str; 3] = ["--lease=5m", "--delete-jobs-after=30m", "--delete-deliveries-after=10s"];
/// What jobs wrote, by the table and how it names the job.
const WRITTEN: [(&str, &str); 6] = [
    ("events", "job_id"),
    ("metrics", "job_id"),
    ("log_objects", "job_id"),
    ("tasks", "job_id"),
    ("attempts", "job_id"),
    ("job_dependencies", "job_id"),
];

async fn count(fixture: &Fixture, table: &str, condition: &str) -> u32 {
    fixture.ask(&format!("select count(*) from {table} where {condition}")).await.parse().unwrap()
}

/// Submits the jobs, and has them done with everything that a job can leave behind.
async fn done(fixture: &Fixture, worker: &mut Worker, jobs: Vec<v1::JobDefinition>, key: &str) -> v1::Pipeline {
    let pipeline = Some(v1::PipelineSpec { name: "old".into(), jobs, ..v1::PipelineSpec::default() });
    let request = v1::SubmitPipelineRequest { pipeline, idempotency_key: key.into() };
    let pipeline = fixture.client().jobs().submit_pipeline(request).await.unwrap().into_inner().pipeline.unwrap();
    for _ in &pipeline.jobs {
        let lease = worker.next_task().await.unwrap().lease.unwrap();
        let line = v1::LogLine { level: "info".into(), message: "here".into(), ..v1::LogLine::default() };
        let request = v1::AppendLogsRequest { lease: Some(lease.clone()), lines: vec![line], sequence: 1 };
        fixture.client().workers().append_logs(request).await.unwrap();
        let points = vec![v1::MetricPoint { step: 1, epoch: 0, value: 0.5 }];
        let series = vec![v1::MetricSeries { name: "loss".into(), points }];
        let request = v1::AppendMetricsRequest { lease: Some(lease.clone()), series };
        fixture.client().workers().append_metrics(request).await.unwrap();
        worker.complete(&lease, answered()).await.unwrap();
    }
    for job in &pipeline.jobs {
        fixture.job_in(&job.id, "succeeded").await;
    }
    until("the logs to be archived", || count(fixture, "log_lines", "true"), |left| *left == 0).await;
    pipeline
}

/// Has a pipeline been submitted and its ended jobs ended an hour ago.
async fn age(fixture: &Fixture, pipeline: &v1::Pipeline) {
    let id = &pipeline.id;
    fixture
        .sql(&format!(
            "update pipelines set created_at = created_at - interval '1 hour' where id = '{id}';
            update jobs set finished_at = finished_at - interval '1 hour' where pipeline_id = '{id}'"
        ))
        .await;
}

async fn get(fixture: &Fixture, pipeline: &v1::Pipeline) -> Result<v1::Pipeline, ErrorCode> {
    let request = v1::GetPipelineRequest { id: pipeline.id.clone() };
    fixture
        .client()
        .jobs()
        .get_pipeline(request)
        .await
        .map(tonic::Response::into_inner)
        .map_err(|error| ApiError::from(error).code)
}

async fn gone(fixture: &Fixture, pipeline: &v1::Pipeline) {
    until("the pipeline to be gone", || get(fixture, pipeline), |found| *found == Err(ErrorCode::NotFound))
        .await
        .unwrap_err();
}

/// Whose jobs are a pipeline's.
fn of(pipeline: &v1::Pipeline, column: &str) -> String {
    let ids: Vec<_> = pipeline.jobs.iter().map(|job| format!("'{}'", job.id)).collect();
    format!("{column} in ({})", ids.join(", "))
}

fn two_in_a_row() -> Vec<v1::JobDefinition> {
    let mut second = after(probe(1), &["probe"]);
    second.name = "second".into();
    vec![probe(1), second]
}

#[tokio::test]
async fn a_pipeline_goes_whole_with_all_it_wrote_and_no_other_does() {
    let fixture = Fixture::start_with(&OLD).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    let old = done(&fixture, &mut worker, two_in_a_row(), "monday").await;
    let objects = [checkpoint_of(&fixture, &old).await, log_of(&fixture, &old).await];
    let young = done(&fixture, &mut worker, two_in_a_row(), "").await;
    let open = fixture.submit_pipeline(two_in_a_row()).await;
    let lease = worker.next_task().await.unwrap().lease.unwrap();
    worker.complete(&lease, answered()).await.unwrap();
    fixture.job_in(&open.jobs[0].id, "succeeded").await;
    age(&fixture, &open).await;
    age(&fixture, &old).await;

    gone(&fixture, &old).await;
    for (table, column) in WRITTEN {
        assert_eq!(count(&fixture, table, &of(&old, column)).await, 0, "{table}");
    }
    assert_eq!(count(&fixture, "checkpoints", "true").await, 0);
    for key in objects {
        assert!(!fixture.storage().exists(&key).await.unwrap(), "{key}");
    }
    assert_eq!(count(&fixture, "objects_to_delete", "true").await, 0);
    for (table, column) in WRITTEN {
        assert!(count(&fixture, table, &of(&young, column)).await > 0, "{table}");
    }
    assert_eq!(get(&fixture, &young).await.unwrap().state, "succeeded");
    assert_eq!(get(&fixture, &open).await.unwrap().jobs.len(), 2, "one of its jobs has not ended");
    let lease = worker.next_task().await.unwrap().lease.unwrap();
    worker.complete(&lease, answered()).await.unwrap();
    let again = done(&fixture, &mut worker, two_in_a_row(), "monday").await;
    assert_ne!(again.id, old.id, "the key went with its pipeline");
}

/// Has the first job of a pipeline have left a checkpoint.
async fn checkpoint_of(fixture: &Fixture, pipeline: &v1::Pipeline) -> Key {
    let task = fixture.ask(&format!("select id from tasks where job_id = '{}'", pipeline.jobs[0].id)).await;
    let key = Key::Checkpoint { task: Uuid::parse_str(&task).unwrap(), attempt: 1, epoch: 3, step: 9 };
    fixture.storage().put(&key, "weights".into()).await.unwrap();
    fixture
        .sql(&format!(
            "insert into checkpoints (task_id, attempt, epoch, key, sha256, bytes)
            values ('{task}', 1, 3, '{key}', '', 7)"
        ))
        .await;
    key
}

async fn log_of(fixture: &Fixture, pipeline: &v1::Pipeline) -> Key {
    let key = format!("select key from log_objects where {} limit 1", of(pipeline, "job_id"));
    fixture.ask(&key).await.parse().unwrap()
}

#[tokio::test]
async fn an_object_that_cannot_be_deleted_with_its_row_is_not_forgotten_and_goes_once_the_store_is_back() {
    let fixture = Fixture::start_with(&OLD).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    let old = done(&fixture, &mut worker, vec![probe(1)], "").await;
    let objects = [checkpoint_of(&fixture, &old).await, log_of(&fixture, &old).await];
    for key in objects {
        assert!(fixture.storage().exists(&key).await.unwrap(), "{key}");
    }
    // Nobody can look into a folder that leads to itself.
    let folders = ["checkpoints", "logs"].map(|folder| Path::new(fixture.storage().location()).join(folder));
    for folder in &folders {
        std::fs::rename(folder, folder.with_extension("away")).unwrap();
        symlink(folder, folder).unwrap();
    }
    age(&fixture, &old).await;
    gone(&fixture, &old).await;
    for table in ["checkpoints", "log_objects"] {
        assert_eq!(count(&fixture, table, "true").await, 0, "{table}");
    }
    let named = objects.map(|key| format!("'{key}'")).join(", ");
    assert_eq!(count(&fixture, "objects_to_delete", &format!("key in ({named})")).await, 2);
    for folder in &folders {
        std::fs::remove_file(folder).unwrap();
        std::fs::rename(folder.with_extension("away"), folder).unwrap();
    }
    let left = async || count(&fixture, "objects_to_delete", "true").await;
    until("the keys to be forgotten", left, |left| *left == 0).await;
    for key in objects {
        assert!(!fixture.storage().exists(&key).await.unwrap(), "{key}");
    }
}

#[tokio::test]
async fn who_took_over_an_output_has_it_for_its_own_when_the_first_is_gone() {
    let fixture = Fixture::start_with(&OLD).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    let first = done(&fixture, &mut worker, vec![probe(1)], "").await;
    let rerun = async |pipeline: &v1::Pipeline| {
        let request = v1::RerunPipelineRequest { id: pipeline.id.clone(), ..v1::RerunPipelineRequest::default() };
        let rerun = fixture.client().jobs().rerun_pipeline(request).await.unwrap().into_inner().pipeline.unwrap();
        fixture.job_in(&rerun.jobs[0].id, "succeeded").await;
        get(&fixture, &rerun).await.unwrap()
    };
    let second = rerun(&first).await;
    assert_eq!((&second.rerun_of, &second.jobs[0].cached_from), (&first.id, &first.jobs[0].id));
    age(&fixture, &first).await;
    gone(&fixture, &first).await;
    let kept = get(&fixture, &second).await.unwrap();
    assert_eq!((kept.rerun_of.as_str(), kept.jobs[0].cached_from.as_str()), ("", ""), "nothing names what is gone");
    let third = rerun(&second).await;
    assert_eq!(third.jobs[0].cached_from, second.jobs[0].id);
}

#[tokio::test]
async fn what_a_job_wrote_may_go_before_it() {
    let flags = ["--delete-logs-after=30m", "--delete-metrics-after=30m", "--delete-events-after=30m"];
    let rest = ["--lease=5m", "--delete-jobs-after=never", "--delete-deliveries-after=10s"];
    let fixture = Fixture::start_with(&[flags, rest].concat()).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    let old = done(&fixture, &mut worker, vec![probe(1)], "").await;
    let young = done(&fixture, &mut worker, vec![probe(1)], "").await;
    age(&fixture, &old).await;
    for table in ["events", "metrics", "log_objects"] {
        let left = async || count(&fixture, table, &of(&old, "job_id")).await;
        until(table, left, |left| *left == 0).await;
        assert!(count(&fixture, table, &of(&young, "job_id")).await > 0, "{table}");
    }
    let detail = fixture.job(&old.jobs[0].id).await;
    assert_eq!((detail.job.unwrap().state.as_str(), detail.tasks.len()), ("succeeded", 1));
}

#[tokio::test]
async fn a_job_that_is_being_deleted_gets_no_other_round() {
    let fixture = Fixture::start().await;
    let id = fixture.submit(vec![probe(1)]).await.remove(0);
    fixture.client().jobs().cancel_job(v1::CancelJobRequest { id: id.clone() }).await.unwrap();
    fixture.job_in(&id, "cancelled").await;
    fixture.sql("update jobs set retired = true").await;
    let error = fixture.client().jobs().retry_job(v1::RetryJobRequest { id }).await.unwrap_err();
    assert_eq!(ApiError::from(error).code, ErrorCode::NotFound);
}

#[tokio::test]
async fn peers_that_were_not_seen_and_deliveries_that_ended_long_ago_are_forgotten() {
    let fixture = Fixture::start_with(&[
        "--forget-peers-after=30m",
        "--delete-deliveries-after=30m",
        "--delete-metrics-after=10s",
    ])
    .await;
    let worker = Worker::attach(fixture.client(), "gone", 1).await.unwrap();
    let node = Node::attach(fixture.client(), "gone", "ready", "").await.unwrap();
    let (is_worker, is_node) = ("not internal and name = 'gone'", "name = 'gone'");
    until("the worker", || count(&fixture, "workers", is_worker), |seen| *seen == 1).await;
    until("the node", || count(&fixture, "nodes", is_node), |seen| *seen == 1).await;
    drop((worker, node));
    let mut stays = Worker::attach(fixture.client(), "stays", 1).await.unwrap();
    stays.say().await.unwrap();
    fixture
        .sql(
            "insert into webhooks (id, url, secret, kinds) values (gen_random_uuid(), 'http://web.test', '', '{}');
            insert into deliveries (webhook_id, event_id, kind, body, state, next_at)
            select id, 1, 'job.failed', '', state, now() - interval '1 hour'
            from webhooks cross join unnest('{delivered,failed,pending}'::text[]) as s (state);
            insert into assignments (node_id, endpoint, model_digest, state)
            select id, 'bears', 'x', 'ready' from nodes",
        )
        .await;
    // Its last words may still be on their way.
    let backdated = async || {
        fixture.sql("update workers set last_seen_at = last_seen_at - interval '1 hour' where name = 'gone'").await;
        fixture.sql("update nodes set last_seen_at = last_seen_at - interval '1 hour' where name = 'gone'").await;
        count(&fixture, "workers", is_worker).await + count(&fixture, "nodes", is_node).await
    };
    until("the peers to be forgotten", backdated, |left| *left == 0).await;
    assert_eq!(count(&fixture, "assignments", "true").await, 0);
    assert_eq!(count(&fixture, "workers", "name = 'stays'").await, 1);
    let ended = async || count(&fixture, "deliveries", "state <> 'pending'").await;
    until("the deliveries to be forgotten", ended, |left| *left == 0).await;
}

#[tokio::test]
async fn a_long_series_of_a_run_is_told_further_apart_where_it_is_old() {
    let fixture = Fixture::start_with(&OLD).await;
    fixture.submit(vec![probe(1)]).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    let order = worker.next_task().await.unwrap();
    let task = order.lease.as_ref().unwrap().task_id.clone();
    let points = |name: &str, last: u32| {
        format!(
            "insert into metrics (task_id, attempt, name, step, job_id, epoch, value)
            select '{task}', 1, '{name}', step, '{}', 0, 0 from generate_series(1, {last}) step;",
            order.job_id
        )
    };
    fixture.sql(&(points("train_loss", 100_001) + &points("rate", 100_000))).await;
    until("the series to be thinned", || count(&fixture, "metrics", "name = 'train_loss'"), |left| *left == 75_001)
        .await;
    assert_eq!(count(&fixture, "metrics", "name = 'train_loss' and step <= 50001 and step % 2 = 0").await, 0);
    assert_eq!(count(&fixture, "metrics", "name = 'train_loss' and step > 50001").await, 50_000, "the latest stay");
    assert_eq!(count(&fixture, "metrics", "name = 'rate'").await, 100_000);
}
