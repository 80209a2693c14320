//! Real servers.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use sqlx::{Connection as _, Executor as _, PgConnection, Row as _};
use tempfile::TempDir;
use ursa_postgres::{Cluster, Options, PostgresError, Server};

const PATIENCE: Duration = Duration::from_secs(30);

fn folder(mode: u32) -> TempDir {
    tempfile::Builder::new().prefix("ursa-pg-").permissions(Permissions::from_mode(mode)).tempdir_in("/tmp").unwrap()
}

fn prepare(folder: &Path) -> Result<Cluster, PostgresError> {
    Cluster::prepare(folder, Options { durable: false, ..Options::default() })
}

async fn connect(cluster: &Cluster) -> PgConnection {
    PgConnection::connect(&cluster.url()).await.unwrap()
}

async fn remember(cluster: &Cluster) {
    let mut connection = connect(cluster).await;
    connection.execute("create table remembered as select 42 as answer").await.unwrap();
}

async fn remembered(cluster: &Cluster) -> i32 {
    connect(cluster).await.fetch_one("select answer from remembered").await.unwrap().get(0)
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A server whose parent has been killed before the kernel could tell it.
fn abandoned(cluster: &mut Cluster) -> Child {
    let child = cluster.command().unwrap().spawn().unwrap();
    wait_until("the server to be ready", || cluster.is_ready(child.id()));
    child
}

#[tokio::test]
async fn data_survive_a_stop_and_a_crash() {
    let folder = folder(0o711);
    let mut cluster = prepare(&folder.path().join("postgres")).unwrap();
    let mut server = Server::start(&mut cluster).unwrap();
    remember(&cluster).await;
    server.crash().unwrap();
    assert_eq!(server.pid(), None);
    let mut server = Server::start(&mut cluster).unwrap();
    assert_eq!(remembered(&cluster).await, 42);
    server.stop().unwrap();
    let mut cluster = prepare(&folder.path().join("postgres")).unwrap();
    let _server = Server::start(&mut cluster).unwrap();
    assert_eq!(remembered(&cluster).await, 42);
}

#[tokio::test]
async fn a_server_left_over_is_stopped_before_the_next_start() {
    let folder = folder(0o711);
    let mut cluster = prepare(&folder.path().join("postgres")).unwrap();
    let mut old = abandoned(&mut cluster);
    remember(&cluster).await;
    let reaper = std::thread::spawn(move || old.wait().unwrap());
    let mut next = prepare(&folder.path().join("postgres")).unwrap();
    let _server = Server::start(&mut next).unwrap();
    assert_eq!(remembered(&next).await, 42);
    assert!(reaper.join().unwrap().success(), "it was stopped in order");
}

#[tokio::test]
async fn a_postmaster_that_was_killed_leaves_nothing_in_the_way() {
    let folder = folder(0o711);
    let mut cluster = prepare(&folder.path().join("postgres")).unwrap();
    let mut old = abandoned(&mut cluster);
    remember(&cluster).await;
    // Its children, its pid file, its socket and its locks stay behind.
    kill(Pid::from_raw(old.id().cast_signed()), Signal::SIGKILL).unwrap();
    old.wait().unwrap();
    let _server = Server::start(&mut cluster).unwrap();
    assert_eq!(remembered(&cluster).await, 42);
}

#[tokio::test]
async fn lock_files_that_name_a_stranger_are_no_obstacle() {
    let folder = folder(0o711);
    let mut cluster = prepare(&folder.path().join("postgres")).unwrap();
    Server::start(&mut cluster).unwrap().stop().unwrap();
    let mut stranger = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
    let line = format!("{}\n", stranger.id());
    std::fs::write(folder.path().join("postgres/data/postmaster.pid"), &line).unwrap();
    std::fs::write(folder.path().join("postgres/socket/.s.PGSQL.5432.lock"), &line).unwrap();
    let started = Server::start(&mut cluster).map(drop);
    let is_alive = stranger.try_wait().unwrap().is_none();
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    started.unwrap();
    assert!(is_alive, "the stranger was left alone");
}

#[tokio::test]
async fn an_interrupted_initdb_is_begun_anew() {
    let folder = folder(0o711);
    let place = folder.path().join("postgres");
    std::fs::create_dir_all(place.join("data.new-1/base")).unwrap();
    std::fs::write(place.join("data.new-1/PG_VERSION"), "15\n").unwrap();
    if geteuid().is_root() {
        let owned = Command::new("chown").args(["-R", "postgres:"]).arg(&place).status().unwrap();
        assert!(owned.success());
    }
    let mut cluster = prepare(&place).unwrap();
    Server::start(&mut cluster).unwrap();
    assert!(!place.join("data.new-1").exists());
}

#[tokio::test]
async fn data_of_another_version_are_refused_with_both_named() {
    let folder = folder(0o711);
    let place = folder.path().join("postgres");
    prepare(&place).unwrap();
    std::fs::write(place.join("data/PG_VERSION"), "9\n").unwrap();
    let refused = prepare(&place).unwrap_err().to_string();
    assert!(refused.contains("are of PostgreSQL 9, but installed is 1"), "{refused}");
}

#[tokio::test]
async fn a_server_that_cannot_start_says_what_it_logged() {
    let folder = folder(0o711);
    let mut cluster = prepare(&folder.path().join("postgres")).unwrap();
    std::fs::write(folder.path().join("postgres/data/postgresql.conf"), "no_such_setting = 1\n").unwrap();
    let refused = Server::start(&mut cluster).unwrap_err().to_string();
    assert!(refused.contains("no_such_setting") && refused.contains("postgres.log"), "{refused}");
}

#[tokio::test]
async fn a_folder_with_a_long_and_strange_name_works() {
    let folder = folder(0o711);
    let place = folder.path().join("a b, \u{fc}&?").join("deep/".repeat(30)).join("postgres");
    let mut cluster = prepare(&place).unwrap();
    let server = Server::start(&mut cluster).unwrap();
    remember(&cluster).await;
    assert_eq!(remembered(&cluster).await, 42);
    drop(server);
    let socket = cluster.url().split("host=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    assert!(socket.contains("/ursa-"), "{socket}");
    std::fs::remove_dir_all(socket).unwrap();
}

#[tokio::test]
async fn root_may_keep_its_data_where_nobody_else_may_go() {
    let closed = folder(0o700);
    let place = closed.path().join("data/postgres");
    let mut cluster = prepare(&place).unwrap();
    let server = Server::start(&mut cluster).unwrap();
    remember(&cluster).await;
    drop(server);
    let mut cluster = prepare(&place).unwrap();
    let server = Server::start(&mut cluster).unwrap();
    assert_eq!(remembered(&cluster).await, 42, "the place is found again");
    drop(server);
    let real = place.canonicalize().unwrap();
    if geteuid().is_root() {
        assert_eq!(real.parent(), Some(PathBuf::from("/var/lib/ursa").as_path()));
        std::fs::remove_dir_all(real).unwrap();
    }
}
