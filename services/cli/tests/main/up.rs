//! `ursa up`, with the real services. They must have been built: `cargo build --workspace --bins`.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use ursa_client::Client;
use ursa_cluster::logs::{Expected, Level, alarms};
use ursa_proto::v1;

use crate::text;

const PATIENCE: Duration = Duration::from_mins(2);

/// What services may log when others are killed under them.
const OTHERS_DIED: [Expected; 7] = [
    warning(&["session: waiting for the coordinator"], "it was killed"),
    warning(&["waiting for Postgres"], "it was killed, and was not back when the coordinator was"),
    warning(&["waiting for the database"], "Postgres was killed"),
    warning(&["log lines stay in the database for now"], "Postgres was killed"),
    warning(&["sqlx::postgres::notice", "terminating connection"], "Postgres was killed"),
    warning(&["sqlx_core::pool::connection", "on-release"], "its connections broke"),
    warning(&["sqlx::pool::acquire", "exceeded slow threshold"], "Postgres was away"),
];

const fn warning(pieces: &'static [&'static str], reason: &'static str) -> Expected {
    Expected { level: Level::Warn, pieces, reason }
}

/// No service has logged anything that somebody should look at, besides what is `expected`.
fn nothing_alarming(data: &Path, expected: &[Expected]) {
    let alarms = alarms(&data.join("data/logs"), expected).unwrap();
    assert!(alarms.is_empty(), "{}", alarms.join("\n"));
}

/// A folder that the server's user can walk through.
fn data() -> TempDir {
    let walkable = Permissions::from_mode(0o711);
    tempfile::Builder::new().prefix("ursa-up-").permissions(walkable).tempdir_in("/tmp").unwrap()
}

/// A running `ursa up`.
struct Up {
    data: PathBuf,
    process: Child,
    /// What it printed when it was ready.
    ready: Value,
}

fn command(data: &Path, flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ursa"));
    command.args(["up", "--port", "0", "--dashboard-port", "0", "--output", "json"]);
    command.arg("--data-dir").arg(data.join("data")).args(flags);
    if !flags.contains(&"--workers") {
        command.args(["--workers", "0"]);
    }
    for variable in ["DATABASE_URL", "URSA_OBJECT_STORE", "URSA_ALLOW_NETWORK"] {
        command.env_remove(variable);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

impl Up {
    async fn start(data: &Path, flags: &[&str]) -> Self {
        let mut process = command(data, flags).spawn().unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        tokio::time::timeout(PATIENCE, stdout.read_line(&mut line)).await.expect("it must become ready").unwrap();
        assert!(!line.is_empty(), "it ended: {}", text(&process.wait_with_output().await.unwrap().stderr));
        Self { data: data.to_owned(), process, ready: serde_json::from_str(&line).unwrap() }
    }

    fn pid(&self) -> i32 {
        self.process.id().unwrap().cast_signed()
    }

    fn coordinator(&self) -> Client {
        Client::new(self.ready["coordinator"].as_str().unwrap()).unwrap()
    }

    /// Ctrl-C, and what was said until the end; no service logged anything alarming but what is `expected`.
    async fn stop(self, expected: &[Expected]) -> Output {
        signal(self.pid(), "INT");
        let ending = tokio::time::timeout(PATIENCE, self.process.wait_with_output());
        let ended = ending.await.expect("it must stop").unwrap();
        nothing_alarming(&self.data, expected);
        ended
    }
}

fn signal(pid: i32, name: &str) {
    let sent = std::process::Command::new("kill").args([format!("-{name}"), pid.to_string()]).status().unwrap();
    assert!(sent.success(), "process {pid} is there");
}

fn record(data: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(data.join("data/up.json")).unwrap()).unwrap()
}

fn pid_of(record: &Value, name: &str) -> i32 {
    let processes = record["processes"].as_array().unwrap();
    let process = processes.iter().find(|process| process["name"] == name).unwrap();
    process["pid"].as_i64().unwrap() as i32
}

fn worker_id(record: &Value) -> &str {
    record["workers"][0]["worker_id"].as_str().unwrap()
}

fn all_pids(record: &Value) -> Vec<i32> {
    record["processes"].as_array().unwrap().iter().map(|process| process["pid"].as_i64().unwrap() as i32).collect()
}

fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begin = Instant::now();
    while !holds().await {
        assert!(begin.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Reads until something is said, and returns everything up to it.
async fn said(stderr: &mut ChildStderr, words: &str) -> String {
    let mut seen = Vec::new();
    let read = async {
        while !text(&seen).contains(words) {
            let mut chunk = [0; 4096];
            let length = stderr.read(&mut chunk).await.unwrap();
            assert!(length > 0, "it ended without saying {words:?}: {}", text(&seen));
            seen.extend(&chunk[..length]);
        }
    };
    let outcome = tokio::time::timeout(PATIENCE, read).await;
    assert!(outcome.is_ok(), "waited {PATIENCE:?} for {words:?}; it said: {}", text(&seen));
    text(&seen)
}

async fn submit(client: &Client) -> String {
    let urls =
        v1::ClassUrls { name: "teddy".into(), list_name: "t".into(), urls: vec!["http://web.test/1.jpg".into()] };
    let scrape = v1::ScrapeSpec { dataset: "bears".into(), classes: vec![urls], ..v1::ScrapeSpec::default() };
    let spec = Some(v1::job_definition::Spec::Scrape(scrape));
    let job = v1::JobDefinition { name: "scrape".into(), max_attempts: 1, spec, ..Default::default() };
    let pipeline = Some(v1::PipelineSpec { name: "bears".into(), jobs: vec![job], ..Default::default() });
    let request = v1::SubmitPipelineRequest { pipeline, idempotency_key: String::new() };
    client.jobs().submit_pipeline(request).await.unwrap().into_inner().pipeline.unwrap().id
}

async fn has_pipeline(client: &Client, id: &str) -> bool {
    client.jobs().get_pipeline(v1::GetPipelineRequest { id: id.into() }).await.is_ok()
}

#[tokio::test]
async fn everything_starts_in_order_and_nothing_is_left_after_the_stop() {
    let data = data();
    let up = Up::start(data.path(), &["--workers", "1"]).await;
    assert_eq!(up.ready["ready"], true);
    assert_eq!(up.ready, record(data.path()), "programs read the same from the file");
    let started: Vec<_> = up.ready["processes"].as_array().unwrap().iter().map(|p| p["name"].clone()).collect();
    assert_eq!(started, ["postgres", "coordinator", "worker-1", "node-1", "node-2", "dashboard"]);
    assert_eq!(up.ready["nodes"].as_array().unwrap().len(), 2);
    let nodes = up.coordinator().nodes().list_nodes(v1::ListNodesRequest::default()).await.unwrap().into_inner().nodes;
    let online: Vec<_> = nodes.iter().map(|node| (node.name.as_str(), node.state.as_str())).collect();
    assert_eq!(online, [("node-1", "online"), ("node-2", "online")]);
    let workers =
        up.coordinator().workers().list_workers(v1::ListWorkersRequest::default()).await.unwrap().into_inner().workers;
    assert_eq!((workers[0].id.as_str(), workers[0].state.as_str()), (worker_id(&up.ready), "online"));
    let pids = all_pids(&up.ready);
    assert!(pids.iter().copied().all(is_alive));

    let ended = up.stop(&[]).await;
    assert!(ended.status.success(), "{}", text(&ended.stderr));
    assert!(!pids.iter().copied().any(is_alive), "nothing is left running");
    assert!(!data.path().join("data/up.json").exists());
}

#[tokio::test]
async fn a_data_folder_is_had_by_one_at_a_time() {
    let data = data();
    let up = Up::start(data.path(), &["--nodes", "0"]).await;
    let second = command(data.path(), &[]).output().await.unwrap();
    assert_eq!(second.status.code(), Some(1));
    let complaint = text(&second.stderr);
    assert!(complaint.contains(&format!("another `ursa up` (process {})", up.pid())), "{complaint}");
    assert!(up.coordinator().jobs().list_jobs(v1::ListJobsRequest::default()).await.is_ok(), "the first is unharmed");
    up.stop(&[]).await;
}

#[tokio::test]
async fn after_a_kill_the_next_start_works_and_keeps_the_data() {
    let data = data();
    let mut up = Up::start(data.path(), &["--nodes", "1"]).await;
    let pipeline = submit(&up.coordinator()).await;
    let pids = all_pids(&up.ready);
    signal(up.pid(), "KILL");
    up.process.wait().await.unwrap();

    let next = Up::start(data.path(), &["--nodes", "1"]).await;
    assert!(!pids.iter().copied().any(is_alive), "nothing of the first is left");
    assert!(has_pipeline(&next.coordinator(), &pipeline).await);
    next.stop(&OTHERS_DIED).await;
}

#[tokio::test]
async fn a_kill_in_the_middle_of_the_first_start_is_no_obstacle() {
    let data = data();
    let mut first = command(data.path(), &["--nodes", "0"]).spawn().unwrap();
    said(first.stderr.as_mut().unwrap(), "starting Postgres").await;
    let place = data.path().join("data/postgres");
    until("initdb to be at work", async || {
        let entries = std::fs::read_dir(&place).into_iter().flatten().flatten();
        entries.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with("data"))
    })
    .await;
    first.kill().await.unwrap();
    Up::start(data.path(), &["--nodes", "0"]).await.stop(&[]).await;
}

#[tokio::test]
async fn a_node_that_is_killed_comes_back_at_the_same_address() {
    let data = data();
    let mut up = Up::start(data.path(), &["--nodes", "1"]).await;
    let node = pid_of(&up.ready, "node-1");
    signal(node, "KILL");
    let complaint = said(up.process.stderr.as_mut().unwrap(), "starting node-1 again").await;
    assert!(complaint.contains("node-1 ended unexpectedly: SIGKILL"), "{complaint}");
    let address = up.ready["nodes"][0]["http"].as_str().unwrap().to_owned();
    let door = address.trim_start_matches("http://");
    until("the node to answer again", async || tokio::net::TcpStream::connect(door).await.is_ok()).await;
    assert_ne!(pid_of(&record(data.path()), "node-1"), node, "programs are told");
    up.stop(&[]).await;
}

#[tokio::test]
async fn a_coordinator_and_a_postgres_that_are_killed_come_back_with_the_data() {
    let data = data();
    let mut up = Up::start(data.path(), &["--nodes", "0"]).await;
    let pipeline = submit(&up.coordinator()).await;
    signal(pid_of(&up.ready, "postgres"), "KILL");
    said(up.process.stderr.as_mut().unwrap(), "starting postgres again").await;
    signal(pid_of(&up.ready, "coordinator"), "KILL");
    said(up.process.stderr.as_mut().unwrap(), "starting coordinator again").await;
    let client = up.coordinator();
    until("the pipeline to be found", async || has_pipeline(&client, &pipeline).await).await;
    up.stop(&OTHERS_DIED).await;
}

#[tokio::test]
async fn a_database_that_is_not_there_is_waited_for_and_said() {
    let data = data();
    let url = "postgres://ursa:secret@127.0.0.1:1/ursa";
    let mut process = command(data.path(), &["--database-url", url]).spawn().unwrap();
    let seen = said(process.stderr.as_mut().unwrap(), "still waiting for coordinator").await
        + &said(process.stderr.as_mut().unwrap(), "waiting for Postgres").await;
    assert!(!seen.contains("secret"), "{seen}");
    signal(process.id().unwrap().cast_signed(), "TERM");
    let ended = tokio::time::timeout(PATIENCE, process.wait_with_output()).await.unwrap().unwrap();
    assert!(ended.status.success(), "{}", text(&ended.stderr));
    nothing_alarming(data.path(), &[warning(&["waiting for Postgres"], "there is none")]);
}

#[tokio::test]
async fn what_can_never_work_ends_it_with_the_reason() {
    let data = data();
    let ended = command(data.path(), &["--database-url", "nonsense"]).output().await.unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let complaint = text(&ended.stderr);
    assert!(complaint.contains("error: coordinator: ended before it was ready: exit code 1"), "{complaint}");
    assert!(complaint.contains("the database URL does not parse"), "{complaint}");
    assert!(!data.path().join("data/up.json").exists());
    let no_url = warning(&["the database URL does not parse"], "it does not");
    nothing_alarming(data.path(), &[Expected { level: Level::Error, ..no_url }]);

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let ended = Command::new(env!("CARGO_BIN_EXE_ursa"))
        .args(["up", "--workers", "0", "--port", &port, "--data-dir"])
        .arg(data.path().join("data"))
        .output()
        .await
        .unwrap();
    let complaint = text(&ended.stderr);
    assert!(complaint.contains(&format!("port {port} is taken; choose another one with --port")), "{complaint}");
}
