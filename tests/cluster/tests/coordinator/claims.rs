//! How much a worker is given at a time.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use ursa_client::Client;
use ursa_cluster::{Coordinator, Worker, until};
use ursa_proto::v1;

use crate::fixture::{Fixture, after, answered, probe, scrape, snapshot, train, trained, verify};

#[tokio::test]
async fn orders_come_in_messages_that_are_not_too_large() {
    let fixture = Fixture::start().await;
    let mut job = scrape(600);
    if let Some(v1::job_definition::Spec::Scrape(spec)) = &mut job.spec {
        spec.urls_per_task = 200;
        for url in spec.classes.iter_mut().flat_map(|class| &mut class.urls) {
            url.push('?');
            url.push_str(&"x".repeat(1800));
        }
    }
    let ids = fixture.submit(vec![job]).await;
    fixture.job_in(&ids[0], "running").await;
    let mut worker = Worker::attach(fixture.client(), "roomy", 100).await.unwrap();
    let mut portions = Vec::new();
    while portions.iter().sum::<usize>() < 6 {
        portions.push(worker.hear().await.unwrap().start.len());
    }
    assert_eq!(portions.into_iter().filter(|portion| *portion > 0).collect::<Vec<_>>(), [1; 6]);
}

/// Without being told of the room the dispatcher looks once a second.
#[tokio::test]
async fn room_that_comes_free_goes_at_once_to_what_waits_for_it() {
    let fixture = Fixture::start().await;
    let ids = fixture.submit(vec![probe(11)]).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    let mut order = worker.next_task().await.unwrap();
    let begin = Instant::now();
    for _ in 0..10 {
        worker.complete(order.lease.as_ref().unwrap(), answered()).await.unwrap();
        order = worker.next_task().await.unwrap();
    }
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    worker.complete(order.lease.as_ref().unwrap(), answered()).await.unwrap();
    fixture.job_in(&ids[0], "succeeded").await;
}

/// As after a transaction that began before others and was committed after them.
#[tokio::test]
async fn what_stands_before_the_place_that_a_round_begins_at_is_found() {
    let fixture = Fixture::start().await;
    let ids = fixture.submit(vec![probe(4)]).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    let lease = worker.next_task().await.unwrap().lease.unwrap();
    for (ordinal, seconds) in [(1, 1), (2, 8)] {
        let earlier = format!("ready_at = ready_at - interval '{seconds} seconds'");
        fixture.sql(&format!("update tasks set {earlier} where state = 'ready' and ordinal = {ordinal}")).await;
    }
    worker.complete(&lease, answered()).await.unwrap();
    for _ in 0..3 {
        let lease = worker.next_task().await.unwrap().lease.unwrap();
        worker.complete(&lease, answered()).await.unwrap();
    }
    fixture.job_in(&ids[0], "succeeded").await;
}

/// Keeps Postgres from cleaning up: what was taken lies dead in the index of what is ready.
const OLD_TRANSACTION: &str = "select pg_sleep(60)";
pub(crate) const DEAD: u32 = 400;
const TASKS: u32 = 40;

#[tokio::test]
async fn a_lane_in_which_nothing_is_left_is_not_gone_through_with_every_look() {
    let fixture = Fixture::start().await;
    // A while ago, so that none of them may have been committed late.
    let emptied = fixture.submit(vec![probe(DEAD)]).await;
    fixture.sql("update tasks set ready_at = ready_at - interval '1 hour'").await;
    let work = async {
        let first = Coordinator::start(&fixture.postgres.url()).await.unwrap();
        at_work(&first.client, DEAD as usize).await.complete_all(answered).await.unwrap();
        fixture.job_in(&emptied[0], "succeeded").await;
        // One that knows of nothing beside one that saw them ready.
        let other = Coordinator::start(&fixture.postgres.url()).await.unwrap();
        let look = Looks::begin(&fixture).await;
        let ids = fixture.submit(vec![v1::JobDefinition { priority: Some(9), ..probe(TASKS) }]).await;
        one_after_the_other(&other.client).await;
        fixture.job_in(&ids[0], "succeeded").await;
        look.end(&fixture, 2 * TASKS, TASKS * DEAD / 8).await;
    };
    beside_an_old_transaction(&fixture, work).await;
}

/// All of them became ready at the same time.
#[tokio::test]
async fn what_was_taken_of_a_job_is_not_gone_through_with_every_look() {
    let fixture = Fixture::start().await;
    let work = async {
        let ids = fixture.submit(vec![probe(DEAD + TASKS)]).await;
        let mut worker = at_work(fixture.client(), DEAD as usize).await;
        worker.report.draining = true;
        worker.say().await.unwrap();
        worker.complete_all(answered).await.unwrap();
        drop(worker);
        let look = Looks::begin(&fixture).await;
        one_after_the_other(fixture.client()).await;
        fixture.job_in(&ids[0], "succeeded").await;
        look.end(&fixture, 2 * TASKS, TASKS * DEAD / 8).await;
    };
    beside_an_old_transaction(&fixture, work).await;
}

pub(crate) async fn beside_an_old_transaction(fixture: &Fixture, work: impl Future<Output = ()>) {
    let work = async {
        let open = format!("select count(*) from pg_stat_activity where query = '{OLD_TRANSACTION}'");
        until("the old transaction", || fixture.ask(&open), |open| open == "1").await;
        work.await;
        fixture.ask("select pg_terminate_backend(pid) from pg_stat_activity where query like 'select pg_sleep%'").await;
    };
    let (old, ()) = tokio::join!(fixture.postgres.ask(OLD_TRANSACTION), work);
    old.unwrap_err();
}

/// Takes and ends so many tasks, each by itself.
async fn one_after_the_other(client: &Client) {
    let mut worker = Worker::attach(client, "worker", 1).await.unwrap();
    for _ in 0..TASKS {
        let lease = worker.next_task().await.unwrap().lease.unwrap();
        worker.complete(&lease, answered()).await.unwrap();
    }
}

/// How often the index of what is ready was gone through before, and how much of it was read.
#[derive(Debug)]
pub(crate) struct Looks {
    count: u32,
    entries: u32,
}

impl Looks {
    pub(crate) async fn begin(fixture: &Fixture) -> Self {
        // Postgres says within seconds what was read.
        tokio::time::sleep(Duration::from_secs(3)).await;
        Self::ask(fixture).await
    }

    async fn ask(fixture: &Fixture) -> Self {
        let both =
            "select idx_scan || ' ' || idx_tup_read from pg_stat_user_indexes where indexrelname = 'tasks_ready'";
        let both = fixture.ask(both).await;
        let (count, entries) = both.split_once(' ').unwrap();
        Self { count: count.parse().unwrap(), entries: entries.parse().unwrap() }
    }

    /// Once so many more are told of: less than `most` was read in them.
    pub(crate) async fn end(self, fixture: &Fixture, looks: u32, most: u32) {
        let now = until("the statistics", || Self::ask(fixture), |now| now.count >= self.count + looks).await;
        let entries = now.entries - self.entries;
        assert!(entries < most, "{entries} entries of the index in {} looks", now.count - self.count);
    }
}

#[tokio::test]
async fn a_worker_trains_one_model_at_a_time() {
    let fixture = Fixture::start().await;
    let mut second = train();
    second.name = "second".into();
    let jobs = vec![scrape(30), after(verify(), &["scrape"]), after(snapshot(), &["verify"]), train(), second];
    let ids = fixture.submit(jobs).await;
    let mut preparing = Worker::attach(fixture.client(), "preparing", 1).await.unwrap();
    preparing.report.kinds = vec!["scrape".into(), "verify".into()];
    fixture.prepare_images(&mut preparing).await;
    for id in &ids[3..] {
        fixture.job_in(id, "running").await;
    }
    let mut worker = Worker::attach(fixture.client(), "worker", 4).await.unwrap();
    let order = worker.next_task().await.unwrap();
    for _ in 0..3 {
        assert_eq!(worker.say().await.unwrap().start, [], "it trains already");
    }
    worker.complete(order.lease.as_ref().unwrap(), trained()).await.unwrap();
    let next = worker.next_task().await.unwrap();
    assert_ne!(next.job_id, order.job_id);
}

#[tokio::test]
async fn many_attempts_end_in_one_call_each_by_itself() {
    let fixture = Fixture::start().await;
    let ids = fixture.submit(vec![probe(100)]).await;
    let mut worker = at_work(fixture.client(), 100).await;
    let mut completions = worker.completions(answered);
    let sound = completions[1].clone();
    let stale = completions[0].lease.as_mut().unwrap();
    stale.token = uuid::Uuid::new_v4().to_string();
    completions.push(sound);
    let request = v1::CompleteTasksRequest { completions };
    let outcomes = worker.client.workers().complete_tasks(request).await.unwrap().into_inner().outcomes;
    let code = |outcome: &v1::CompletionOutcome| outcome.error.as_ref().map(v1::Error::code);
    assert_eq!(code(&outcomes[0]), Some(v1::ErrorCode::LeaseLost));
    // The last one repeats another.
    assert_eq!((outcomes.len(), outcomes[1..].iter().filter_map(code).count()), (101, 0));
    assert_eq!(fixture.job(&ids[0]).await.job.unwrap().tasks.unwrap().succeeded, 99);

    let too_many = v1::CompleteTasksRequest { completions: vec![v1::CompleteTaskRequest::default(); 1001] };
    let refused = worker.client.workers().complete_tasks(too_many).await.unwrap_err();
    assert_eq!(ursa_proto::ApiError::from(refused).code, v1::ErrorCode::TooLarge);
}

#[tokio::test]
async fn what_happens_to_many_tasks_at_once_is_told_once() {
    let fixture = Fixture::start().await;
    let ids = fixture.submit(vec![probe(100)]).await;
    let mut worker = at_work(fixture.client(), 100).await;
    let leases = worker.report.running.iter().filter_map(|running| running.lease.as_ref());
    let tasks: HashSet<String> = leases.map(|lease| lease.task_id.clone()).collect();
    assert_eq!(tasks.len(), 100);
    worker.complete_all(answered).await.unwrap();
    let events = fixture.events(&ids[0], 0).await;
    let kinds: Vec<_> = events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, ["job.waiting", "job.running", "tasks.leased", "tasks.succeeded", "job.succeeded"]);
    assert_eq!((events[2].message.as_str(), events[2].task_id.as_str()), ("100 tasks were leased", ""));
    for event in &events[2..4] {
        let named: HashSet<&str> = event.tasks.iter().map(|task| task.task_id.as_str()).collect();
        assert_eq!(named, tasks.iter().map(String::as_str).collect(), "{}", event.kind);
        assert!(event.tasks.iter().all(|task| task.attempt == 1));
    }
    assert!(events[4].tasks.is_empty());
}

#[tokio::test]
async fn what_happens_to_few_tasks_is_told_of_each() {
    let fixture = Fixture::start().await;
    let ids = fixture.submit(vec![probe(7)]).await;
    let mut worker = at_work(fixture.client(), 7).await;
    worker.complete_all(answered).await.unwrap();
    let events = fixture.events(&ids[0], 0).await;
    let count = |kind: &str| events.iter().filter(|event| event.kind == kind && !event.task_id.is_empty()).count();
    assert_eq!((count("task.leased"), count("task.succeeded"), events.len()), (7, 7, 17));
    assert!(events.iter().all(|event| event.tasks.is_empty()));
}

/// A worker that has been given so many tasks.
pub(crate) async fn at_work(client: &Client, tasks: usize) -> Worker {
    let mut worker = Worker::attach(client, "roomy", tasks as u32).await.unwrap();
    while worker.report.running.len() < tasks {
        worker.say().await.unwrap();
    }
    worker
}
