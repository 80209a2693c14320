//! How urgent a job is, in words.

use ursa_proto::v1;

/// Its own priority, and the one it is worked on with where that is another job's: `0 (9 while train waits for it)`.
pub fn in_words(job: &v1::Job) -> String {
    match job.priority_of.as_str() {
        "" => job.priority.to_string(),
        other => format!("{} ({} while {other} waits for it)", job.priority, job.effective_priority),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_priority_it_has_is_said() {
        let own = v1::Job { priority: 4, effective_priority: 4, ..v1::Job::default() };
        assert_eq!(in_words(&own), "4");
        let inherited = v1::Job { effective_priority: 9, priority_of: "train".into(), ..own };
        assert_eq!(in_words(&inherited), "4 (9 while train waits for it)");
    }
}
