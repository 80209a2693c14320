//! What it costs to keep leases alive.

use ursa_cluster::{Coordinator, Postgres, Worker};

use crate::fixture::{Fixture, probe};

/// Reports that are counted, of each worker.
const ROUNDS: usize = 4;
/// The beat's statement is the only one with these words.
const COUNT: &str = "select coalesce(sum(calls) filter (where query like '%insert into workers as w%'), 0),
    coalesce(sum(calls) filter (where query not like '%insert into workers as w%'), 0)
    from pg_stat_statements where query not like '%pg_stat_statements%'";

/// Statements of a few rounds: beats, and all others.
#[derive(Debug)]
struct Statements {
    beats: usize,
    others: usize,
}

/// Every worker reports, and hears the answer of the beat that took the report along.
async fn round(workers: &mut [Worker]) {
    for worker in &*workers {
        worker.tell().await;
    }
    for worker in workers {
        worker.hear().await.unwrap();
    }
}

/// Attaches workers until there are `count`, has each hold a lease, and counts what their reports cost.
async fn statements_of(count: usize, fixture: &Fixture, workers: &mut Vec<Worker>) -> Statements {
    fixture.submit(vec![probe((count - workers.len()) as u32)]).await;
    while workers.len() < count {
        let name = format!("worker-{}", workers.len());
        workers.push(Worker::attach(fixture.client(), &name, 1).await.unwrap());
    }
    while workers.iter().any(|worker| worker.report.running.is_empty()) {
        round(workers).await;
    }
    // What was said on the way is answered, and the next report has the time until the next beat for itself.
    round(workers).await;
    fixture.ask("select pg_stat_statements_reset()").await;
    for _ in 0..ROUNDS {
        round(workers).await;
    }
    let counted = fixture.ask(COUNT).await;
    let (beats, others) = counted.split_once('|').unwrap();
    Statements { beats: beats.parse().unwrap(), others: others.parse().unwrap() }
}

#[tokio::test]
async fn a_beat_is_one_statement_whatever_the_number_of_workers() {
    let postgres = Postgres::start_with(&[("shared_preload_libraries", "pg_stat_statements")]).unwrap();
    // A beat every second: all reports of a round come between two of them.
    let flags = ["--lease=1m", "--report-interval=4s"];
    let coordinator = Coordinator::start_with(&postgres.url(), &flags).await.unwrap();
    let fixture = Fixture { coordinator, postgres };
    fixture.sql("create extension pg_stat_statements").await;
    let mut workers = Vec::new();
    let few = statements_of(3, &fixture, &mut workers).await;
    let many = statements_of(40, &fixture, &mut workers).await;
    assert_eq!((few.beats, many.beats), (ROUNDS, ROUNDS), "{few:?}, {many:?}");
    // Besides there is what is done by the clock, a little more or less each time. A statement for every report of every
    // further worker would be twice that.
    assert!(many.others < few.others + ROUNDS * (40 - 3) / 2, "{few:?}, {many:?}");
}
