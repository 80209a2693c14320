//! How the crate is set up. Its guide names no best values and says to measure; these were the best of those tried with
//! jobs that do nothing, on two cores. What is not named here is as the crate has it, its driver (`sqlx`, which prepares
//! its statements) included.
//!
//! - **Poll interval.** A slot fetches one job for each signal, and for jobs that were in the table before only polling
//!   signals, once for each slot. With the default of a second, 24 slots would do 24 jobs per second. So throughput
//!   polls every millisecond, the finest that Tokio's clock has: 24 000 jobs per second, far above what the commits allow.
//!   Latency keeps the default: adding a job notifies the worker, and to poll more often took processor time without
//!   gain. So does throughput where jobs are added meanwhile, but for a poll every 20 milliseconds: a job that no
//!   notification had fetched would make the last one wait for a second.
//! - **Connections.** One for each slot, so that none waits for another, and one each for the listener, the completions,
//!   whoever adds jobs, and whoever looks at the table.
//! - **Batched**: local queues that fetch many jobs in one statement, and completions that are gathered and deleted in
//!   one. Several queues fetch while others are drained: with 8 slots and with 24, four of 500 did more than the one of
//!   5000 in the crate's own benchmark. Five milliseconds of gathering are what its guide recommends; one did no more.
//!   With 24 slots latency is lower, too: one fetch for a notification, where otherwise every slot fetches.
//! - **Unbatched** is the default: a fetch and a completion, each a commit, for every job.

use std::time::Duration;

use graphile_worker::{LocalQueueConfig, WorkerOptions};
use serde::Serialize;

use crate::{Arguments, Mode};

const POLL_MS: u64 = 1;
const MEANWHILE_POLL_MS: u64 = 20;
/// The crate's default.
const IDLE_POLL_MS: u64 = 1000;
const QUEUES: usize = 4;
const QUEUE_SIZE: usize = 500;
const COMPLETION_DELAY_MS: u64 = 5;
/// Besides one for each slot.
const FURTHER_CONNECTIONS: usize = 4;

/// See the module.
#[derive(Debug, Serialize)]
pub(crate) struct Options {
    workers: usize,
    /// Of the pool; all are open from the start.
    pub(crate) connections: u32,
    poll_interval_ms: u64,
    batches: Option<Batches>,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct Batches {
    local_queues: usize,
    local_queue_size: usize,
    completion_delay_ms: u64,
}

impl Options {
    /// The best for what is to be measured.
    pub(crate) fn choose(arguments: &Arguments) -> Self {
        let workers = arguments.workers.get();
        let batches = Batches {
            local_queues: QUEUES.min(workers),
            local_queue_size: QUEUE_SIZE,
            completion_delay_ms: COMPLETION_DELAY_MS,
        };
        let poll_interval_ms = match (arguments.mode, arguments.callers) {
            (Mode::Throughput, None) => POLL_MS,
            (Mode::Throughput, Some(_)) => MEANWHILE_POLL_MS,
            (Mode::Latency, _) => IDLE_POLL_MS,
        };
        let connections = (workers + FURTHER_CONNECTIONS) as u32;
        Self { workers, connections, poll_interval_ms, batches: arguments.batched.then_some(batches) }
    }

    /// Sets a worker up so.
    pub(crate) fn apply(&self, worker: WorkerOptions) -> WorkerOptions {
        let worker = worker.concurrency(self.workers).poll_interval(Duration::from_millis(self.poll_interval_ms));
        let Some(batches) = self.batches else { return worker };
        let queues =
            LocalQueueConfig::default().with_size(batches.local_queue_size).with_queue_count(batches.local_queues);
        worker.local_queue(queues).complete_job_batch_delay(Duration::from_millis(batches.completion_delay_ms))
    }
}
