//! The task protocol as a model: jobs, tasks, attempts as leases, and workers that are slow, die and come back, in any
//! order of events.

mod events;
mod promises;
mod store;
mod stories;
