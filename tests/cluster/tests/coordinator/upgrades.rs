//! A coordinator beside, or after, one of a later version: it does what it understands, and leaves the rest alone.

use ursa_cluster::Worker;
use ursa_proto::v1;

use crate::fixture::{Fixture, answered, probe};

/// As a later version leaves the database: one more migration, a kind of task and a need that this one has never heard of.
const LATER: &str = "
    insert into _sqlx_migrations (version, description, success, checksum, execution_time)
        values (9999, 'later', true, '', 0);
    insert into lanes (project, kind, priority, resources, gang) values ('default', 'hologram', 9, '{}', 1);
    insert into lanes (project, kind, priority, resources, gang) values ('default', 'probe', 9, '{\"lasers\": 2}', 1);
    update workers set kinds = kinds || array['hologram'];
    insert into tasks (id, job_id, lane_id, ordinal, payload, state, max_attempts, units)
        select gen_random_uuid(), j.id, l.id, 1000 + l.id, '{}', 'ready', 1, 1
        from jobs j cross join lanes l where l.priority = 9";

#[tokio::test]
async fn an_older_coordinator_starts_on_a_later_schema_and_goes_on_with_what_it_knows() {
    let mut fixture = Fixture::start().await;
    let done = fixture.submit(vec![probe(1)]).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    let lease = worker.next_task().await.unwrap().lease.unwrap();
    worker.complete(&lease, answered()).await.unwrap();
    fixture.job_in(&done[0], "succeeded").await;
    fixture.sql(LATER).await;

    fixture.coordinator.crash().await;
    fixture.coordinator.resume().await.unwrap();
    let ids = fixture.submit(vec![probe(1)]).await;
    let mut worker = Worker::attach(fixture.client(), "another", 1).await.unwrap();
    let order = worker.next_task().await.unwrap();
    assert_eq!(order.job_id, ids[0]);
    worker.complete(order.lease.as_ref().unwrap(), answered()).await.unwrap();
    fixture.job_in(&ids[0], "succeeded").await;
    let left = fixture.ask("select count(*) from tasks where ordinal > 1000 and state = 'ready'").await;
    assert_eq!(left, "2", "what it does not understand is left for those who do");
    let gpus = Some(v1::Resources { gpus: Some(1), ..v1::Resources::default() });
    let waits = fixture.submit(vec![v1::JobDefinition { resources: gpus, ..probe(1) }]).await;
    let told = fixture.job(&waits[0]).await.job.unwrap();
    assert!(told.waiting_reason.contains("GPU"), "{}", told.waiting_reason);
}

/// Every statement of the version before this one, as `make sqlx` knew them.
const PREVIOUS: &str = include_str!("../../../../migrations/previous.json");

#[tokio::test]
async fn every_statement_of_the_version_before_understands_the_tables_as_they_are_now() {
    let fixture = Fixture::start().await;
    let statements: Vec<String> = serde_json::from_str(PREVIOUS).unwrap();
    assert!(statements.len() > 100, "{} statements", statements.len());
    let prepare = |(place, statement): (usize, &String)| format!("prepare s{place} as {statement}");
    let prepared: Vec<String> = statements.iter().enumerate().map(prepare).collect();
    fixture.sql(&prepared.join(";\n")).await;
}
