//! Log lines: in the table, in the object store, on their way, and always one sequence.

use std::path::PathBuf;

use ursa_cluster::{Worker, until};
use ursa_proto::{ApiError, ErrorCode, v1};

use crate::fixture::{Fixture, answered, probe};

/// Nothing here is about leases.
const FLAGS: [&str; 1] = ["--lease=5m"];

/// A probe job of so many tasks, all of them in the hands of one worker.
async fn at_work(fixture: &Fixture, tasks: u32) -> (String, Worker, Vec<v1::Lease>) {
    let id = fixture.submit(vec![probe(tasks)]).await.remove(0);
    let mut worker = Worker::attach(fixture.client(), "chatty", tasks).await.unwrap();
    while worker.report.running.len() < tasks as usize {
        worker.say().await.unwrap();
    }
    let leases = worker.report.running.iter().map(|running| running.lease.clone().unwrap()).collect();
    (id, worker, leases)
}

async fn say(fixture: &Fixture, lease: &v1::Lease, sequence: u64, messages: impl IntoIterator<Item = String>) {
    let line = |message| v1::LogLine { level: "info".into(), message, ..v1::LogLine::default() };
    let lines = messages.into_iter().map(line).collect();
    let request = v1::AppendLogsRequest { lease: Some(lease.clone()), lines, sequence };
    fixture.client().workers().append_logs(request).await.unwrap();
}

async fn page(fixture: &Fixture, job: &str, after_id: i64, limit: u32) -> Result<Vec<v1::LogLine>, ApiError> {
    let request = v1::ListLogsRequest { job_id: job.to_owned(), after_id, limit };
    Ok(fixture.client().jobs().list_logs(request).await?.into_inner().lines)
}

/// Everything after `after_id`, page by page.
async fn rest(fixture: &Fixture, job: &str, mut after_id: i64, limit: u32) -> Vec<v1::LogLine> {
    let mut all = Vec::new();
    loop {
        let lines = page(fixture, job, after_id, limit).await.unwrap();
        let Some(last) = lines.last() else { return all };
        after_id = last.id;
        all.extend(lines);
    }
}

async fn in_table(fixture: &Fixture) -> usize {
    fixture.ask("select count(*) from log_lines").await.parse().unwrap()
}

async fn objects(fixture: &Fixture) -> usize {
    fixture.ask("select count(*) from log_objects").await.parse().unwrap()
}

async fn archived(fixture: &Fixture) {
    until("the table to be empty", || in_table(fixture), |left| *left == 0).await;
}

/// Where the store keeps logs.
fn folder(fixture: &Fixture) -> PathBuf {
    PathBuf::from(fixture.storage().location()).join("logs")
}

#[tokio::test]
async fn the_lines_of_an_ended_attempt_move_and_read_as_before() {
    let fixture = Fixture::start_with(&FLAGS).await;
    let (job, mut worker, leases) = at_work(&fixture, 1).await;
    say(&fixture, &leases[0], 1, ["one".into(), "t\"wo\nü".into(), String::new()]).await;
    let before = rest(&fixture, &job, 0, 0).await;
    assert_eq!(before.len(), 3);
    worker.complete(&leases[0], answered()).await.unwrap();
    archived(&fixture).await;
    assert_eq!(rest(&fixture, &job, 0, 0).await, before);
    assert_eq!(fixture.ask("select lines from log_objects").await, "3");
    let key = fixture.ask("select key from log_objects").await.parse().unwrap();
    assert!(fixture.storage().exists(&key).await.unwrap());
}

#[tokio::test]
async fn attempts_that_speak_in_turns_are_one_sequence_from_every_offset_while_they_move() {
    let fixture = Fixture::start_with(&FLAGS).await;
    let (job, mut worker, leases) = at_work(&fixture, 3).await;
    for round in 1..=12 {
        for (who, lease) in leases.iter().enumerate() {
            say(&fixture, lease, round, (0..3).map(|line| format!("{who} {round} {line}"))).await;
        }
    }
    let all = rest(&fixture, &job, 0, 0).await;
    assert_eq!(all.len(), 12 * 3 * 3);
    assert!(all.is_sorted_by(|a, b| a.id < b.id));
    for lease in &leases {
        worker.complete(lease, answered()).await.unwrap();
        let left = in_table(&fixture).await;
        // From every offset at least once, and on and on until the attempt's lines have moved.
        for begin in (0..all.len()).cycle() {
            let after_id = begin.checked_sub(1).map_or(0, |before| all[before].id);
            assert_eq!(
                page(&fixture, &job, after_id, 7).await.unwrap(),
                all[begin..].iter().take(7).cloned().collect::<Vec<_>>()
            );
            if begin + 1 == all.len() && in_table(&fixture).await < left {
                break;
            }
        }
    }
    archived(&fixture).await;
    assert_eq!(objects(&fixture).await, 3);
    assert_eq!(rest(&fixture, &job, 0, 10).await, all);
}

#[tokio::test]
async fn many_lines_of_an_attempt_move_while_it_goes_on() {
    let fixture = Fixture::start_with(&FLAGS).await;
    let (job, _worker, leases) = at_work(&fixture, 1).await;
    let texts = |batch: u64| (0..1000).map(move |line| format!("{batch} {line}"));
    for batch in 1..=6 {
        say(&fixture, &leases[0], batch, texts(batch)).await;
    }
    until("an object", || objects(&fixture), |objects| *objects > 0).await;
    say(&fixture, &leases[0], 7, texts(7)).await;
    let lines = rest(&fixture, &job, 0, 0).await;
    let messages: Vec<_> = lines.iter().map(|line| line.message.clone()).collect();
    assert_eq!(messages, (1..=7).flat_map(texts).collect::<Vec<_>>());
    assert!(in_table(&fixture).await < 5000);
    assert_eq!(fixture.job(&job).await.job.unwrap().state, "running");
}

#[tokio::test]
async fn lines_stay_while_the_object_store_is_away_and_move_when_it_is_back() {
    let fixture = Fixture::start_with(&FLAGS).await;
    // Nothing can be put into a folder that is a file.
    std::fs::write(folder(&fixture), "in the way").unwrap();
    let (job, mut worker, leases) = at_work(&fixture, 1).await;
    say(&fixture, &leases[0], 1, ["one".into(), "two".into()]).await;
    worker.complete(&leases[0], answered()).await.unwrap();
    let before = rest(&fixture, &job, 0, 0).await;
    assert_eq!(before.len(), 2);
    for _ in 0..20 {
        assert_eq!((in_table(&fixture).await, objects(&fixture).await), (2, 0));
        assert_eq!(rest(&fixture, &job, 0, 1).await, before);
    }
    std::fs::remove_file(folder(&fixture)).unwrap();
    archived(&fixture).await;
    assert_eq!(rest(&fixture, &job, 0, 0).await, before);
}

#[tokio::test]
async fn an_object_that_is_lost_is_said_in_its_place_and_one_that_cannot_be_read_now_is_an_outage() {
    let fixture = Fixture::start_with(&FLAGS).await;
    let (job, mut worker, leases) = at_work(&fixture, 2).await;
    say(&fixture, &leases[0], 1, ["one".into(), "two".into()]).await;
    worker.complete(&leases[0], answered()).await.unwrap();
    archived(&fixture).await;
    say(&fixture, &leases[1], 1, ["three".into()]).await;

    let (there, away) = (folder(&fixture), folder(&fixture).with_extension("away"));
    std::fs::rename(&there, &away).unwrap();
    std::fs::write(&there, "in the way").unwrap();
    let error = page(&fixture, &job, 0, 0).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Unavailable, "{error}");
    std::fs::remove_file(&there).unwrap();
    std::fs::rename(&away, &there).unwrap();

    let key = fixture.ask("select key from log_objects").await.parse().unwrap();
    fixture.storage().delete(&key).await.unwrap();
    let lines = page(&fixture, &job, 0, 0).await.unwrap();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].message.starts_with("2 lines are lost"), "{lines:?}");
    assert_eq!((lines[0].level.as_str(), lines[1].message.as_str()), ("error", "three"));
    assert_eq!(page(&fixture, &job, lines[0].id, 0).await.unwrap(), lines[1..]);
}

#[tokio::test]
async fn a_line_that_is_committed_after_a_later_one_is_not_missed() {
    let fixture = Fixture::start_with(&FLAGS).await;
    let (job, _worker, leases) = at_work(&fixture, 2).await;
    let slow = format!(
        "select pg_advisory_xact_lock_shared(hashtextextended('{job}', 1));
        insert into log_lines (job_id, task_id, attempt, at, level, message)
        values ('{job}', '{}', 1, now(), 'info', 'slow');
        select pg_sleep(2);",
        leases[0].task_id
    );
    let waiting = "select count(*) from pg_stat_activity where wait_event = 'PgSleep'";
    let quick = async {
        until("the slow one to have its line", || fixture.ask(waiting), |count| count == "1").await;
        say(&fixture, &leases[1], 1, ["quick".into()]).await;
        rest(&fixture, &job, 0, 1).await
    };
    let (_, lines) = tokio::join!(fixture.ask(&slow), quick);
    assert_eq!(lines.iter().map(|line| line.message.as_str()).collect::<Vec<_>>(), ["slow", "quick"]);
}
