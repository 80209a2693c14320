//! What came of a run: printed for people, written for programs.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;

use crate::acts::Done;
use crate::checker::{RULES, Violation};
use crate::history::History;
use crate::recovery::{Recovery, Struck};

/// So many violations of one rule are printed.
const PRINTED: usize = 8;

/// See the module.
#[derive(Debug, Serialize)]
pub struct Report {
    /// What the schedule was drawn from.
    pub seed: u64,
    /// From the first fault to the last one's end, in seconds.
    pub chaos_seconds: f64,
    /// From then until nothing was left to do, in seconds.
    pub quiet_after_seconds: f64,
    /// What there was of everything.
    pub counts: BTreeMap<String, usize>,
    /// What was done, in order.
    pub faults: Vec<FaultReport>,
    /// What was done to work on its way, in order.
    pub acts: Vec<ActReport>,
    /// Longest times that things took to go on after each kind of fault, in milliseconds.
    pub slowest_recovery_ms: BTreeMap<String, u64>,
    /// Rules that were checked, and what they say.
    pub rules: BTreeMap<&'static str, &'static str>,
    /// What does not hold.
    pub violations: Vec<Violation>,
}

/// One fault that was done.
#[derive(Debug, Serialize)]
pub struct FaultReport {
    /// When, in seconds since the begin.
    pub at: f64,
    /// What.
    pub fault: String,
    /// What proves it.
    pub proof: String,
    /// How long it took until things went on.
    #[serde(flatten)]
    pub recovery: Recovery,
}

/// Something that a user did to work on its way.
#[derive(Debug, Serialize)]
pub struct ActReport {
    /// When, in seconds since the begin.
    pub at: f64,
    /// What.
    pub act: String,
    /// What proves it.
    pub proof: String,
}

/// Rules besides those of the checker.
const MORE_RULES: [(&str, &str); 5] = [
    ("faults-fire", "every fault of the schedule was done, and hit somebody"),
    ("acts-done", "everything that was to be done to work on its way was done"),
    ("quiet", "when nothing goes wrong any more, everything that was begun ends"),
    ("recovery", "15 s after a fault at the latest things go on, and nothing is held by who has gone"),
    ("logs", "nothing unexpected is logged as a warning or an error"),
];

impl Report {
    /// With nothing in it yet but what was to be checked.
    pub fn new(seed: u64) -> Self {
        let rules = RULES.iter().map(|rule| (rule.name, rule.text)).chain(MORE_RULES).collect();
        Self {
            seed,
            chaos_seconds: 0.0,
            quiet_after_seconds: 0.0,
            counts: BTreeMap::new(),
            faults: Vec::new(),
            acts: Vec::new(),
            slowest_recovery_ms: BTreeMap::new(),
            rules,
            violations: Vec::new(),
        }
    }

    /// Whether everything holds.
    pub fn holds(&self) -> bool {
        self.violations.is_empty()
    }

    /// Notes that something does not hold.
    pub fn violate(&mut self, rule: &'static str, what: String) {
        self.violations.push(Violation { rule, what });
    }

    /// Notes a fault that was done.
    pub fn add_fault(&mut self, at: f64, struck: &Struck, recovery: Recovery) {
        let slowest = recovery.taken_back_ms.into_iter().chain(recovery.next_success_ms).max().unwrap_or_default();
        let of_kind = self.slowest_recovery_ms.entry(struck.fault.kind.to_string()).or_default();
        *of_kind = slowest.max(*of_kind);
        self.faults.push(FaultReport { at, fault: struck.fault.to_string(), proof: struck.proof.clone(), recovery });
    }

    /// Notes what was done to work on its way.
    pub fn add_act(&mut self, at: f64, done: &Done) {
        self.acts.push(ActReport { at, act: done.act.to_string(), proof: done.proof.clone() });
    }

    /// Counts what there was.
    pub fn count(&mut self, history: &History) {
        let mut count = |what: &str, number: usize| _ = self.counts.insert(what.to_owned(), number);
        count("pipelines", history.pipelines.len());
        count("jobs", history.jobs.len());
        count("tasks", history.tasks.len());
        count("attempts", history.attempts.len());
        count("events", history.events.len());
        count("events seen", history.watched.values().map(Vec::len).sum());
        count("URLs", history.sources.len());
        count("images", history.images.len());
        count("objects", history.objects.len());
        count("models", history.models.len());
        let mut states: BTreeMap<String, usize> = BTreeMap::new();
        for attempt in &history.attempts {
            *states.entry(format!("attempts {}", attempt.state)).or_default() += 1;
        }
        self.counts.extend(states);
    }

    /// Writes it for programs.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        std::fs::write(path, serde_json::to_vec_pretty(self)?)
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds =
            |millis: Option<u64>| millis.map_or("–".to_owned(), |millis| format!("{:.1} s", millis as f64 / 1000.0));
        writeln!(f, "\n{:>7}  {:<62} {:>4} {:>10} {:>10}", "at", "fault", "held", "taken back", "goes on")?;
        for fault in &self.faults {
            let Recovery { held, taken_back_ms, next_success_ms } = fault.recovery;
            let (back, next) = (seconds(taken_back_ms), seconds(next_success_ms));
            writeln!(f, "{:6.1}s  {:<62} {held:>4} {back:>10} {next:>10}", fault.at, fault.fault)?;
        }
        for act in &self.acts {
            writeln!(f, "{:6.1}s  {}: {}", act.at, act.act, act.proof)?;
        }
        let counts: Vec<String> = self.counts.iter().map(|(what, number)| format!("{number} {what}")).collect();
        writeln!(f, "\n{}", counts.join(", "))?;
        let (chaos, quiet) = (self.chaos_seconds, self.quiet_after_seconds);
        writeln!(f, "{chaos:.0} s of chaos, quiet {quiet:.0} s later; {} rules checked\n", self.rules.len())?;
        let mut printed: BTreeMap<&str, usize> = BTreeMap::new();
        for violation in &self.violations {
            let nth = printed.entry(violation.rule).or_default();
            *nth += 1;
            match *nth {
                ..=PRINTED => writeln!(f, "BROKEN  {violation}")?,
                nth if nth == PRINTED + 1 => writeln!(f, "BROKEN  {}: and more", violation.rule)?,
                _ => {}
            }
        }
        let verdict = if self.holds() { "everything holds" } else { "it does not hold" };
        writeln!(f, "seed {}: {verdict}", self.seed)
    }
}
