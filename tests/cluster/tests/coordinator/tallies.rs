//! Jobs of many tasks: what has ended of them is counted beside their rows.

use ursa_cluster::{Coordinator, Worker};
use ursa_proto::v1;

use crate::fixture::{Fixture, answered, probe};

const TASKS: u32 = 1200;
const SLOTS: u32 = 300;
/// The version of the job's row, and whether its tasks are counted beside it.
const ROW: &str = "select ctid || ' ' || (select count(*) from job_tallies) from jobs";
/// How many tasks are open by the row alone, and whether the units are those of the tasks that succeeded.
const COUNTS: &str = "select j.open_tasks || ' ' || (j.units_done = sum(t.units) filter (where t.state = 'succeeded'))
    || ' ' || (select tasks + units from job_tallies) from jobs j join tasks t on t.job_id = j.id group by j.id";
const ENDED: &str = "0 true 0";

/// Versions of a row that cannot be cleared are gone through by whoever looks it up.
#[tokio::test]
async fn the_row_of_a_job_is_not_written_with_every_group_of_its_tasks() {
    let fixture = Fixture::start().await;
    let mut job = probe(TASKS);
    (job.max_attempts, job.min_success_ratio) = (1, 0.5);
    let ids = fixture.submit(vec![job]).await;
    let mut worker = full(&fixture.coordinator, "worker", SLOTS).await;
    let failing = worker.report.running[0].lease.clone().unwrap();
    worker.fail(&failing, v1::ErrorClass::Fatal, "never").await.unwrap();
    let row = fixture.ask(ROW).await;
    assert!(row.ends_with(" 1"), "{row}");
    for _ in 0..2 {
        worker.complete_all(answered).await.unwrap();
        fill(&mut worker, SLOTS).await;
    }
    assert_eq!(fixture.ask(ROW).await, row);
    let told = fixture.job(&ids[0]).await.job.unwrap();
    let counts = told.tasks.unwrap();
    assert_eq!((counts.failed, counts.succeeded, counts.running), (1, 2 * SLOTS - 1, SLOTS));
    let progress = told.progress.unwrap();
    assert_eq!(progress.done * u64::from(TASKS), progress.total * u64::from(2 * SLOTS - 1));
    complete(&mut worker, TASKS - 2 * SLOTS).await;
    fixture.job_in(&ids[0], "succeeded").await;
    assert_eq!(fixture.ask(COUNTS).await, ENDED);
}

#[tokio::test]
async fn what_two_coordinators_end_at_once_is_all_counted() {
    let fixture = Fixture::start().await;
    let other = Coordinator::start(&fixture.postgres.url()).await.unwrap();
    let ids = fixture.submit(vec![probe(TASKS)]).await;
    let half = TASKS / 2;
    let (mut one, mut two) = tokio::join!(full(&fixture.coordinator, "one", half), full(&other, "two", half));
    let few = |worker: &mut Worker| {
        let completions = worker.completions(answered);
        completions.chunks(20).map(<[_]>::to_vec).collect::<Vec<_>>()
    };
    let parts: Vec<_> = few(&mut one).into_iter().zip(few(&mut two)).collect();
    assert_eq!(parts.len() as u32, half / 20);
    for (mine, theirs) in parts {
        let end = async |worker: &Worker, completions| {
            let request = v1::CompleteTasksRequest { completions };
            let outcomes = worker.client.workers().complete_tasks(request).await.unwrap().into_inner().outcomes;
            assert!(outcomes.iter().all(|outcome| outcome.error.is_none()));
        };
        tokio::join!(end(&one, mine), end(&two, theirs));
    }
    fixture.job_in(&ids[0], "succeeded").await;
    assert_eq!(fixture.ask(COUNTS).await, ENDED);
}

#[tokio::test]
async fn a_job_that_is_cancelled_half_way_counts_on_where_it_stood() {
    let fixture = Fixture::start().await;
    let ids = fixture.submit(vec![probe(TASKS)]).await;
    let mut worker = full(&fixture.coordinator, "worker", SLOTS).await;
    worker.complete_all(answered).await.unwrap();
    fill(&mut worker, SLOTS).await;
    fixture.client().jobs().cancel_job(v1::CancelJobRequest { id: ids[0].clone() }).await.unwrap();
    let counts = |job: &v1::JobDetail| job.job.as_ref().unwrap().tasks.unwrap();
    while let Some(lease) = worker.report.running.first().and_then(|running| running.lease.clone()) {
        // The others are renewed meanwhile.
        worker.tell().await;
        worker.fail(&lease, v1::ErrorClass::Cancelled, "cleaned up").await.unwrap();
    }
    let job = fixture.job_in(&ids[0], "cancelled").await;
    assert_eq!((counts(&job).succeeded, counts(&job).cancelled), (SLOTS, TASKS - SLOTS));
    assert_eq!(fixture.ask(COUNTS).await, ENDED);

    fixture.client().jobs().retry_job(v1::RetryJobRequest { id: ids[0].clone() }).await.unwrap();
    complete(&mut worker, TASKS - SLOTS).await;
    fixture.job_in(&ids[0], "succeeded").await;
    assert_eq!(fixture.ask(COUNTS).await, ENDED);
}

/// It takes what ends off the row, and thinks that as many are open as the row says.
#[tokio::test]
async fn a_job_whose_last_task_a_coordinator_of_the_version_before_ends_is_settled() {
    let fixture = Fixture::start().await;
    let ids = fixture.submit(vec![probe(TASKS)]).await;
    let mut worker = full(&fixture.coordinator, "worker", SLOTS).await;
    worker.complete_all(answered).await.unwrap();
    let before = format!(
        "update attempts set state = 'succeeded', ended_at = now() where ended_at is null;
        update tasks set state = 'succeeded';
        update jobs set open_tasks = open_tasks - {ended}, units_done = units_done + {ended}",
        ended = TASKS - SLOTS,
    );
    fixture.sql(&before).await;
    fixture.job_in(&ids[0], "succeeded").await;
    assert_eq!(fixture.ask(COUNTS).await, ENDED);
}

/// A worker with so many tasks.
pub(crate) async fn full(coordinator: &Coordinator, name: &str, slots: u32) -> Worker {
    let mut worker = Worker::attach(&coordinator.client, name, slots).await.unwrap();
    fill(&mut worker, slots).await;
    worker
}

pub(crate) async fn fill(worker: &mut Worker, tasks: u32) {
    while (worker.report.running.len() as u32) < tasks {
        worker.say().await.unwrap();
    }
}

/// Has a worker do so many tasks, as they come.
pub(crate) async fn complete(worker: &mut Worker, tasks: u32) {
    let mut done = 0;
    while done < tasks {
        fill(worker, 1).await;
        done += worker.report.running.len() as u32;
        worker.complete_all(answered).await.unwrap();
    }
}
