//! What only one coordinator does, when that one dies.

use std::time::{Duration, Instant};

use ursa_cluster::takeover_time;
use ursa_system::{Store, System};

use crate::asking::{LOOK, PATIENCE, ended, nothing_alarming, submit, warning};
use crate::pipeline::probes;

const DUTIES: [&str; 3] = ["logs", "cleaning", "retention"];
/// For asking, being answered, and one sweep, on a machine that does other things too.
const SLACK: Duration = Duration::from_secs(2);

async fn holder(system: &System, duty: &str) -> String {
    let query = format!("select holder from duties where name = '{duty}' and expires_at > now()");
    system.postgres.ask(&query).await.unwrap()
}

/// Asks `query` until the answer is as it `must` be.
async fn answered(system: &System, query: &str, must: &str) {
    let begin = Instant::now();
    while system.postgres.ask(query).await.unwrap() != must {
        assert!(begin.elapsed() < PATIENCE, "waited {PATIENCE:?} for {query} to be {must}\n{}", system.logs());
        tokio::time::sleep(LOOK).await;
    }
}

#[tokio::test]
async fn the_duties_of_a_coordinator_that_is_killed_are_done_by_another_within_seconds() {
    let mut system = System::start(Store::Folder, 1).await.unwrap();
    system.add_worker().await.unwrap();
    let mut ids = Vec::new();
    for _ in 0..2 {
        let probe = submit(&system, probes(1)).await["probe"].clone();
        ended(&system, &probe, "succeeded").await;
        ids.push(probe);
    }
    let held = format!("select count(*) from duties where name in ('{}') and expires_at > now()", DUTIES.join("', '"));
    answered(&system, &held, "3").await;
    let first = holder(&system, DUTIES[0]).await;
    let _other = system.another_coordinator().await.unwrap();

    system.coordinator.kill().unwrap();
    let killed = Instant::now();
    // Something to do: a line of an attempt that has ended is to be moved, a job of long ago to be deleted.
    let [talkative, old] = &ids[..] else { panic!("{ids:?}") };
    let work = format!(
        "insert into log_lines (job_id, task_id, attempt, at, level, message)
            select job_id, task_id, number, now(), 'info', 'late' from attempts where job_id = '{talkative}';
        update pipelines set created_at = now() - interval '1 year'
            where id = (select pipeline_id from jobs where id = '{old}');
        update jobs set finished_at = now() - interval '1 year' where id = '{old}'"
    );
    system.postgres.ask(&work).await.unwrap();
    answered(&system, "select (select count(*) from log_lines) || ' ' || (select count(*) from log_objects)", "0 1")
        .await;
    answered(&system, &format!("select count(*) from jobs where id = '{old}'"), "0").await;
    let took = killed.elapsed();
    assert!(took < takeover_time() + SLACK, "it took {took:?}\n{}", system.logs());
    for duty in DUTIES {
        let now = holder(&system, duty).await;
        assert!(!now.is_empty() && now != first, "{duty} is done by {now:?}");
    }
    nothing_alarming(&mut system, &[warning(&["session: waiting for the coordinator"], "it was killed")]);
}
