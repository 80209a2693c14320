//! Jobs as progress bars, one per job, redrawn in place. For terminals only: pipes get lines.

use std::collections::HashMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use ursa_proto::v1;

use crate::text;

const REDRAW: Duration = Duration::from_millis(120);
const BAR: &str = "{prefix:<14} {bar:30.cyan/dim} {pos:>6}/{len:<6} {msg}";
const SPINNER: &str = "{prefix:<14} {spinner:.cyan} {msg}";
const STILL: &str = "{prefix:<14} {msg}";

/// Bars on standard error.
#[derive(Debug, Default)]
pub(crate) struct JobBars {
    all: MultiProgress,
    by_job: HashMap<String, ProgressBar>,
}

/// How a job is drawn.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    /// So much of so much.
    Bar { done: u64, total: u64, message: String },
    /// Something goes on, nobody knows how much.
    Spinner { message: String },
    /// Nothing goes on.
    Still { message: String },
}

impl JobBars {
    /// No bars yet.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Draws the jobs as they are now. A job keeps its line.
    pub(crate) fn update(&mut self, jobs: &[v1::Job]) {
        for job in jobs {
            let bar = self.by_job.entry(job.id.clone()).or_insert_with(|| {
                let bar = self.all.add(ProgressBar::new(0));
                bar.set_prefix(job.name.clone());
                bar
            });
            draw(bar, look(job));
        }
    }

    /// Prints lines above the bars, whatever becomes of them meanwhile.
    pub(crate) fn printer(&self) -> impl Fn(&str) + use<> {
        let all = self.all.clone();
        // A terminal that has gone is no error worth a word.
        move |text| drop(all.println(text))
    }

    /// Leaves the bars as they are: what is printed next comes below them.
    pub(crate) fn finish(&self) {
        for bar in self.by_job.values() {
            bar.abandon();
        }
    }
}

fn draw(bar: &ProgressBar, look: Look) {
    let (template, message, is_moving) = match look {
        Look::Bar { done, total, message } => {
            bar.set_length(total);
            bar.set_position(done.min(total));
            (BAR, message, true)
        }
        Look::Spinner { message } => (SPINNER, message, true),
        Look::Still { message } => (STILL, message, false),
    };
    // The templates are ours and tested.
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_message(message);
    if is_moving {
        bar.enable_steady_tick(REDRAW);
    } else {
        bar.disable_steady_tick();
    }
    bar.tick();
}

fn look(job: &v1::Job) -> Look {
    let progress = job.progress.clone().unwrap_or_default();
    if !matches!(job.state.as_str(), "running" | "cancelling") {
        return Look::Still { message: outcome(job, &progress) };
    }
    let message = joined(&[&progress.unit, &progress.message, &speed(job), &waits(job)]);
    match progress.total {
        0 => Look::Spinner { message },
        total => Look::Bar { done: progress.done, total, message },
    }
}

/// How fast it is, and how long that will take.
fn speed(job: &v1::Job) -> String {
    let left = if job.eta_seconds > 0.0 { format!("{} left", text::duration(job.eta_seconds)) } else { String::new() };
    joined(&[&text::rate(job.rate, ""), &left])
}

/// Why nothing goes on.
fn waits(job: &v1::Job) -> String {
    if job.waiting_reason.is_empty() { String::new() } else { format!("waiting: {}", job.waiting_reason) }
}

fn outcome(job: &v1::Job, progress: &v1::Progress) -> String {
    if job.state == "waiting" && !job.waiting_reason.is_empty() {
        return waits(job);
    }
    if !job.error.is_empty() {
        return format!("{}: {}", job.state, job.error);
    }
    let amount = match progress.total {
        0 => String::new(),
        total => format!("{}/{total} {}", progress.done, progress.unit),
    };
    let cached = match job.cached_from.as_str() {
        "" => String::new(),
        id => format!("taken over from job {}", text::short_id(id)),
    };
    joined(&[&job.state, &amount, &cached])
}

fn joined(parts: &[&str]) -> String {
    parts.iter().copied().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" · ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(state: &str, done: u64, total: u64, message: &str) -> v1::Job {
        let progress = v1::Progress { done, total, unit: "urls".into(), message: message.into() };
        v1::Job {
            id: "1".into(),
            name: "scrape".into(),
            state: state.into(),
            progress: Some(progress),
            ..v1::Job::default()
        }
    }

    #[test]
    fn templates_are_understood() {
        for template in [BAR, SPINNER, STILL] {
            ProgressStyle::with_template(template).unwrap();
        }
    }

    #[test]
    fn a_job_is_drawn_by_its_state_and_what_is_known_of_it() {
        let bar = Look::Bar { done: 3, total: 9, message: "urls · epoch 1".into() };
        assert_eq!(look(&job("running", 3, 9, "epoch 1")), bar);
        assert_eq!(look(&job("running", 0, 0, "")), Look::Spinner { message: "urls".into() });
        assert_eq!(look(&job("waiting", 0, 0, "")), Look::Still { message: "waiting".into() });
        assert_eq!(look(&job("succeeded", 9, 9, "")), Look::Still { message: "succeeded · 9/9 urls".into() });
        let failed = v1::Job { error: "out of memory".into(), ..job("failed", 3, 9, "") };
        assert_eq!(look(&failed), Look::Still { message: "failed: out of memory".into() });
    }

    #[test]
    fn speed_waits_and_work_taken_over_are_said() {
        let fast = v1::Job { rate: 12.5, eta_seconds: 48.0, ..job("running", 3, 9, "") };
        let bar = Look::Bar { done: 3, total: 9, message: "urls · 12.5/s · 48 s left".into() };
        assert_eq!(look(&fast), bar);
        let stuck = v1::Job { waiting_reason: "no worker has 2 GPUs free".into(), ..job("waiting", 0, 0, "") };
        assert_eq!(look(&stuck), Look::Still { message: "waiting: no worker has 2 GPUs free".into() });
        let cached = "0193a1b2-c3d4-7e5f-8a6b-123456789abc".into();
        let cached = v1::Job { cached_from: cached, ..job("succeeded", 0, 0, "") };
        assert_eq!(look(&cached), Look::Still { message: "succeeded · taken over from job 56789abc".into() });
    }

    #[test]
    fn a_job_keeps_its_line() {
        let mut bars = JobBars::new();
        bars.update(&[job("running", 1, 9, "")]);
        bars.update(&[job("running", 5, 9, "")]);
        assert_eq!(bars.by_job.len(), 1);
        assert_eq!(bars.by_job["1"].position(), 5);
        bars.finish();
    }
}
