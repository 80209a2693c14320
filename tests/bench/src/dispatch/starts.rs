//! When tasks began, as the worker process that has them says in its log: to the microsecond, by the clock of this machine.

use std::collections::HashMap;
use std::time::SystemTime;

use serde_json::Value;

/// The environment of a worker that shall say so.
pub(crate) const TELLING: [(&str, &str); 2] =
    [("URSA_LOG", "info,ursa_worker::execute=debug"), ("URSA_LOG_FORMAT", "json")];
const BEGINS: &str = "the attempt begins";

/// When the first task of each job began.
pub(crate) fn read(log: &str) -> HashMap<String, SystemTime> {
    let mut starts = HashMap::new();
    for (job, at) in log.lines().filter_map(start) {
        starts.entry(job).or_insert(at);
    }
    starts
}

/// Other lines, and the half line at the end of a log that is being written, are none.
fn start(line: &str) -> Option<(String, SystemTime)> {
    let line: Value = serde_json::from_str(line).ok()?;
    if line["fields"]["message"] != BEGINS {
        return None;
    }
    let at = humantime::parse_rfc3339(line["timestamp"].as_str()?).ok()?;
    Some((line["fields"]["job"].as_str()?.to_owned(), at))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_first_start_of_each_job_is_read_whatever_stands_beside_it() {
        let line = |seconds: &str, message: &str, job: &str| {
            let fields = format!(r#"{{"message":"{message}","job":"{job}"}}"#);
            format!(r#"{{"timestamp":"1970-01-01T00:00:{seconds}Z","level":"DEBUG","fields":{fields}}}"#)
        };
        let half = line("04.000000", BEGINS, "c");
        let log = [
            "worker-0:".to_owned(),
            line("01.000250", BEGINS, "a"),
            line("02.000000", BEGINS, "a"),
            line("03.000000", "attached to the coordinator", "b"),
            half[..half.len() - 1].to_owned(),
        ];
        let starts = read(&log.join("\n"));
        assert_eq!(
            starts,
            HashMap::from([("a".to_owned(), SystemTime::UNIX_EPOCH + Duration::from_micros(1_000_250))])
        );
    }
}
