//! The dispatcher: places ready tasks on the workers attached to this coordinator, and keeps their leases alive.
//!
//! - `roster` knows who is attached, in memory: it is made anew from the workers' own reports after a start.
//! - `beat` renews all leases in one statement, and tells workers what to stop; `search` finds what it does not know of.
//! - `rounds` looks at the lanes, and has `ursa_domain::scheduling` decide; `giving` leases what it decided, and tells workers.
//! - `orders` says everything that a worker needs to know of a task.
//! - `submissions` stores what is submitted, and leases it at once where it can.
//! - `completions` ends many short attempts in one transaction.
//!
//! Any number of coordinators dispatch side by side, each to its own workers: the database decides who gets a task.

mod asleep;
mod beat;
mod completions;
mod giving;
mod orders;
mod roster;
mod rounds;
mod search;
mod submissions;

use crate::context::Context;
use crate::loops::Loops;

pub(crate) use completions::Completions;
pub(crate) use roster::{Attachment, Door, ORDERS_IN_FLIGHT, Report, Roster};
pub(crate) use rounds::{Dispatcher, LOOK};
pub(crate) use submissions::Submissions;

/// Starts the dispatcher.
pub(crate) fn start(context: &Context, loops: &Loops) {
    loops.start_endless(beat::run(context.clone()));
    loops.start_endless(search::run(context.clone()));
    loops.start_endless(rounds::run(context.clone()));
    loops.start_endless(submissions::run(context.clone()));
    loops.start_endless(completions::run(context.clone()));
}
