//! `ursa jobs logs`, and following what a job logs.

use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use ursa_client::Client;
use ursa_cluster::{Coordinator, Postgres, Worker};
use ursa_proto::v1;

use crate::fake::{Fake, Script};
use crate::{text, ursa};

const PATIENCE: Duration = Duration::from_secs(30);
/// Nothing here is about leases.
const FLAGS: [&str; 1] = ["--lease=5m"];

/// A job in the hands of a worker.
struct Chatty {
    job: String,
    worker: Worker,
    lease: v1::Lease,
}

impl Chatty {
    async fn start(client: &Client) -> Self {
        let probe = v1::ProbeSpec { tasks: 1, ..v1::ProbeSpec::default() };
        let spec = Some(v1::job_definition::Spec::Probe(probe));
        let jobs = vec![v1::JobDefinition { name: "probe".into(), spec, ..v1::JobDefinition::default() }];
        let pipeline = Some(v1::PipelineSpec { name: "chatty".into(), jobs, ..v1::PipelineSpec::default() });
        let request = v1::SubmitPipelineRequest { pipeline, idempotency_key: String::new() };
        let pipeline = client.jobs().submit_pipeline(request).await.unwrap().into_inner().pipeline.unwrap();
        let mut worker = Worker::attach(client, "chatty", 1).await.unwrap();
        let lease = worker.next_task().await.unwrap().lease.unwrap();
        Self { job: pipeline.jobs[0].id.clone(), worker, lease }
    }

    async fn say(&self, sequence: u64, message: &str) {
        let lines = vec![v1::LogLine { level: "info".into(), message: message.into(), ..v1::LogLine::default() }];
        let request = v1::AppendLogsRequest { lease: Some(self.lease.clone()), lines, sequence };
        self.worker.client.workers().append_logs(request).await.unwrap();
    }

    async fn end(&mut self) {
        let answered = v1::complete_task_request::Result::Probe(v1::ProbeResult {});
        self.worker.complete(&self.lease, answered).await.unwrap();
    }
}

/// A running `ursa jobs logs --follow`.
struct Follower {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Follower {
    fn of(job: &str, coordinator: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ursa"));
        command.args(["jobs", "logs", "-f", job]).env("URSA_COORDINATOR", coordinator);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines }
    }

    /// The next line it prints; `None` at the end.
    async fn line(&mut self) -> Option<String> {
        tokio::time::timeout(PATIENCE, self.lines.next_line()).await.expect("a line, or the end").unwrap()
    }

    /// Reads no more of what it prints.
    fn leave(self) -> Child {
        self.process
    }
}

async fn ended(process: Child) -> Output {
    tokio::time::timeout(PATIENCE, process.wait_with_output()).await.expect("it must end").unwrap()
}

/// A line as it is printed.
fn printed(message: &str) -> String {
    format!("info  {message}")
}

#[tokio::test]
async fn a_log_is_followed_through_a_restart_until_the_job_has_ended() {
    let postgres = Postgres::start().unwrap();
    let mut coordinator = Coordinator::start_with(&postgres.url(), &FLAGS).await.unwrap();
    let mut chatty = Chatty::start(&coordinator.client).await;
    chatty.say(1, "before").await;
    let mut follower = Follower::of(&chatty.job, coordinator.client.address());
    assert_eq!(follower.line().await.unwrap(), printed("before"));
    chatty.say(2, "meanwhile").await;
    assert_eq!(follower.line().await.unwrap(), printed("meanwhile"));

    coordinator.crash().await;
    coordinator.resume().await.unwrap();
    chatty.worker = Worker::attach_with(&coordinator.client, chatty.worker.report.clone()).await.unwrap();
    chatty.say(3, "after").await;
    assert_eq!(follower.line().await.unwrap(), printed("after"));
    chatty.say(4, "at last").await;
    chatty.end().await;
    assert_eq!(follower.line().await.unwrap(), printed("at last"));
    assert_eq!(follower.line().await, None, "the job has ended");
    let ended = ended(follower.leave()).await;
    assert!(ended.status.success(), "{}", text(&ended.stderr));

    let whole = ursa(coordinator.client.address(), &["jobs", "logs", "--follow", &chatty.job]).await;
    assert!(whole.status.success(), "{}", text(&whole.stderr));
    assert_eq!(text(&whole.stdout), "info  before\ninfo  meanwhile\ninfo  after\ninfo  at last\n");
}

#[tokio::test]
async fn a_follower_ends_when_nobody_reads_it_any_more() {
    let postgres = Postgres::start().unwrap();
    let coordinator = Coordinator::start_with(&postgres.url(), &FLAGS).await.unwrap();
    let chatty = Chatty::start(&coordinator.client).await;
    chatty.say(1, "one").await;
    let mut follower = Follower::of(&chatty.job, coordinator.client.address());
    assert_eq!(follower.line().await.unwrap(), printed("one"));
    let process = follower.leave();
    chatty.say(2, "two").await;
    let ended = ended(process).await;
    assert!(ended.status.success(), "{}", text(&ended.stderr));
}

#[tokio::test]
async fn a_coordinator_that_is_away_is_asked_again_from_where_it_broke() {
    let line =
        |id, message: &str| v1::LogLine { id, level: "warn".into(), message: message.into(), ..Default::default() };
    let (address, fake) = Fake::start(Script { logs: vec![line(3, "one"), line(7, "two")], ..Script::default() }).await;
    let followed = ursa(&address, &["jobs", "logs", "-f", "j1"]).await;
    assert!(followed.status.success(), "{}", text(&followed.stderr));
    assert_eq!(text(&followed.stdout), "warn  one\nwarn  two\n");
    assert!(text(&followed.stderr).contains("lost the coordinator"), "{}", text(&followed.stderr));
    let asked = ["logs after 0", "logs after 3", "logs after 3", "logs after 7", "logs after 7"];
    assert_eq!(fake.asked(), asked);

    let (address, fake) = Fake::start(Script { logs: vec![line(3, "one"), line(7, "two")], ..Script::default() }).await;
    let printed = ursa(&address, &["jobs", "logs", "j1"]).await;
    assert_eq!((printed.status.code(), text(&printed.stdout).as_str()), (Some(1), "warn  one\n"));
    assert_eq!(fake.asked(), asked[..2]);
}
