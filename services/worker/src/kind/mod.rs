//! What a worker can do: one file per kind of job. Each takes its task and gives back what the coordinator commits.

pub(crate) mod scrape;
pub(crate) mod train;
pub(crate) mod verify;
