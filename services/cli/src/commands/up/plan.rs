//! What is to run, with which arguments: values only, made without looking at the machine.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::programs::Programs;

/// What a service says when it is ready: for instance its addresses.
pub(super) type Announcement = Map<String, Value>;

/// Everything that decides what is started.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) programs: Programs,
    pub(super) object_store: String,
    /// Absent for a private Postgres.
    pub(super) database_url: Option<String>,
    pub(super) coordinator_port: u16,
    pub(super) dashboard_port: u16,
    pub(super) nodes: u16,
    pub(super) workers: u16,
    pub(super) cache: PathBuf,
    pub(super) allow_networks: Vec<String>,
}

/// One service to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServiceSpec {
    /// For people, and for the log's file name.
    pub(super) name: String,
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    /// What must not stand in the process list.
    pub(super) secrets: Vec<(&'static str, String)>,
    pub(super) doors: Vec<Door>,
}

/// An address a service answers on: the flag that sets it, and the member of the announcement that tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Door {
    flag: &'static str,
    member: &'static str,
    port: u16,
}

impl Plan {
    /// The coordinator, which everything else needs.
    pub(super) fn coordinator(&self, database_url: &str) -> ServiceSpec {
        let mut arguments = words(&["--object-store", &self.object_store]);
        arguments.extend(self.allowances());
        ServiceSpec {
            name: "coordinator".to_owned(),
            program: self.programs.coordinator.clone(),
            arguments,
            // It holds a password, as a rule.
            secrets: vec![("DATABASE_URL", database_url.to_owned())],
            doors: vec![Door { flag: "--listen", member: "grpc", port: self.coordinator_port }],
        }
    }

    /// Everything that talks to the coordinator, in the order of starting.
    pub(super) fn peers(&self, coordinator: &str) -> Vec<ServiceSpec> {
        let workers = numbered(self.workers).filter_map(|number| self.worker(number, coordinator));
        let nodes = numbered(self.nodes).map(|number| self.node(number, coordinator));
        workers.chain(nodes).chain([self.dashboard(coordinator)]).collect()
    }

    fn worker(&self, number: u16, coordinator: &str) -> Option<ServiceSpec> {
        let name = format!("worker-{number}");
        let mut arguments = self.common(&name, coordinator);
        arguments.extend(words(&["--cache-dir", &self.cache.join(&name).display().to_string()]));
        Some(ServiceSpec {
            name,
            program: self.programs.worker.clone()?,
            arguments,
            secrets: Vec::new(),
            doors: Vec::new(),
        })
    }

    fn node(&self, number: u16, coordinator: &str) -> ServiceSpec {
        let name = format!("node-{number}");
        let arguments = self.common(&name, coordinator);
        let door = |flag, member| Door { flag, member, port: 0 };
        let doors = vec![door("--http", "http"), door("--grpc", "grpc")];
        ServiceSpec { name, program: self.programs.inference.clone(), arguments, secrets: Vec::new(), doors }
    }

    fn dashboard(&self, coordinator: &str) -> ServiceSpec {
        ServiceSpec {
            name: "dashboard".to_owned(),
            program: self.programs.dashboard.clone(),
            arguments: words(&["--coordinator", coordinator]),
            secrets: Vec::new(),
            doors: vec![Door { flag: "--listen", member: "http", port: self.dashboard_port }],
        }
    }

    /// What workers and nodes both take.
    fn common(&self, name: &str, coordinator: &str) -> Vec<String> {
        let mut arguments =
            words(&["--coordinator", coordinator, "--object-store", &self.object_store, "--name", name]);
        arguments.extend(self.allowances());
        arguments
    }

    /// What everybody takes who fetches from addresses, or sends to them, that users name.
    fn allowances(&self) -> impl Iterator<Item = String> {
        self.allow_networks.iter().flat_map(|network| words(&["--allow-network", network]))
    }
}

impl ServiceSpec {
    /// All arguments, the addresses included.
    pub(super) fn command_line(&self) -> Vec<String> {
        let doors = self.doors.iter().flat_map(|door| [door.flag.to_owned(), format!("127.0.0.1:{}", door.port)]);
        self.arguments.iter().cloned().chain(doors).collect()
    }

    /// Takes the ports that were announced for good: others have been told where this service is.
    pub(super) fn keep_ports(&mut self, announcement: &Announcement) {
        for door in &mut self.doors {
            let address = announcement.get(door.member).and_then(Value::as_str);
            if let Some(port) = address.and_then(|address| address.rsplit(':').next()?.parse().ok()) {
                door.port = port;
            }
        }
    }

    /// Where it logs.
    pub(super) fn log_in(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.log", self.name))
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// From 1, as people count.
fn numbered(count: u16) -> impl Iterator<Item = u16> {
    1..=count
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plan() -> Plan {
        let programs = Programs {
            coordinator: "/bin/ursa-coordinator".into(),
            inference: "/bin/ursa-inference".into(),
            dashboard: "/bin/ursa-dashboard".into(),
            worker: Some("/bin/ursa-worker".into()),
        };
        Plan {
            programs,
            object_store: "/data/objects".into(),
            database_url: None,
            coordinator_port: 7400,
            dashboard_port: 7480,
            nodes: 2,
            workers: 1,
            cache: "/data/cache".into(),
            allow_networks: vec!["127.0.0.1/32:80".into()],
        }
    }

    fn announcement(value: Value) -> Announcement {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn the_database_is_named_where_other_users_cannot_read_it() {
        let spec = plan().coordinator("postgres://u:secret@h/d");
        assert_eq!(
            spec.command_line().join(" "),
            "--object-store /data/objects --allow-network 127.0.0.1/32:80 --listen 127.0.0.1:7400"
        );
        assert_eq!(spec.secrets, [("DATABASE_URL", "postgres://u:secret@h/d".to_owned())]);
    }

    #[test]
    fn peers_come_in_the_order_of_starting() {
        let names: Vec<_> = plan().peers("http://c").into_iter().map(|spec| spec.name).collect();
        assert_eq!(names, ["worker-1", "node-1", "node-2", "dashboard"]);
        let small = Plan { nodes: 0, workers: 0, ..plan() };
        let names: Vec<_> = small.peers("http://c").into_iter().map(|spec| spec.name).collect();
        assert_eq!(names, ["dashboard"]);
    }

    #[test]
    fn peers_are_told_everything_they_need() {
        let lines: Vec<_> = plan().peers("http://c").iter().map(|spec| spec.command_line().join(" ")).collect();
        let common = "--coordinator http://c --object-store /data/objects --name";
        assert_eq!(
            lines,
            [
                format!("{common} worker-1 --allow-network 127.0.0.1/32:80 --cache-dir /data/cache/worker-1"),
                format!("{common} node-1 --allow-network 127.0.0.1/32:80 --http 127.0.0.1:0 --grpc 127.0.0.1:0"),
                format!("{common} node-2 --allow-network 127.0.0.1/32:80 --http 127.0.0.1:0 --grpc 127.0.0.1:0"),
                "--coordinator http://c --listen 127.0.0.1:7480".to_owned(),
            ]
        );
    }

    #[test]
    fn a_restart_takes_the_ports_that_were_announced() {
        let mut spec = plan().node(1, "http://c");
        spec.keep_ports(&announcement(json!({"http": "http://127.0.0.1:4001", "grpc": "http://127.0.0.1:4002"})));
        assert!(spec.command_line().join(" ").ends_with("--http 127.0.0.1:4001 --grpc 127.0.0.1:4002"));
        spec.keep_ports(&announcement(json!({"http": "nonsense"})));
        assert!(spec.command_line().join(" ").ends_with("--http 127.0.0.1:4001 --grpc 127.0.0.1:4002"));
    }
}
