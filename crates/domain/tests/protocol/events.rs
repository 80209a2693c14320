//! What happens to a store: workers that do their work, are slow, die, repeat themselves and come back late; users who
//! cancel and try again; time.

use std::time::Duration;

use proptest::prelude::*;
use ursa_domain::policy::{Deadlines, JobPolicy};
use ursa_domain::{ErrorClass, Lease};

use crate::store::{Refused, Store};

const WORKERS: usize = 4;

#[derive(Debug, Clone)]
pub(crate) enum Event {
    Pass {
        milliseconds: u64,
    },
    Start {
        job: usize,
    },
    Claim {
        worker: usize,
    },
    /// Of everything that the worker believes to hold.
    Report {
        worker: usize,
    },
    Complete(Word),
    Fail(Word, ErrorClass),
    /// It forgets everything; nobody hears of it.
    Die {
        worker: usize,
    },
    Sweep,
    Settle {
        job: usize,
    },
    Cancel {
        job: usize,
    },
    Retry {
        job: usize,
    },
    Replay {
        job: usize,
        tasks: u8,
    },
    Preempt {
        attempt: usize,
    },
}

/// Whose word something is: of a lease that a worker believes to hold, or of any that ever was.
#[derive(Debug, Clone)]
pub(crate) enum Word {
    Of { worker: usize, which: usize },
    FromLongAgo { attempt: usize, times: usize },
}

pub(crate) fn policies() -> impl Strategy<Value = (JobPolicy, usize)> {
    let seconds = |most: u64| prop::option::weighted(0.3, (1..most).prop_map(Duration::from_secs));
    let ratio = prop::sample::select(vec![0.25, 0.5, 0.75, 1.0]);
    let deadlines = (seconds(30), seconds(20), seconds(60));
    (1..4_u32, ratio, prop::option::of(1..4_u32), prop::sample::select(vec![1, 1, 1, 2, 3]), deadlines, 1..6_usize)
        .prop_map(|(max_attempts, min_success_ratio, parallelism, workers, (queue_wait, run, total), tasks)| {
            let parallelism = parallelism.map(|parallelism| parallelism.max(workers));
            let deadlines = Deadlines { queue_wait, run, total, no_progress: None };
            let policy =
                JobPolicy { max_attempts, min_success_ratio, parallelism, workers, deadlines, ..JobPolicy::default() };
            (policy, tasks)
        })
}

pub(crate) fn events() -> impl Strategy<Value = Vec<Event>> {
    let (job, worker, number) = (|| 0..3_usize, || 0..WORKERS, || 0..1000_usize);
    let word = move || {
        prop_oneof![
            4 => (worker(), number()).prop_map(|(worker, which)| Word::Of { worker, which }),
            1 => (number(), 1..4_usize).prop_map(|(attempt, times)| Word::FromLongAgo { attempt, times }),
        ]
    };
    let event = prop_oneof![
        4 => (0..4000_u64).prop_map(|milliseconds| Event::Pass { milliseconds }),
        4 => job().prop_map(|job| Event::Start { job }),
        10 => worker().prop_map(|worker| Event::Claim { worker }),
        6 => worker().prop_map(|worker| Event::Report { worker }),
        6 => word().prop_map(Event::Complete),
        6 => (word(), prop::sample::select(ErrorClass::ALL.to_vec())).prop_map(|(word, class)| Event::Fail(word, class)),
        2 => worker().prop_map(|worker| Event::Die { worker }),
        6 => Just(Event::Sweep),
        3 => job().prop_map(|job| Event::Settle { job }),
        1 => job().prop_map(|job| Event::Cancel { job }),
        2 => job().prop_map(|job| Event::Retry { job }),
        2 => (job(), any::<u8>()).prop_map(|(job, tasks)| Event::Replay { job, tasks }),
        1 => number().prop_map(|attempt| Event::Preempt { attempt }),
    ];
    prop::collection::vec(event, 0..120)
}

/// A store, and what its workers believe.
#[derive(Debug, Clone, Default)]
pub(crate) struct System {
    pub(crate) store: Store,
    /// The lease that was presented last.
    pub(crate) presented: Option<Lease>,
    held: [Vec<Lease>; WORKERS],
}

impl System {
    /// What is refused changes nothing.
    pub(crate) fn happen(&mut self, event: &Event) -> Result<(), Refused> {
        let store = &mut self.store;
        self.presented = None;
        match event {
            Event::Pass { milliseconds } => store.now += Duration::from_millis(*milliseconds),
            Event::Start { job } => store.start(*job)?,
            Event::Claim { worker } => {
                for (place, lease) in store.claim(*worker)?.into_iter().enumerate() {
                    self.held[(worker + place) % WORKERS].push(lease);
                }
            }
            Event::Report { worker } => {
                // It may go on for a while with what it was told to stop.
                store.report(&self.held[*worker])?;
            }
            Event::Complete(word) => {
                for lease in self.leases(word) {
                    self.store.complete(&lease)?;
                }
            }
            Event::Fail(word, class) => {
                for lease in self.leases(word) {
                    self.store.fail(&lease, *class)?;
                }
            }
            Event::Die { worker } => self.held[*worker].clear(),
            Event::Sweep => store.sweep()?,
            Event::Settle { job } => store.settle(*job)?,
            Event::Cancel { job } => store.cancel(*job)?,
            Event::Retry { job } => store.retry(*job)?,
            Event::Replay { job, tasks } => {
                let of_job = store.tasks_of(*job).into_iter().enumerate();
                let some: Vec<usize> = of_job.filter(|(bit, _)| tasks >> bit & 1 == 1).map(|(_, task)| task).collect();
                store.replay(*job, &some)?;
            }
            Event::Preempt { attempt } => {
                if !store.attempts.is_empty() {
                    store.preempt(attempt % store.attempts.len());
                }
            }
        }
        Ok(())
    }

    fn leases(&mut self, word: &Word) -> Vec<Lease> {
        let leases = self.find(word);
        self.presented = leases.first().copied();
        leases
    }

    fn find(&mut self, word: &Word) -> Vec<Lease> {
        match word {
            Word::Of { worker, which } => {
                let held = &mut self.held[*worker];
                if held.is_empty() { Vec::new() } else { vec![held.swap_remove(which % held.len())] }
            }
            Word::FromLongAgo { attempt, times } => {
                let all = &self.store.attempts;
                if all.is_empty() { Vec::new() } else { vec![all[attempt % all.len()].lease; *times] }
            }
        }
    }
}
