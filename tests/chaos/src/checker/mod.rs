//! What must hold whatever went wrong. Pure: a history in, everything that does not hold out.
//!
//! The order of things is that of the events of a pipeline, whose ids grow in the order of commits. Times are not: a
//! transaction has that of its begin.

mod again;
mod effects;
mod index;
mod order;
mod totals;
mod truth;

#[cfg(test)]
mod example;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::Serialize;

use crate::history::History;
use index::Index;

/// Something that must hold.
pub struct Rule {
    /// For short.
    pub name: &'static str,
    /// What must hold.
    pub text: &'static str,
    check: fn(&Index<'_>) -> Vec<String>,
}

/// All rules.
pub const RULES: [Rule; 18] = [
    Rule {
        name: "submitted-once",
        text: "whatever was asked for is there once, however often it was asked for",
        check: totals::submitted_once,
    },
    Rule {
        name: "jobs-end",
        text: "every job ended well, or cancelled if it was, and its counts are right",
        check: totals::jobs_end,
    },
    Rule {
        name: "job-order",
        text: "a job waits, runs and ends, once each, and its tasks live in between; once it is cancelled none begins",
        check: order::job_order,
    },
    Rule {
        name: "task-ends-once",
        text: "every task ended exactly once, and well unless its job was cancelled, and nothing happened to it later",
        check: order::task_ends_once,
    },
    Rule {
        name: "attempts-whole",
        text: "attempts are numbered without a gap, each under a lease of its own, and none is open",
        check: order::attempts_whole,
    },
    Rule {
        name: "one-success",
        text: "of every task that ended well exactly one attempt succeeded: the last one",
        check: order::one_success,
    },
    Rule {
        name: "room-is-free",
        text: "an attempt that made room was given back, and nothing that is given back uses up an attempt",
        check: order::room_is_free,
    },
    Rule {
        name: "no-overlap",
        text: "an attempt begins after the one before has ended, and works only in between",
        check: order::no_overlap,
    },
    Rule {
        name: "drained-rests",
        text: "a worker that is drained is given nothing until it is let in again",
        check: order::drained_rests,
    },
    Rule {
        name: "run-again",
        text: "of what is run again each job is taken over as a whole from one that ended well, or done anew",
        check: again::run_again,
    },
    Rule {
        name: "watched-all",
        text: "who watched a pipeline, or everything, saw every event of it, once, in order",
        check: order::watched_all,
    },
    Rule {
        name: "effects-of-winners",
        text: "what counts was made by the attempt that succeeded, once",
        check: effects::effects_of_winners,
    },
    Rule {
        name: "images-once",
        text: "every URL that was fetched is one image, with a verdict, in the shard of its task",
        check: effects::images_once,
    },
    Rule { name: "outputs-add-up", text: "what jobs say they made is what is there", check: totals::outputs_add_up },
    Rule {
        name: "work-goes-on",
        text: "a training run goes on from its latest checkpoint: no epoch counts twice",
        check: effects::work_goes_on,
    },
    Rule { name: "objects-whole", text: "every object that counts is there, unchanged", check: effects::objects_whole },
    Rule {
        name: "nothing-is-left",
        text: "of what attempts uploaded only what a row names is there once everybody has had time to clean up",
        check: effects::nothing_is_left,
    },
    Rule { name: "truth", text: "every line of the lists became what it had to", check: truth::truth },
];

/// A rule that is broken, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Name of the rule.
    pub rule: &'static str,
    /// What does not hold, of what.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.what)
    }
}

/// Everything that does not hold.
pub fn check(history: &History) -> Vec<Violation> {
    let index = Index::of(history);
    let broken = |rule: &Rule| {
        let name = rule.name;
        (rule.check)(&index).into_iter().map(move |what| Violation { rule: name, what })
    };
    RULES.iter().flat_map(broken).collect()
}
