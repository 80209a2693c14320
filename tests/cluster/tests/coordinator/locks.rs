//! Who may wait for whom in the database.

use ursa_cluster::{Worker, until};
use ursa_proto::v1;

use crate::fixture::{Fixture, probe, scrape};

/// Waits until `condition` holds.
fn wait_until(condition: &str) -> String {
    format!(
        "do $$ begin
            for i in 1..2000 loop
                if {condition} then return; end if;
                perform pg_sleep(0.01);
            end loop;
            raise exception 'nobody came';
        end $$;"
    )
}

/// Waits until so many wait for a lock.
fn until_wait(count: u32) -> String {
    wait_until(&format!("(select count(*) from pg_locks where not granted) >= {count}"))
}

/// Waits until somebody [holds](hold) something.
fn until_held() -> String {
    wait_until("exists (select from pg_locks where locktype = 'advisory' and objid = 1)")
}

/// Holds the rows of a table, and lock 1 to say so, until so many wait for them.
fn hold(table: &str, waiting: u32) -> String {
    let hold = format!("select from {table} for update; select pg_advisory_xact_lock(1);");
    [&hold, &until_wait(waiting), "set local lock_timeout = '5s';"].concat()
}

/// What a claim may do next: whoever writes a row that refers to the job looks at it.
const CLAIM: &str = "select from jobs for key share;";

/// What whoever ends an attempt does next.
const END: &str = "select from attempts for update; select from jobs for no key update;";

/// What a cancellation does that had the task first.
const CANCEL: &str = "
    update attempts set stop_reason = 'cancelled', stop_asked_at = now(), stop_detail = 'the job was cancelled';
    update jobs set state = 'cancelling';";

#[tokio::test]
async fn a_claim_and_a_cancellation_do_not_wait_for_each_other() {
    let fixture = Fixture::start().await;
    let ids = fixture.submit(vec![scrape(2)]).await;
    fixture.job_in(&ids[0], "running").await;
    let claim = hold("tasks", 1) + CLAIM;
    let claim = fixture.sql(&claim);
    let cancel = async {
        fixture.sql(&until_held()).await;
        fixture.client().jobs().cancel_job(v1::CancelJobRequest { id: ids[0].clone() }).await
    };
    let ((), cancelled) = tokio::join!(claim, cancel);
    assert_eq!(cancelled.unwrap().into_inner().state, "cancelled");
    fixture.job_in(&ids[0], "cancelled").await;
}

#[tokio::test]
async fn whoever_ends_an_attempt_and_whoever_cancels_its_job_do_not_wait_for_each_other() {
    let fixture = Fixture::start().await;
    let ids = fixture.submit(vec![probe(1)]).await;
    let mut worker = at_work(&fixture).await;
    let end = hold("tasks", 1) + END;
    let end = fixture.sql(&end);
    let cancel = async {
        fixture.sql(&until_held()).await;
        fixture.client().jobs().cancel_job(v1::CancelJobRequest { id: ids[0].clone() }).await
    };
    let ((), cancelled) = tokio::join!(end, cancel);
    assert_eq!(cancelled.unwrap().into_inner().state, "cancelling");
    assert_eq!(worker.next_stop().await.unwrap().reason(), v1::StopReason::Cancelled);
}

#[tokio::test]
async fn whoever_ends_an_attempt_and_whoever_asks_it_back_do_not_wait_for_each_other() {
    let fixture = Fixture::start().await;
    let put_off = v1::JobDefinition { priority: Some(1), preemptible: true, ..probe(1) };
    fixture.submit(vec![put_off]).await;
    let mut worker = at_work(&fixture).await;
    let end = hold("tasks", 1) + END;
    let end = fixture.sql(&end);
    let ask = async {
        fixture.sql(&until_held()).await;
        fixture.submit(vec![v1::JobDefinition { priority: Some(8), ..probe(1) }]).await
    };
    // It has to be heard of meanwhile: nobody asks back what a silent worker has.
    let ((), _, stop) = tokio::join!(end, ask, worker.next_stop());
    assert_eq!(stop.unwrap().reason(), v1::StopReason::Preempted);
}

#[tokio::test]
async fn an_attempt_that_ends_while_its_job_is_cancelled_is_not_made_again() {
    let fixture = Fixture::start().await;
    let ids = fixture.submit(vec![probe(1)]).await;
    let mut worker = at_work(&fixture).await;
    let lease = worker.report.running[0].lease.clone().unwrap();
    let cancel = hold("tasks", 1) + CANCEL;
    let cancel = fixture.sql(&cancel);
    let fail = async {
        fixture.sql(&until_held()).await;
        worker.fail(&lease, v1::ErrorClass::Retryable, "bad luck").await
    };
    let ((), failed) = tokio::join!(cancel, fail);
    failed.unwrap();
    let detail = fixture.job_in(&ids[0], "cancelled").await;
    assert_eq!(detail.tasks[0].state, "cancelled");
}

#[tokio::test]
async fn of_a_gang_that_failed_for_good_none_is_tried_again_that_fails_at_the_same_time() {
    let fixture = Fixture::start().await;
    let ids = fixture.submit(vec![v1::JobDefinition { workers: 2, ..probe(2) }]).await;
    let mut first = Worker::attach(fixture.client(), "first", 1).await.unwrap();
    let mut second = Worker::attach(fixture.client(), "second", 1).await.unwrap();
    let broken = first.next_task().await.unwrap().lease.unwrap();
    let unlucky = second.next_task().await.unwrap().lease.unwrap();
    let hold = hold("jobs", 2);
    let hold = fixture.sql(&hold);
    let fail_for_good = async {
        fixture.sql(&until_held()).await;
        first.fail(&broken, v1::ErrorClass::Fatal, "broken").await
    };
    let fail = async {
        fixture.sql(&until_wait(1)).await;
        second.fail(&unlucky, v1::ErrorClass::Retryable, "bad luck").await
    };
    let ((), one, other) = tokio::join!(hold, fail_for_good, fail);
    one.unwrap();
    other.unwrap();
    let detail = fixture.job_in(&ids[0], "failed").await;
    let mut states: Vec<_> = detail.tasks.iter().map(|task| task.state.as_str()).collect();
    states.sort_unstable();
    assert_eq!(states, ["cancelled", "failed"]);
}

/// A worker whose only task is known to run.
async fn at_work(fixture: &Fixture) -> Worker {
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    worker.next_task().await.unwrap();
    worker.say().await.unwrap();
    let state = || fixture.ask("select state from tasks");
    until("the task to run", state, |state| state == "running").await;
    worker
}
