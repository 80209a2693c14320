//! `up.json`: what runs where, for programs, and for the next `ursa up` in case this one is killed.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::plan::Announcement;
use super::process::{Process, boot_id};

/// The content of `up.json`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Record {
    /// Whether everything has been seen to answer. While it is false, addresses may be missing.
    pub(super) ready: bool,
    /// Process of `ursa up`.
    pub(super) pid: u32,
    /// Where the coordinator answers gRPC.
    pub(super) coordinator: String,
    /// Where the dashboard answers HTTP.
    pub(super) dashboard: String,
    /// The inference nodes.
    pub(super) nodes: Vec<Node>,
    /// The workers.
    pub(super) workers: Vec<Worker>,
    /// The data folder.
    pub(super) data_dir: PathBuf,
    /// Where objects are.
    pub(super) object_store: String,
    /// Where the private Postgres keeps its data; absent where another Postgres is used.
    pub(super) database_dir: Option<PathBuf>,
    /// The boot that the processes are of.
    pub(super) boot_id: String,
    /// What has been started and runs.
    pub(super) processes: Vec<Process>,
}

/// An inference node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) http: String,
    pub(super) grpc: String,
}

/// A worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Worker {
    pub(super) name: String,
    /// New with every start of the worker.
    pub(super) worker_id: String,
}

impl Record {
    /// Reads one. What does not parse is of another version, and tells nothing.
    pub(super) fn read(path: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    }

    /// Enters where a service is, as it announced it: workers by id, nodes by two addresses, the others by one.
    fn enter(&mut self, name: &str, announcement: &Announcement) {
        let of = |member| announcement.get(member).and_then(Value::as_str).map(str::to_owned);
        match (of("worker_id"), of("http"), of("grpc")) {
            (Some(worker_id), ..) => {
                self.workers.retain(|worker| worker.name != name);
                self.workers.push(Worker { name: name.to_owned(), worker_id });
            }
            (None, Some(http), Some(grpc)) => {
                self.nodes.retain(|node| node.name != name);
                self.nodes.push(Node { name: name.to_owned(), http, grpc });
            }
            (None, Some(http), None) => self.dashboard = http,
            (None, None, Some(grpc)) => self.coordinator = grpc,
            (None, None, None) => {}
        }
        self.workers.sort_by(|a, b| a.name.cmp(&b.name));
        self.nodes.sort_by(|a, b| a.name.cmp(&b.name));
    }
}

/// The record in memory and on disk. Clones are the same record.
#[derive(Debug, Clone)]
pub(super) struct Registry {
    path: PathBuf,
    record: Arc<Mutex<Record>>,
}

impl Registry {
    /// Begins a record.
    pub(super) fn new(path: PathBuf, record: Record) -> Self {
        let record = Record { pid: std::process::id(), boot_id: boot_id(), ..record };
        Self { path, record: Arc::new(Mutex::new(record)) }
    }

    /// As it is now.
    pub(super) fn record(&self) -> Record {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes it, in memory and on disk.
    pub(super) fn edit(&self, change: impl FnOnce(&mut Record)) {
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut record);
        if let Err(error) = write(&self.path, &record) {
            tracing::warn!(%error, path = %self.path.display(), "what runs could not be written down");
        }
    }

    /// A service runs.
    pub(super) fn started(&self, name: &str, pid: u32) {
        self.edit(|record| record.processes.extend(Process::of(name, pid)));
    }

    /// A service is ready, and said where.
    pub(super) fn announced(&self, name: &str, announcement: &Announcement) {
        self.edit(|record| record.enter(name, announcement));
    }

    /// A service has ended.
    pub(super) fn ended(&self, name: &str) {
        self.edit(|record| record.processes.retain(|process| process.name != name));
    }

    /// Nothing runs any more.
    pub(super) fn remove(&self) {
        // It is not there where nothing was ever started.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Readers see the old content or the new one.
fn write(path: &Path, record: &Record) -> std::io::Result<()> {
    let unfinished = path.with_extension("json.new");
    std::fs::write(&unfinished, serde_json::to_vec_pretty(record)?)?;
    std::fs::rename(&unfinished, path)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_runs_is_on_disk_as_it_is_in_memory() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("up.json");
        let registry = Registry::new(path.clone(), Record { object_store: "/o".into(), ..Record::default() });
        registry.started("self", std::process::id());
        let read = Record::read(&path).unwrap();
        assert_eq!(read.processes, registry.record().processes);
        assert_eq!((read.pid, read.object_store.as_str(), read.ready), (std::process::id(), "/o", false));
        registry.ended("self");
        assert!(Record::read(&path).unwrap().processes.is_empty());
        registry.remove();
        assert!(Record::read(&path).is_none());
    }

    #[test]
    fn a_record_that_is_none_tells_nothing() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("up.json"), "{\"ready\":").unwrap();
        assert!(Record::read(&folder.path().join("up.json")).is_none());
    }

    #[test]
    fn every_service_is_entered_where_programs_look_for_it() {
        let mut record = Record::default();
        for (name, announcement) in [
            ("postgres", json!({})),
            ("coordinator", json!({"grpc": "http://c"})),
            ("node-2", json!({"http": "http://n2", "grpc": "http://g2"})),
            ("node-1", json!({"http": "http://n", "grpc": "http://g"})),
            ("worker-1", json!({"worker_id": "first"})),
            ("dashboard", json!({"http": "http://d"})),
            ("worker-1", json!({"worker_id": "second"})),
        ] {
            record.enter(name, announcement.as_object().unwrap());
        }
        let workers: Vec<_> = record.workers.iter().map(|worker| worker.worker_id.as_str()).collect();
        let nodes: Vec<_> = record.nodes.iter().map(|node| (node.name.as_str(), node.grpc.as_str())).collect();
        assert_eq!(workers, ["second"], "the last start counts");
        assert_eq!(nodes, [("node-1", "http://g"), ("node-2", "http://g2")]);
        assert_eq!((record.coordinator.as_str(), record.dashboard.as_str()), ("http://c", "http://d"));
    }
}
