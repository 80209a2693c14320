//! Standard input: the order, perhaps a wish to stop, and the supervisor's life line.

use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ursa_domain::run::{EvaluationOrder, ExplanationOrder, RunOrder, TrainerInput};
use ursa_domain::sgd_lab::SgdLab;

use crate::events::{ORPHANED, exit_now};
use crate::failure::Failure;

/// What there is to do.
#[derive(Debug)]
pub(crate) enum Order {
    /// Learn from a snapshot.
    Run(Box<RunOrder>),
    /// Ask a model about a snapshot.
    Evaluate(Box<EvaluationOrder>),
    /// Ask a model what in images speaks for a class.
    Explain(ExplanationOrder),
    /// Fit a line to points.
    Lab(SgdLab),
}

/// What the supervisor wants, as far as heard.
#[derive(Debug, Clone, Default)]
pub(crate) struct Supervisor {
    cancelled: Arc<AtomicBool>,
    dismissed: Arc<AtomicBool>,
}

impl Supervisor {
    /// Whether the run shall stop.
    pub(crate) fn cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// An error if the run shall stop.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.cancelled() { Err(Failure::cancelled()) } else { Ok(()) }
    }

    /// From here on the end of standard input means nothing: the work is done.
    pub(crate) fn dismiss(&self) {
        self.dismissed.store(true, Ordering::Relaxed);
    }

    fn listen(&self, input: impl BufRead) {
        for line in input.lines().map_while(Result::ok) {
            if let Ok(TrainerInput::Cancel) = serde_json::from_str(&line) {
                self.cancelled.store(true, Ordering::Relaxed);
            } else {
                tracing::warn!(line, "this line of standard input means nothing here");
            }
        }
        if !self.dismissed.load(Ordering::Relaxed) {
            tracing::error!("the supervisor is gone");
            exit_now(ORPHANED);
        }
    }
}

/// Reads the order, then listens on a thread of its own. The end of `input` ends the process.
pub(crate) fn read_order(input: impl Read + Send + 'static) -> Result<(Order, Supervisor), Failure> {
    let mut input = BufReader::new(input);
    let mut line = String::new();
    let read = input.read_line(&mut line);
    if line.is_empty() {
        tracing::error!(?read, "standard input ended before an order came");
        exit_now(ORPHANED);
    }
    let order = match serde_json::from_str(&line) {
        Ok(TrainerInput::Run(order)) => Order::Run(order),
        Ok(TrainerInput::Evaluate(order)) => Order::Evaluate(order),
        Ok(TrainerInput::Explain(order)) => Order::Explain(order),
        Ok(TrainerInput::Lab(lab)) => Order::Lab(lab),
        Ok(TrainerInput::Cancel) => return Err(Failure::cancelled()),
        Err(error) => return Err(Failure::fatal(format!("the order cannot be read: {error}"))),
    };
    let supervisor = Supervisor::default();
    let listener = supervisor.clone();
    std::thread::spawn(move || listener.listen(input));
    Ok((order, supervisor))
}
