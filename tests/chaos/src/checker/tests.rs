use std::collections::BTreeSet;

use chrono::TimeDelta;
use ursa_storage::Key;

use super::example::{AT_WORK, BEARS, NOT_BEGUN, PROBE, PROBES, RETRIED_PROBE, SCRAPE, TRAIN, VERIFY, event, sound};
use super::*;
use crate::history::Pipeline;

type Break = fn(&mut History);

/// What goes wrong, the rule that must find it, and how it is done to a sound history.
const CASES: [(&str, &str, Break); 52] = [
    ("a pipeline that was answered for is lost", "submitted-once", |it| {
        it.pipelines.remove(0);
    }),
    ("a request that was repeated made another pipeline", "submitted-once", |it| {
        let again = Pipeline { id: uuid::Uuid::from_u128(77), ..it.pipelines[0].clone() };
        it.pipelines.push(again);
    }),
    ("a pipeline that nobody asked for", "submitted-once", |it| {
        it.pipelines.push(Pipeline { id: uuid::Uuid::from_u128(77), key: None, rerun_of: None });
    }),
    ("a job that never ends", "jobs-end", |it| it.jobs[0].state = "running".into()),
    ("a job that failed", "jobs-end", |it| it.jobs[4].state = "failed".into()),
    ("a task that is counted as open for ever", "jobs-end", |it| it.jobs[0].open_tasks = 1),
    ("a task that was counted twice", "jobs-end", |it| it.jobs[0].units_done += 10),
    ("a task that is lost", "jobs-end", |it| it.tasks.retain(|task| task.id != PROBE)),
    ("a job that ended twice", "job-order", |it| {
        let job = it.jobs[0].id;
        event(it, PROBES, job, None, "job.succeeded");
    }),
    ("a job that ended before its tasks did", "job-order", |it| {
        let end = position(it, "job.succeeded", None);
        it.events[..=end].rotate_right(1);
        it.events[..3].rotate_left(1);
    }),
    ("a task that is dead", "task-ends-once", |it| task(it, PROBE).state = "dead".into()),
    ("a task that ended twice", "task-ends-once", |it| repeat(it, "task.succeeded", PROBE)),
    ("a task that failed, and succeeded all the same", "task-ends-once", |it| {
        let retried = position(it, "task.retry", Some(RETRIED_PROBE));
        it.events[retried].kind = "task.dead".into();
    }),
    ("a task that nobody saw end", "task-ends-once", |it| forget(it, "task.succeeded", PROBE)),
    ("an attempt that was left open", "attempts-whole", |it| {
        let attempt = it.attempts.iter_mut().find(|attempt| attempt.task == RETRIED_PROBE).unwrap();
        (attempt.state, attempt.ended_at) = ("running".into(), None);
    }),
    ("an attempt whose row is lost", "attempts-whole", |it| {
        it.attempts.retain(|attempt| (attempt.task, attempt.number) != (RETRIED_PROBE, 1));
    }),
    ("two attempts under one lease", "attempts-whole", |it| it.attempts[1].token = it.attempts[0].token),
    ("a task with two attempts that succeeded", "one-success", |it| {
        it.attempts.iter_mut().for_each(|attempt| attempt.state = "succeeded".into());
    }),
    ("a task without one", "one-success", |it| it.attempts[0].state = "lost".into()),
    ("a late attempt succeeded although a later one was there", "one-success", |it| {
        it.attempts[1].state = "succeeded".into();
        it.attempts[2].state = "lost".into();
    }),
    ("an attempt that was given back and counts", "room-is-free", |it| {
        lost_attempt(it).error_class = Some("returned".into());
    }),
    ("an attempt that made room and was not given back", "room-is-free", |it| {
        lost_attempt(it).stop_reason = Some("preempted".into());
    }),
    ("an attempt that began before the one before had ended", "no-overlap", |it| {
        let (end, begin) =
            (position(it, "task.retry", Some(RETRIED_PROBE)), position_of(it, "task.leased", RETRIED_PROBE, 2));
        it.events.swap(end, begin);
    }),
    ("a zombie's checkpoint that counted", "no-overlap", |it| {
        let checkpoint = it.events.iter().rposition(|event| event.kind == "checkpoint").unwrap();
        it.events[checkpoint].attempt = Some(1);
    }),
    ("an end of an attempt that was not the one at work", "no-overlap", |it| {
        let end = position(it, "task.succeeded", Some(RETRIED_PROBE));
        it.events[end].attempt = Some(1);
    }),
    ("the same attempt leased twice", "no-overlap", |it| {
        let begin = position_of(it, "task.leased", RETRIED_PROBE, 2);
        it.events[begin].attempt = Some(1);
    }),
    ("a watcher that missed an event", "watched-all", |it| {
        it.watched.get_mut(&BEARS).unwrap().remove(3);
    }),
    ("a watcher of everything that missed an event", "watched-all", |it| {
        it.watched_everything.remove(3);
    }),
    ("a watcher that saw an event twice", "watched-all", |it| {
        it.watched.get_mut(&BEARS).unwrap().push(99);
    }),
    ("a watcher that saw events in another order", "watched-all", |it| {
        it.watched.get_mut(&PROBES).unwrap().swap(2, 3);
    }),
    ("the shard of a zombie that counts", "effects-of-winners", |it| it.shards[1].attempt = 1),
    ("two shards of one task", "effects-of-winners", |it| it.shards.push(it.shards[0].clone())),
    ("a model of an attempt that was lost", "effects-of-winners", |it| it.models[0].attempt = 1),
    ("a job that made two snapshots", "effects-of-winners", |it| it.snapshots.push(it.snapshots[0].clone())),
    ("an image that is there twice", "images-once", |it| it.images.push(it.images[0].clone())),
    ("an image that is lost", "images-once", |it| {
        it.images.remove(0);
    }),
    ("an output to which one task added twice", "outputs-add-up", |it| {
        it.jobs[1].output = serde_json::json!({"fetched": 6, "timeout": 2});
    }),
    ("an epoch that was made twice", "work-goes-on", |it| it.checkpoints[1].epoch = 1),
    ("an object that is not what it was", "objects-whole", |it| {
        *it.objects.values_mut().next().unwrap() = "00".into();
    }),
    ("a URL that is lost", "truth", |it| {
        it.sources.pop();
    }),
    ("a job that ended well although it was cancelled", "jobs-end", |it| it.jobs[5].state = "succeeded".into()),
    ("a job that was cancelled and that nobody cancelled", "jobs-end", |it| it.cancelled.clear()),
    ("a task that began after its job was cancelled", "job-order", |it| {
        let (begin, stop) = (position_of(it, "task.leased", AT_WORK, 1), position(it, "job.cancelling", None));
        it.events.swap(begin, stop);
    }),
    ("a task of a cancelled job that ended twice", "task-ends-once", |it| repeat(it, "task.cancelled", AT_WORK)),
    ("a task of a cancelled job that nobody saw end", "task-ends-once", |it| forget(it, "task.cancelled", AT_WORK)),
    ("a task of a cancelled job that waits for ever", "task-ends-once", |it| {
        task(it, NOT_BEGUN).state = "ready".into();
    }),
    ("a drained worker that was given something", "drained-rests", |it| {
        it.attempts[0].leased_at = it.drained[0].from + TimeDelta::seconds(1);
    }),
    ("a job that took over from one that failed", "run-again", |it| it.jobs[1].state = "failed".into()),
    ("a job that took over half of what there was", "run-again", |it| it.jobs[6].output = serde_json::json!({})),
    ("a job that took over though nobody ran anything again", "run-again", |it| it.pipelines[3].rerun_of = None),
    ("a shard of an attempt that does not count", "nothing-is-left", |it| {
        it.stored.push(Key::RawShard { task: SCRAPE, attempt: 2 });
    }),
    ("the claim of a package that nobody registered", "nothing-is-left", |it| it.models.clear()),
];

#[test]
fn a_sound_history_breaks_no_rule() {
    assert_eq!(check(&sound()), []);
}

#[test]
fn each_break_is_found_by_the_rule_that_is_there_for_it() {
    for (what, rule, break_it) in CASES {
        let mut history = sound();
        break_it(&mut history);
        let found = check(&history);
        assert!(found.iter().any(|violation| violation.rule == rule), "{what}: found were {found:#?}");
    }
}

#[test]
fn there_is_no_rule_that_cannot_be_broken() {
    let broken: BTreeSet<&str> = CASES.iter().map(|(_, rule, _)| *rule).collect();
    assert_eq!(broken, RULES.iter().map(|rule| rule.name).collect());
}

#[test]
fn what_the_web_knows_is_compared_one_by_one() {
    type Case = (&'static str, fn(&mut History));
    let cases: [Case; 6] = [
        ("fetched though it cannot be", |it| {
            it.sources[3].error_class = "http-status".into();
        }),
        ("refused for another reason", |it| it.images[2].reason = "truncated".into()),
        ("kept though it is a copy", |it| {
            (it.images[1].verdict, it.images[1].reason) = ("kept".into(), String::new());
        }),
        ("both refused", |it| (it.images[0].verdict, it.images[0].reason) = ("refused".into(), "duplicate".into())),
        ("listed once, there twice", |it| it.sources.push(it.sources[0].clone())),
        ("never listed", |it| {
            it.truth.pop();
        }),
    ];
    for (what, break_it) in cases {
        let mut history = sound();
        break_it(&mut history);
        assert!(check(&history).iter().any(|violation| violation.rule == "truth"), "{what}");
    }
}

#[test]
fn an_object_that_is_gone_is_named() {
    let mut history = sound();
    let key = format!("shards/raw/{SCRAPE}/1.tar");
    history.objects.remove(&key);
    let found = check(&history);
    assert_eq!(found, [Violation { rule: "objects-whole", what: format!("{key} is gone") }]);
}

#[test]
fn an_image_without_a_verdict_or_in_a_strangers_shard_is_found() {
    let mut history = sound();
    history.images[0].verdict = "unverified".into();
    history.images[1].raw_shard = format!("shards/normal/{VERIFY}/2.tar");
    let found: Vec<_> = check(&history).into_iter().filter(|violation| violation.rule == "images-once").collect();
    assert!(found.len() >= 2, "{found:#?}");
}

#[test]
fn a_violation_names_the_task_for_people() {
    let mut history = sound();
    task(&mut history, TRAIN).state = "dead".into();
    let found = check(&history);
    assert_eq!(found[0].to_string(), format!("task-ends-once: task 0 of train ({TRAIN}) is dead"));
}

fn task(history: &mut History, id: uuid::Uuid) -> &mut crate::history::Task {
    history.tasks.iter_mut().find(|task| task.id == id).unwrap()
}

fn lost_attempt(history: &mut History) -> &mut crate::history::Attempt {
    history.attempts.iter_mut().find(|attempt| attempt.task == RETRIED_PROBE && attempt.state == "lost").unwrap()
}

/// The first event of a kind, of a task or of any.
fn position(history: &History, kind: &str, task: Option<uuid::Uuid>) -> usize {
    let is_it = |event: &crate::history::Event| event.kind == kind && (task.is_none() || event.task == task);
    history.events.iter().position(is_it).unwrap()
}

fn position_of(history: &History, kind: &str, task: uuid::Uuid, attempt: i32) -> usize {
    let is_it = |event: &crate::history::Event| {
        event.kind == kind && event.task == Some(task) && event.attempt == Some(attempt)
    };
    history.events.iter().position(is_it).unwrap()
}

fn repeat(history: &mut History, kind: &str, task: uuid::Uuid) {
    let at = position(history, kind, Some(task));
    history.events.insert(at, history.events[at].clone());
}

fn forget(history: &mut History, kind: &str, task: uuid::Uuid) {
    let at = position(history, kind, Some(task));
    history.events.remove(at);
}
