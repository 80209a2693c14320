//! What a task needs of a worker, and what it is told when there is no such worker.

use ursa_cluster::Worker;
use ursa_proto::v1;

use crate::fixture::{Fixture, answered, probe, seconds};

const GIB: u64 = 1 << 30;

fn gpu(index: u32, model: &str, memory_gib: u64, free_gib: u64) -> v1::Gpu {
    v1::Gpu {
        index,
        model: model.into(),
        memory_bytes: memory_gib * GIB,
        free_bytes: free_gib * GIB,
        driver: "550.54.15".into(),
        utilisation_percent: Some(0),
    }
}

async fn attach(fixture: &Fixture, name: &str, slots: u32, gpus: Vec<v1::Gpu>, labels: &[(&str, &str)]) -> Worker {
    let mut report = v1::WorkerReport {
        worker_id: uuid::Uuid::new_v4().to_string(),
        name: name.into(),
        protocol_version: ursa_proto::SESSION_PROTOCOL_VERSION,
        version: "test".into(),
        slots,
        gpus,
        ..v1::WorkerReport::default()
    };
    report.labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Worker::attach_with(fixture.client(), report).await.unwrap()
}

fn needs(resources: v1::Resources) -> v1::JobDefinition {
    v1::JobDefinition { resources: Some(resources), ..probe(1) }
}

fn gpus(count: u32, memory_gib: u64) -> v1::Resources {
    v1::Resources { gpus: Some(count), gpu_memory_bytes: memory_gib * GIB, ..v1::Resources::default() }
}

/// Waits for the reason that a job gives, as soon as it knows of a worker.
async fn reason(fixture: &Fixture, id: &str, part: &str) -> String {
    let why = async || fixture.job(id).await.job.unwrap().waiting_reason;
    ursa_cluster::until("the reason", why, |reason: &String| reason.contains(part)).await
}

#[tokio::test]
async fn a_task_gets_the_smallest_gpu_that_is_really_large_enough() {
    let fixture = Fixture::start().await;
    let machine = vec![gpu(0, "NVIDIA H100", 80, 80), gpu(1, "NVIDIA A10", 24, 24), gpu(2, "NVIDIA A40", 48, 6)];
    let mut worker = attach(&fixture, "worker", 4, machine, &[]).await;
    fixture.submit(vec![needs(gpus(1, 20))]).await;
    assert_eq!(worker.next_task().await.unwrap().gpus, [1], "the A40 is in use by somebody else");
    fixture.submit(vec![needs(gpus(1, 20))]).await;
    assert_eq!(worker.next_task().await.unwrap().gpus, [0]);
    let ids = fixture.submit(vec![needs(gpus(1, 20))]).await;
    let reason = reason(&fixture, &ids[0], "attached").await;
    assert_eq!(reason, "needs 1 GPU with 20 GiB; 1 worker attached, all its GPUs are in use");
}

#[tokio::test]
async fn a_task_that_fits_nowhere_says_why() {
    let fixture = Fixture::start().await;
    let ids = fixture.submit(vec![needs(gpus(1, 40))]).await;
    assert_eq!(fixture.job(&ids[0]).await.job.unwrap().waiting_reason, "no worker that takes probe tasks is attached");
    let _workers = [
        attach(&fixture, "one", 1, vec![gpu(0, "NVIDIA A10", 24, 24)], &[("zone", "secret")]).await,
        attach(&fixture, "two", 1, vec![gpu(0, "NVIDIA A2", 16, 16)], &[]).await,
        attach(&fixture, "three", 1, Vec::new(), &[]).await,
    ];
    let text = reason(&fixture, &ids[0], "3 workers").await;
    assert_eq!(text, "needs 1 GPU with 40 GiB; 3 workers attached, largest has 24 GiB");
    let labels = [("zone".to_owned(), "cellar".to_owned())].into();
    let ids = fixture.submit(vec![needs(v1::Resources { labels, ..v1::Resources::default() })]).await;
    let text = reason(&fixture, &ids[0], "label").await;
    assert_eq!(text, "needs label zone=cellar; none of 3 workers has it");
    assert!(!text.contains("secret"));
    let ids = fixture.submit(vec![needs(gpus(2, 0))]).await;
    let text = reason(&fixture, &ids[0], "GPUs").await;
    assert_eq!(text, "needs 2 GPUs; 3 workers attached, none has more than 1");
}

#[tokio::test]
async fn labels_are_asked_for_and_avoided() {
    let fixture = Fixture::start().await;
    let mut cellar = attach(&fixture, "cellar", 1, Vec::new(), &[("zone", "cellar")]).await;
    let mut attic = attach(&fixture, "attic", 1, Vec::new(), &[("zone", "attic")]).await;
    let labels = [("zone".to_owned(), "attic".to_owned())];
    let wanted = v1::Resources { labels: labels.clone().into(), ..v1::Resources::default() };
    let avoided = v1::Resources { avoid_labels: labels.into(), ..v1::Resources::default() };
    let ids = fixture.submit(vec![needs(wanted)]).await;
    assert_eq!(attic.next_task().await.unwrap().job_id, ids[0]);
    let ids = fixture.submit(vec![needs(avoided)]).await;
    assert_eq!(cellar.next_task().await.unwrap().job_id, ids[0]);
}

#[tokio::test]
async fn tasks_share_a_gpu_as_long_as_its_memory_lasts() {
    let fixture = Fixture::start().await;
    let mut worker = attach(&fixture, "worker", 8, vec![gpu(0, "NVIDIA A10", 24, 24)], &[]).await;
    let shared = v1::Resources { shared: true, ..gpus(1, 10) };
    let mut job = needs(shared);
    job.spec = Some(v1::job_definition::Spec::Probe(v1::ProbeSpec { tasks: 3, duration_ms: 0, failures: 0 }));
    let ids = fixture.submit(vec![job]).await;
    let two = async || fixture.job(&ids[0]).await.job.unwrap().tasks.unwrap().running;
    worker.say().await.unwrap();
    ursa_cluster::until("two tasks to share the GPU", two, |running| *running == 2).await;
    for _ in 0..5 {
        worker.say().await.unwrap();
    }
    assert_eq!(two().await, 2, "a third would not fit");
    let lease = worker.report.running[0].lease.clone().unwrap();
    worker.complete(&lease, answered()).await.unwrap();
    ursa_cluster::until("the third", two, |running| *running == 2).await;
}

#[tokio::test]
async fn a_gang_gets_its_workers_together_or_not_at_all() {
    let fixture = Fixture::start().await;
    let gang = || v1::JobDefinition { workers: 2, ..probe(2) };
    let mut first = attach(&fixture, "first", 4, Vec::new(), &[]).await;
    let ids = fixture.submit(vec![gang()]).await;
    for _ in 0..10 {
        assert!(first.say().await.unwrap().start.is_empty(), "one worker is not two");
    }
    let text = reason(&fixture, &ids[0], "only 1 of 1 worker could do it").await;
    assert!(text.contains("needs 2 workers at once"), "{text}");
    let mut second = attach(&fixture, "second", 4, Vec::new(), &[]).await;
    let (one, other) = tokio::join!(first.next_task(), second.next_task());
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_ne!(one.lease.as_ref().unwrap().task_id, other.lease.as_ref().unwrap().task_id);

    // One of them fails: the other can do nothing without it, and comes back with no attempt used up.
    first.fail(one.lease.as_ref().unwrap(), v1::ErrorClass::Retryable, "bad luck").await.unwrap();
    assert_eq!(second.next_stop().await.unwrap().reason(), v1::StopReason::Preempted);
    second.fail(other.lease.as_ref().unwrap(), v1::ErrorClass::Returned, "alone").await.unwrap();
    let (one, other) = tokio::join!(first.next_task(), second.next_task());
    first.complete(one.unwrap().lease.as_ref().unwrap(), answered()).await.unwrap();
    second.complete(other.unwrap().lease.as_ref().unwrap(), answered()).await.unwrap();
    fixture.job_in(&ids[0], "succeeded").await;
}

#[tokio::test]
async fn a_worker_that_is_drained_finishes_what_it_has_and_gets_no_more() {
    let fixture = Fixture::start().await;
    let ids = fixture.submit(vec![probe(2)]).await;
    let mut worker = attach(&fixture, "worker", 1, Vec::new(), &[]).await;
    let lease = worker.next_task().await.unwrap().lease.unwrap();
    let drain = |drain| v1::DrainWorkerRequest { id: worker.report.worker_id.clone(), drain };
    let (on, off) = (drain(true), drain(false));
    let shown = fixture.client().workers().drain_worker(on).await.unwrap().into_inner();
    assert!(shown.draining);
    worker.complete(&lease, answered()).await.unwrap();
    for _ in 0..10 {
        let orders = worker.say().await.unwrap();
        assert!(orders.start.is_empty());
    }
    assert!(worker.say().await.unwrap().drain, "it is told");
    fixture.client().workers().drain_worker(off).await.unwrap();
    let lease = worker.next_task().await.unwrap().lease.unwrap();
    worker.complete(&lease, answered()).await.unwrap();
    fixture.job_in(&ids[0], "succeeded").await;
}

#[tokio::test]
async fn a_worker_that_another_coordinator_drains_gets_no_more() {
    let fixture = Fixture::start().await;
    let other = fixture.coordinator.start_beside(&[]).await.unwrap();
    fixture.submit(vec![probe(20)]).await;
    let mut worker = attach(&fixture, "worker", 1, Vec::new(), &[]).await;
    let lease = worker.next_task().await.unwrap().lease.unwrap();
    let request = v1::DrainWorkerRequest { id: worker.report.worker_id.clone(), drain: true };
    other.client.workers().drain_worker(request).await.unwrap();
    worker.complete(&lease, answered()).await.unwrap();
    for _ in 0..10 {
        assert!(worker.say().await.unwrap().start.is_empty());
    }
}

#[tokio::test]
async fn what_is_left_of_a_gang_that_lost_a_member_for_good_is_cancelled() {
    let fixture = Fixture::start().await;
    let gang = v1::JobDefinition { workers: 2, max_attempts: 2, ..probe(2) };
    let ids = fixture.submit(vec![gang]).await;
    let mut first = Worker::attach(fixture.client(), "first", 1).await.unwrap();
    let mut second = Worker::attach(fixture.client(), "second", 1).await.unwrap();
    let broken = first.next_task().await.unwrap().lease.unwrap();
    let sound = second.next_task().await.unwrap().lease.unwrap();
    first.fail(&broken, v1::ErrorClass::Fatal, "broken").await.unwrap();
    assert_eq!(second.next_stop().await.unwrap().reason(), v1::StopReason::Cancelled);
    second.fail(&sound, v1::ErrorClass::Returned, "alone").await.unwrap();
    let detail = fixture.job_in(&ids[0], "failed").await;
    let mut states: Vec<_> = detail.tasks.iter().map(|task| task.state.as_str()).collect();
    states.sort_unstable();
    assert_eq!(states, ["cancelled", "failed"]);
}

/// What waits for a second try of its own does not keep others of its lane waiting, however long it has been there.
#[tokio::test]
async fn a_gang_is_not_held_up_by_an_older_one_that_is_not_whole() {
    let fixture = Fixture::start().await;
    let backoff = Some(v1::Backoff { first: seconds(600.0), longest: seconds(600.0) });
    let gang = || v1::JobDefinition { workers: 2, backoff, ..probe(2) };
    let ids = fixture.submit(vec![gang()]).await;
    let mut first = Worker::attach(fixture.client(), "first", 1).await.unwrap();
    let mut second = Worker::attach(fixture.client(), "second", 1).await.unwrap();
    let unlucky = first.next_task().await.unwrap().lease.unwrap();
    let other = second.next_task().await.unwrap().lease.unwrap();
    first.fail(&unlucky, v1::ErrorClass::Retryable, "bad luck").await.unwrap();
    second.next_stop().await.unwrap();
    second.fail(&other, v1::ErrorClass::Returned, "alone").await.unwrap();
    fixture.sql("update tasks set ready_at = now() - interval '1 hour' where state = 'ready'").await;

    let later = fixture.submit(vec![gang()]).await;
    let (one, other) = tokio::join!(first.next_task(), second.next_task());
    for (worker, order) in [(&mut first, one), (&mut second, other)] {
        let order = order.unwrap();
        assert_eq!(order.job_id, later[0]);
        worker.complete(order.lease.as_ref().unwrap(), answered()).await.unwrap();
    }
    fixture.job_in(&later[0], "succeeded").await;
    assert_eq!(fixture.job(&ids[0]).await.job.unwrap().state, "running");
}

#[tokio::test]
async fn a_gang_that_does_not_come_together_in_time_fails_as_a_whole() {
    let fixture = Fixture::start().await;
    let _alone = Worker::attach(fixture.client(), "alone", 4).await.unwrap();
    let deadlines = Some(v1::Deadlines { queue_wait: seconds(1.0), ..v1::Deadlines::default() });
    let ids = fixture.submit(vec![v1::JobDefinition { workers: 2, deadlines, ..probe(2) }]).await;
    let detail = fixture.job_in(&ids[0], "failed").await;
    assert!(detail.tasks.iter().all(|task| task.state == "failed"), "{:?}", detail.tasks);
}

#[tokio::test]
async fn those_of_a_gang_whose_part_is_not_done_go_on_without_the_others() {
    let fixture = Fixture::start().await;
    let backoff = Some(v1::Backoff { first: seconds(0.01), longest: seconds(0.01) });
    let gang = || v1::JobDefinition { workers: 2, backoff, ..probe(2) };
    let ids = fixture.submit(vec![gang()]).await;
    let mut first = Worker::attach(fixture.client(), "first", 1).await.unwrap();
    let mut second = Worker::attach(fixture.client(), "second", 1).await.unwrap();
    let done = first.next_task().await.unwrap().lease.unwrap();
    let unlucky = second.next_task().await.unwrap().lease.unwrap();
    first.complete(&done, answered()).await.unwrap();
    drop(first);
    second.fail(&unlucky, v1::ErrorClass::Retryable, "bad luck").await.unwrap();
    let again = second.next_task().await.unwrap().lease.unwrap();
    assert_eq!((&again.task_id, again.attempt), (&unlucky.task_id, 2));
    second.complete(&again, answered()).await.unwrap();
    fixture.job_in(&ids[0], "succeeded").await;

    let mut third = Worker::attach(fixture.client(), "third", 1).await.unwrap();
    let later = fixture.submit(vec![gang()]).await;
    let (one, other) = tokio::join!(second.next_task(), third.next_task());
    second.complete(one.unwrap().lease.as_ref().unwrap(), answered()).await.unwrap();
    third.complete(other.unwrap().lease.as_ref().unwrap(), answered()).await.unwrap();
    fixture.job_in(&later[0], "succeeded").await;
}
