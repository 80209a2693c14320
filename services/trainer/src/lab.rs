//! SGD from scratch, every step of it told.

use std::ops::ControlFlow;

use ursa_domain::run::{SgdOutcome, SgdStep, TrainerEvent};
use ursa_domain::sgd_lab::SgdLab;
use ursa_learner::run_sgd_lab;

use crate::events;
use crate::failure::Failure;
use crate::input::Supervisor;

/// Makes the experiment.
pub(crate) fn run(lab: &SgdLab, supervisor: &Supervisor) -> Result<SgdOutcome, Failure> {
    let outcome = run_sgd_lab(lab, |step| {
        tell(lab, step);
        if supervisor.cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    events::log(if outcome.diverged { "warn" } else { "info" }, outcome.verdict.clone());
    Ok(outcome)
}

fn tell(lab: &SgdLab, state: &SgdStep) {
    let [slope, intercept] = state.coefficients;
    for (name, value) in [("loss", state.loss), ("slope", slope), ("intercept", intercept)] {
        // A measurement is a number; the outcome says that there is none any more.
        if value.is_finite() {
            events::metric(name, u64::from(state.step), 0, value);
        }
    }
    events::emit(&TrainerEvent::Progress {
        done: u64::from(state.step),
        total: u64::from(lab.steps),
        unit: "steps".into(),
        message: format!("loss {:.4}, y = {slope:.3} x + {intercept:.3}", state.loss),
    });
}
