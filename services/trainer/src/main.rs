//! One run per process, be it training, a test of learning rates, an evaluation, an explanation or SGD from scratch: the order comes on standard input, events go to standard output, as JSON lines.
//!
//! The process may be killed at any moment: what matters is in the object store, and the next attempt goes on from the last
//! checkpoint. It knows neither coordinator nor database. It ends
//! - with 0 after `Finished`,
//! - with 1 after `Failed`,
//! - with 3 when its supervisor is gone (standard input ended or standard output broke),
//! - with 101 after a panic, which is told as `Failed` too.

mod checkpoints;
mod convert;
mod describe;
mod evaluate;
mod events;
mod explain;
mod failure;
mod input;
mod lab;
mod model;
mod packaged;
mod peers;
mod pixel_cache;
mod pretrained;
mod rates;
mod run;
mod snapshot;
mod trial;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ursa_domain::ErrorClass;
use ursa_domain::run::{RunResult, TrainerEvent};

use failure::Failure;
use input::{Order, Supervisor};
use ursa_learner::keep_memory;

/// Trains one classifier. Started by a worker, which writes the run's order to standard input.
#[derive(Debug, Parser)]
#[command(name = "ursa-trainer", version)]
struct Arguments {
    /// Print what this machine offers for training, as JSON, and exit.
    #[arg(long)]
    describe: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What else it is started for.
#[derive(Debug, Subcommand)]
enum Command {
    /// Turn a state dict of PyTorch (.pth) into safetensors, without running anything that is in it.
    Convert(convert::Conversion),
    /// What a trainer starts for the other GPUs of its run.
    #[command(hide = true)]
    Peer,
}

fn main() -> ExitCode {
    keep_memory();
    let arguments = Arguments::parse();
    ursa_telemetry::init_logging();
    if arguments.describe {
        return describe::print();
    }
    match &arguments.command {
        Some(Command::Convert(conversion)) => return convert::run(conversion),
        Some(Command::Peer) => return follow(),
        None => {}
    }
    events::tell_of_panics();
    let result = input::read_order(std::io::stdin())
        .and_then(|(order, supervisor)| execute(&order, &supervisor).inspect(|_| supervisor.dismiss()));
    match result {
        Ok(result) => {
            events::emit(&TrainerEvent::Finished(Box::new(result)));
            ExitCode::SUCCESS
        }
        Err(failure) => {
            match failure.class {
                // Somebody wanted it so.
                ErrorClass::Cancelled => tracing::info!("{failure}"),
                class => tracing::error!(%class, "{failure}"),
            }
            let Failure { class, message, findings } = failure;
            events::emit(&TrainerEvent::Failed { class, message, findings });
            ExitCode::FAILURE
        }
    }
}

/// Learns together with the process that started this one, which tells the supervisor.
fn follow() -> ExitCode {
    match run::follow() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tracing::error!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn execute(order: &Order, supervisor: &Supervisor) -> Result<RunResult, Failure> {
    match order {
        Order::Run(order) => run::run(order, supervisor),
        Order::Evaluate(order) => evaluate::run(order, supervisor).map(RunResult::Evaluation),
        Order::Explain(order) => explain::run(order, supervisor).map(RunResult::Explanations),
        Order::Lab(lab) => lab::run(lab, supervisor).map(RunResult::Lab),
    }
}
