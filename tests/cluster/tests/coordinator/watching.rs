//! Watching while others commit in another order than that of their events' ids.

use std::time::Duration;

use tokio::time::timeout;
use tonic::Streaming;
use ursa_proto::v1;
use ursa_proto::v1::watch_events_request::Subject;

use crate::fixture::{Fixture, probe};

/// More than it takes to send what may be sent.
const A_WHILE: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(30);

/// Holds lock 1, to say that the transaction is open, until it is told to end.
const STAY: &str = "
    select pg_advisory_xact_lock(1);
    do $$ begin
        for i in 1..2000 loop
            if exists (select from told) then return; end if;
            perform pg_sleep(0.01);
        end loop;
        raise exception 'nobody said that it may end';
    end $$;";

/// Waits until [`STAY`] is reached.
const IS_OPEN: &str = "
    do $$ begin
        for i in 1..2000 loop
            if exists (select from pg_locks where locktype = 'advisory' and classid = 0 and objid = 1) then
                return;
            end if;
            perform pg_sleep(0.01);
        end loop;
        raise exception 'nobody opened it';
    end $$;";

/// Does something while a transaction is open that has run `statements`, and has that committed then.
async fn while_open<T>(fixture: &Fixture, statements: &str, meanwhile: impl Future<Output = T>) -> T {
    fixture.sql("create table told ()").await;
    let open = format!("{statements}; {STAY}");
    let open = fixture.sql(&open);
    let meanwhile = async {
        fixture.sql(IS_OPEN).await;
        let done = meanwhile.await;
        fixture.sql("insert into told default values").await;
        done
    };
    tokio::join!(open, meanwhile).1
}

/// A pipeline to which nothing happens any more: its task waits for a worker.
async fn pipeline(fixture: &Fixture) -> v1::Pipeline {
    let pipeline = fixture.submit_pipeline(vec![probe(1)]).await;
    fixture.job_in(&pipeline.jobs[0].id, "running").await;
    pipeline
}

/// Records an event, as the coordinator does.
fn recording(of: &v1::Pipeline, kind: &str) -> String {
    let (pipeline, job) = (&of.id, &of.jobs[0].id);
    format!(
        "select record_events(array['{pipeline}']::uuid[], array['{job}']::uuid[], array[null]::uuid[],
            array[null]::integer[], array[null]::text[], array[null]::text[], array['{kind}'], array['by hand'])"
    )
}

async fn newest(fixture: &Fixture) -> i64 {
    fixture.ask("select max(id) from events").await.parse().unwrap()
}

async fn watch(fixture: &Fixture, subject: Option<Subject>, after_id: i64) -> Streaming<v1::Event> {
    let request = v1::WatchEventsRequest { subject, after_id };
    fixture.client().jobs().watch_events(request).await.unwrap().into_inner()
}

/// The next event that was recorded.
async fn next(events: &mut Streaming<v1::Event>) -> v1::Event {
    loop {
        let event = timeout(PATIENCE, events.message()).await.unwrap().unwrap().unwrap();
        if event.id > 0 {
            return event;
        }
    }
}

#[tokio::test]
async fn whoever_watches_everything_gets_what_is_committed_late_and_in_the_order_of_ids() {
    let fixture = Fixture::start().await;
    let (late, early) = (pipeline(&fixture).await, pipeline(&fixture).await);
    let newest = newest(&fixture).await;
    let mut events = while_open(&fixture, &recording(&late, "test.late"), async {
        fixture.sql(&recording(&early, "test.early")).await;
        let mut events = watch(&fixture, None, newest).await;
        assert!(timeout(A_WHILE, next(&mut events)).await.is_err(), "one with a smaller id is still to come");
        events
    })
    .await;
    let (first, second) = (next(&mut events).await, next(&mut events).await);
    assert_eq!([first.kind.as_str(), second.kind.as_str()], ["test.late", "test.early"]);
    assert!(first.id < second.id, "the other way round nothing is shown");
}

#[tokio::test]
async fn a_transaction_that_records_nothing_holds_up_nobody_who_watches() {
    let fixture = Fixture::start().await;
    let pipeline = pipeline(&fixture).await;
    let newest = newest(&fixture).await;
    let reads_and_writes = "select count(*) from events; insert into projects (name) values ('elsewhere')";
    while_open(&fixture, reads_and_writes, async {
        fixture.sql(&recording(&pipeline, "test.first")).await;
        let mut events = watch(&fixture, None, newest).await;
        assert_eq!(next(&mut events).await.kind, "test.first");
        let mut new_events = watch(&fixture, None, -1).await;
        fixture.sql(&recording(&pipeline, "test.second")).await;
        assert_eq!(next(&mut events).await.kind, "test.second");
        assert_eq!(next(&mut new_events).await.kind, "test.second");
    })
    .await;
}

#[tokio::test]
async fn whoever_watches_a_pipeline_or_a_job_from_now_on_gets_what_is_committed_late() {
    let fixture = Fixture::start().await;
    let (late, early) = (pipeline(&fixture).await, pipeline(&fixture).await);
    let mut watched = while_open(&fixture, &recording(&late, "test.late"), async {
        fixture.sql(&recording(&early, "test.early")).await;
        let of_pipeline = watch(&fixture, Some(Subject::PipelineId(late.id.clone())), -1).await;
        let of_job = watch(&fixture, Some(Subject::JobId(late.jobs[0].id.clone())), -1).await;
        [of_pipeline, of_job]
    })
    .await;
    for events in &mut watched {
        assert_eq!(next(events).await.kind, "test.late");
    }
}

#[tokio::test]
async fn whoever_watches_everything_from_now_on_gets_all_that_is_committed_after_the_answer() {
    let fixture = Fixture::start().await;
    let (late, early) = (pipeline(&fixture).await, pipeline(&fixture).await);
    let mut call = std::pin::pin!(watch(&fixture, None, -1));
    while_open(&fixture, &recording(&late, "test.late"), async {
        fixture.sql(&recording(&early, "test.early")).await;
        assert!(timeout(A_WHILE, &mut call).await.is_err(), "what is still to be committed would be lost");
    })
    .await;
    let mut events = call.await;
    fixture.sql(&recording(&early, "test.new")).await;
    assert_eq!(next(&mut events).await.kind, "test.new");
}

#[tokio::test]
async fn whoever_watches_everything_gets_more_than_is_read_at_a_time() {
    const MANY: usize = 1201;
    let fixture = Fixture::start().await;
    let v1::Pipeline { id, jobs, .. } = pipeline(&fixture).await;
    let newest = newest(&fixture).await;
    let job = &jobs[0].id;
    let many = format!("select '{id}'::uuid, '{job}'::uuid, 'test.many', '' from generate_series(1, {MANY})");
    fixture.sql(&format!("insert into events (pipeline_id, job_id, kind, message) {many}")).await;
    let mut events = watch(&fixture, None, newest).await;
    let mut last = newest;
    for _ in 0..MANY {
        let id = next(&mut events).await.id;
        assert!(id > last, "{id} after {last}");
        last = id;
    }
}
