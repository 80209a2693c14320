//! Lines of logs that are expected when things go wrong, each with the reason, and all others that somebody should look at.

use ursa_system::logs::{Expected, Level, unexpected};

use crate::stage::Stage;

const fn warning(pieces: &'static [&'static str], reason: &'static str) -> Expected {
    Expected { level: Level::Warn, pieces, reason }
}

/// What services may say.
const SERVICES: [Expected; 23] = [
    warning(&["waiting for Postgres"], "a coordinator was started while Postgres was away"),
    warning(&["waiting for the object store", "the object store is not available"], "the same, of the store"),
    warning(&["reconcile", "waiting for the database"], "Postgres was away"),
    warning(&["nothing is dispatched: waiting for the database"], "Postgres was away"),
    warning(&["no lease can be renewed: waiting for the database"], "Postgres was away"),
    warning(&["sqlx::postgres::notice", "terminating connection due to"], "Postgres was crashed or restarted"),
    // It was committed, and is undone all the same, which does nothing.
    warning(&["sqlx::postgres::notice", "there is no transaction in progress"], "who asked was cut off meanwhile"),
    warning(&["sqlx_core::pool::connection", "on-release", "error communicating with"], "connections broke"),
    warning(&["sqlx_core::pool::connection", "on-release", "terminating connection"], "Postgres was restarted"),
    warning(&["sqlx_core::pool::connection", "after_release", "timed out"], "Postgres vanished"),
    warning(&["sqlx::pool::acquire", "exceeded slow threshold"], "Postgres was away, stood, or was slow"),
    warning(&["sqlx::query", "execution time exceeded alert threshold"], "Postgres stood or was slow"),
    warning(&["log lines stay in the database for now", "error communicating with database"], "Postgres was away"),
    warning(&["log lines stay in the database for now", "terminating connection"], "Postgres was restarted"),
    warning(&["log lines stay in the database for now", "the object store is not available"], "it was away"),
    warning(&["uploads that do not count stay for now", "error communicating with database"], "Postgres was away"),
    warning(&["uploads that do not count stay for now", "terminating connection"], "Postgres was restarted"),
    warning(&["uploads that do not count stay for now", "the object store is not available"], "it was away"),
    warning(&["session: waiting for the coordinator"], "a coordinator was away"),
    warning(&["attempt", "the probe failed, as it was asked to"], "some probes fail on purpose"),
    warning(&["attempt", "the trainer was killed (signal 9)"], "it was"),
    warning(&["attempt", "the object store is not available"], "it was away"),
    // A run that ends for it is tried again: an error of the run, and none of the system.
    Expected {
        level: Level::Error,
        pieces: &["ursa_trainer: the object store is not available", "class=infrastructure"],
        reason: "it was away",
    },
];

/// Beginnings of what Postgres may say above the level of a notice.
const POSTGRES: [(&str, &str); 8] = [
    ("WARNING:  there is no transaction in progress", "who asked was cut off meanwhile"),
    ("FATAL:  terminating connection due to administrator command", "it was restarted"),
    ("WARNING:  terminating connection due to immediate shutdown command", "it was crashed"),
    ("FATAL:  the database system is shutting down", "it was restarted"),
    ("FATAL:  the database system is starting up", "it was restarted"),
    ("FATAL:  the database system is not yet accepting connections", "it was restarted"),
    ("FATAL:  terminating connection due to idle-in-transaction timeout", "a coordinator stood still in a transaction"),
    ("FATAL:  connection to client lost", "connections were cut"),
];

/// What somebody should look at, process by process.
pub fn alarming(stage: &Stage, postgres_log: &str) -> Vec<String> {
    let seats = stage.coordinators.iter().chain(&stage.workers);
    let said = seats.flat_map(|seat| {
        let lines = unexpected(&seat.log(), &SERVICES);
        lines.into_iter().map(move |line| format!("{}: {} {:?} {}", seat.name(), line.at, line.level, line.text))
    });
    said.chain(postgres(postgres_log)).collect()
}

/// Lines like `2026-02-03 04:05:06.789 UTC [123] ERROR:  deadlock detected`.
fn postgres(log: &str) -> Vec<String> {
    let is_alarming = |line: &&str| {
        let Some((_, said)) = line.split_once("] ") else { return false };
        let alarm = ["WARNING:", "ERROR:", "FATAL:", "PANIC:"].iter().any(|level| said.starts_with(level));
        alarm && !POSTGRES.iter().any(|(begin, _)| said.starts_with(begin))
    };
    log.lines().filter(is_alarming).map(|line| format!("postgres: {line}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_postgres_says_on_being_stopped_is_expected_and_a_deadlock_is_not() {
        let log = "2026-02-03 04:05:06.789 UTC [1] LOG:  received fast shutdown request
2026-02-03 04:05:06.789 UTC [2] FATAL:  terminating connection due to administrator command
2026-02-03 04:05:06.790 UTC [3] ERROR:  deadlock detected
2026-02-03 04:05:06.790 UTC [3] DETAIL:  Process 3 waits for ShareLock
";
        let found = postgres(log);
        assert_eq!(found, ["postgres: 2026-02-03 04:05:06.790 UTC [3] ERROR:  deadlock detected"]);
    }

    #[test]
    fn a_warning_of_a_service_is_told_by_what_it_says() {
        let log = "2026-02-03T04:05:06Z  WARN ursa_client::session: waiting for the coordinator error=x coordinator=y
2026-02-03T04:05:06Z  WARN attempt{task=1 attempt=1}: ursa_worker::execute: no space class=fatal
";
        let found = unexpected(log, &SERVICES);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].text.contains("no space"));
    }
}
