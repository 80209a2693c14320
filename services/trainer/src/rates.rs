//! A test of learning rates: what would be trained, on a private copy of its weights.

use std::ops::ControlFlow;

use ursa_domain::recipe::RateTest;
use ursa_domain::run::{FoundRates, RatePoint, TrainerEvent};
use ursa_learner::{Heard, Training, find_lr};

use crate::events;
use crate::failure::Failure;
use crate::input::Supervisor;

/// Tries the rates, and tells of every one.
pub(crate) fn find(training: &Training, test: &RateTest, supervisor: &Supervisor) -> Result<FoundRates, Failure> {
    let curve = find_lr(training, test, |heard| {
        match heard {
            Heard::Point(point) => tell(test, point),
            Heard::Shortage(shortage) => events::log("warn", shortage.to_string()),
        }
        if supervisor.cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    let suggestions = curve.suggestions();
    match &suggestions {
        Ok(suggestions) => {
            for one in suggestions {
                events::log("info", format!("{}: {:.2e}; {}", one.method, one.rate, one.reason));
            }
        }
        Err(reason) => events::log("warn", format!("no rate can be suggested: {reason}")),
    }
    Ok(FoundRates { points: curve.points, suggestions })
}

fn tell(test: &RateTest, point: &RatePoint) {
    let step = u64::from(point.step);
    for (name, value) in [("learning_rate", point.rate), ("loss", point.batch_loss), ("loss_smooth", point.loss)] {
        events::metric(name, step, 0, value);
    }
    events::emit(&TrainerEvent::Progress {
        done: step + 1,
        total: u64::from(test.steps),
        unit: "batches".into(),
        message: format!("rate {:.1e}, loss {:.4}", point.rate, point.loss),
    });
}
