//! Does faults to the stage, and proves that they were done.
//!
//! A fault that would hit nobody waits until it hits somebody: connections that are not there cannot be cut.

use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use nix::sys::signal::Signal;
use sqlx::{Connection as _, Executor as _, PgConnection};
use tokio::time::{Instant, timeout};
use ursa_cluster::proxy::{Counts, Manner, Proxy};
use ursa_system::Process;
use ursa_system::logs::lines;
use uuid::Uuid;

use crate::fault::{Fault, Kind, Target};
use crate::history::Reader;
use crate::processes::{arguments, children, freeze, gone, signal, state, thaw};
use crate::stage::{Seat, Stage};

const TRAINER: &str = "ursa-trainer";
/// Each piece of at most 32 KiB takes so much longer to the object store and back.
const SLOW: Duration = Duration::from_millis(120);
/// Every commit takes so much longer; the longest that Postgres can be told, in microseconds.
const COMMIT_DELAY: Duration = Duration::from_millis(100);

/// How long the database may take to say what a worker holds.
const ASKING: Duration = Duration::from_millis(500);
/// So long one looks whether a process is ready, before one looks at the other faults again.
const LOOK: Duration = Duration::from_millis(10);

/// What came of looking whether a fault can begin or end.
#[derive(Debug)]
pub enum Step<T> {
    /// It did.
    Done(T),
    /// Not now, and why.
    NotYet(&'static str),
}

/// A fault that has begun.
#[derive(Debug)]
pub struct Begun {
    /// When.
    pub at: DateTime<Utc>,
    /// The worker it hits, if it is one.
    pub worker: Option<Uuid>,
    /// What proves that it was done.
    proof: String,
    /// Processes that stand.
    frozen: Vec<u32>,
    /// What the proxy had done before.
    counts: Counts,
    /// How much had been logged before.
    logged: usize,
    /// How long a commit took before.
    commit: Duration,
    /// Attempts that had made room before.
    made_room: i64,
}

impl Begun {
    fn now(proof: String) -> Self {
        Self {
            at: Utc::now(),
            worker: None,
            proof,
            frozen: Vec::new(),
            counts: Counts::default(),
            logged: 0,
            commit: Duration::ZERO,
            made_room: 0,
        }
    }
}

/// Begins a fault.
pub async fn begin(stage: &mut Stage, fault: &Fault) -> anyhow::Result<Step<Begun>> {
    match fault.kind {
        Kind::KillWorker | Kind::FreezeWorker if !is_at_work(stage, fault.target).await? => {
            Ok(Step::NotYet("the worker holds nothing"))
        }
        Kind::KillCoordinator | Kind::KillWorker => kill(seat_mut(stage, fault.target)?).await,
        Kind::KillTrainer => kill_trainer(stage).await,
        Kind::FreezeCoordinator | Kind::PauseWorker | Kind::FreezeWorker => {
            let seat = seat(stage, fault.target)?;
            let Some(process) = seat.process() else { return Ok(Step::NotYet("nobody is there")) };
            let worker = seat.worker_id();
            Ok(Step::Done(Begun { worker, ..stand(vec![process.pid()]).await? }))
        }
        Kind::FreezePostgres => {
            let postmaster = stage.postmaster().context("Postgres does not run")?;
            let all = [postmaster].into_iter().chain(children(postmaster)).collect();
            Ok(Step::Done(stand(all).await?))
        }
        Kind::CrashPostgres | Kind::RestartPostgres => {
            let postmaster = stage.postmaster().context("Postgres does not run")?;
            stage.stop_postgres(fault.kind == Kind::RestartPostgres)?;
            gone(postmaster).await?;
            Ok(Step::Done(Begun::now(format!("postmaster {postmaster} is gone"))))
        }
        Kind::SlowDisk => slow_disk(stage).await.map(Step::Done),
        Kind::CutDatabase | Kind::CutStore | Kind::CutCoordinator => {
            Ok(hit(way(stage, fault.target)?, |way| _ = way.cut()))
        }
        Kind::RefuseDatabase | Kind::RefuseStore | Kind::RefuseCoordinator => {
            Ok(hit(way(stage, fault.target)?, |way| {
                way.behave(Manner::Refusing);
                way.cut();
            }))
        }
        Kind::SilenceDatabase | Kind::SilenceStore | Kind::SilenceCoordinator => {
            Ok(hit(way(stage, fault.target)?, |way| way.behave(Manner::Silent)))
        }
        Kind::VanishDatabase => Ok(hit(way(stage, fault.target)?, |way| _ = way.vanish())),
        Kind::SlowStore => Ok(hit(way(stage, fault.target)?, |way| way.behave(Manner::Slow(SLOW)))),
        Kind::JumpClock => {
            let seat = seat(stage, fault.target)?;
            seat.set_clock(fault.jump_seconds)?;
            let (worker, logged) = (seat.worker_id(), seat.log().len());
            Ok(Step::Done(Begun { worker, logged, ..Begun::now(String::new()) }))
        }
        Kind::Preempt => {
            let Some(made_room) = asked(stage, Reader::made_room).await else {
                return Ok(Step::NotYet("the database does not say who made room before"));
            };
            stage.urgent.notify_one();
            Ok(Step::Done(Begun { made_room, ..Begun::now(String::new()) }))
        }
    }
}

/// Ends a fault; what proves that it was done.
pub async fn end(stage: &mut Stage, fault: &Fault, begun: &Begun) -> anyhow::Result<Step<String>> {
    let proof = begun.proof.clone();
    match fault.kind {
        Kind::KillTrainer | Kind::CutDatabase | Kind::CutStore | Kind::CutCoordinator => Ok(Step::Done(proof)),
        Kind::KillCoordinator | Kind::KillWorker => replace(stage, fault.target, &proof).await,
        Kind::FreezeCoordinator | Kind::PauseWorker | Kind::FreezeWorker | Kind::FreezePostgres => {
            let standing = begun.frozen.iter().filter(|pid| state(**pid) == Some('T')).count();
            thaw(&begun.frozen);
            anyhow::ensure!(standing > 0, "{fault}: nobody stood still to the end");
            Ok(Step::Done(format!("{proof}, {standing} of them to the end")))
        }
        Kind::CrashPostgres | Kind::RestartPostgres => {
            stage.start_postgres()?;
            Ok(Step::Done(format!("{proof}, followed by {}", stage.postmaster().unwrap_or_default())))
        }
        Kind::SlowDisk => fast_disk(stage, begun).await,
        Kind::RefuseDatabase | Kind::RefuseStore | Kind::RefuseCoordinator => {
            let way = way(stage, fault.target)?;
            let taken = way.counts().taken - begun.counts.taken;
            way.behave(Manner::Honest);
            Ok(Step::Done(format!("{proof}, {taken} new ones got through")))
        }
        Kind::SilenceDatabase | Kind::SilenceStore | Kind::SilenceCoordinator => {
            let way = way(stage, fault.target)?;
            let swallowed = way.counts().swallowed_bytes - begun.counts.swallowed_bytes;
            if swallowed == 0 {
                return Ok(Step::NotYet("nothing was said into the silence yet"));
            }
            way.behave(Manner::Honest);
            Ok(Step::Done(format!("{proof}, {swallowed} bytes swallowed")))
        }
        Kind::VanishDatabase => {
            let swallowed = way(stage, fault.target)?.counts().swallowed_bytes - begun.counts.swallowed_bytes;
            if swallowed == 0 {
                return Ok(Step::NotYet("nothing was said to who vanished yet"));
            }
            Ok(Step::Done(format!("{proof}, {swallowed} bytes swallowed")))
        }
        Kind::SlowStore => {
            let way = way(stage, fault.target)?;
            let held_up = way.counts().held_up - begun.counts.held_up;
            if held_up == 0 {
                return Ok(Step::NotYet("nothing was held up yet"));
            }
            way.behave(Manner::Honest);
            Ok(Step::Done(format!("{held_up} pieces held up by {SLOW:?} each")))
        }
        Kind::JumpClock => {
            let seat = seat(stage, fault.target)?;
            match jumped(seat, begun, fault.jump_seconds) {
                None => Ok(Step::NotYet("the worker has logged nothing by the new time yet")),
                Some(at) => {
                    seat.set_clock(0)?;
                    Ok(Step::Done(format!("at {} it logged {at}", Utc::now().format("%FT%TZ"))))
                }
            }
        }
        Kind::Preempt => match asked(stage, Reader::made_room).await.map(|now| now - begun.made_room) {
            Some(made_room @ 1..) => Ok(Step::Done(format!("{made_room} attempts made room"))),
            _ => Ok(Step::NotYet("nobody has made room yet")),
        },
    }
}

/// Ends a fault that has hit nobody.
pub fn give_up(stage: &Stage, fault: &Fault) -> anyhow::Result<()> {
    match fault.target {
        Target::DatabaseWay(_) | Target::CoordinatorWay(_) | Target::StoreWay => {
            way(stage, fault.target)?.behave(Manner::Honest);
            Ok(())
        }
        Target::Worker(_) => seat(stage, fault.target)?.set_clock(0),
        Target::Coordinator(_) | Target::Trainer | Target::Postgres | Target::Room => Ok(()),
    }
}

fn seat(stage: &Stage, target: Target) -> anyhow::Result<&Seat> {
    match target {
        Target::Coordinator(which) => Ok(&stage.coordinators[which]),
        Target::Worker(which) => Ok(&stage.workers[which]),
        other => anyhow::bail!("{other} is no process of ours"),
    }
}

fn seat_mut(stage: &mut Stage, target: Target) -> anyhow::Result<&mut Seat> {
    match target {
        Target::Coordinator(which) => Ok(&mut stage.coordinators[which]),
        Target::Worker(which) => Ok(&mut stage.workers[which]),
        other => anyhow::bail!("{other} is no process of ours"),
    }
}

fn way(stage: &Stage, target: Target) -> anyhow::Result<&Proxy> {
    match target {
        Target::DatabaseWay(which) => Ok(&stage.database_ways[which]),
        Target::CoordinatorWay(which) => Ok(&stage.coordinator_ways[which]),
        Target::StoreWay => Ok(&stage.store_way),
        other => anyhow::bail!("{other} is no way"),
    }
}

/// Whether a worker holds anything that it can lose.
async fn is_at_work(stage: &Stage, target: Target) -> anyhow::Result<bool> {
    let Some(worker) = seat(stage, target)?.worker_id() else { return Ok(false) };
    // Without a database it holds nothing for sure.
    Ok(matches!(asked(stage, async |reader: &mut Reader| reader.held_by(worker).await).await, Some(1..)))
}

/// What the database says; `None` while it says nothing.
async fn asked(stage: &Stage, ask: impl AsyncFnOnce(&mut Reader) -> anyhow::Result<i64>) -> Option<i64> {
    let url = stage.database_url();
    let asking = async { ask(&mut Reader::connect(&url).await?).await };
    timeout(ASKING, asking).await.ok()?.ok()
}

/// Puts another process in the place of one that was killed.
async fn replace(stage: &mut Stage, target: Target, proof: &str) -> anyhow::Result<Step<String>> {
    if seat(stage, target)?.process().is_none() {
        match target {
            Target::Coordinator(which) => stage.replace_coordinator(which)?,
            Target::Worker(which) => stage.start_worker(which)?,
            other => anyhow::bail!("{other} cannot be replaced"),
        }
    }
    let seat = seat_mut(stage, target)?;
    match timeout(LOOK, seat.started()).await {
        Err(_) => Ok(Step::NotYet("what takes its place is not ready yet")),
        Ok(started) => {
            started?;
            Ok(Step::Done(format!("{proof}, replaced by {}", seat.process().map(Process::pid).unwrap_or_default())))
        }
    }
}

async fn kill(seat: &mut Seat) -> anyhow::Result<Step<Begun>> {
    let worker = seat.worker_id();
    let at = Utc::now();
    let Some(pid) = seat.kill()? else { return Ok(Step::NotYet("nobody is there")) };
    gone(pid).await?;
    Ok(Step::Done(Begun { at, worker, ..Begun::now(format!("process {pid} is gone")) }))
}

async fn kill_trainer(stage: &Stage) -> anyhow::Result<Step<Begun>> {
    for seat in &stage.workers {
        let Some(process) = seat.process() else { continue };
        let mut trainers = process.children(TRAINER)?.into_iter().map(|pid| pid.as_raw().cast_unsigned());
        // A worker that starts asks one to describe itself, which trains nothing.
        let Some(pid) = trainers.find(|pid| arguments(*pid).is_some_and(|all| all.is_empty())) else { continue };
        let at = Utc::now();
        signal(pid, Signal::SIGKILL)?;
        gone(pid).await?;
        let proof = format!("process {pid} of {} is gone", seat.name());
        return Ok(Step::Done(Begun { at, worker: seat.worker_id(), ..Begun::now(proof) }));
    }
    Ok(Step::NotYet("nobody trains"))
}

async fn stand(pids: Vec<u32>) -> anyhow::Result<Begun> {
    let at = Utc::now();
    freeze(&pids).await?;
    let proof = format!("{} processes stood still", pids.len());
    Ok(Begun { at, frozen: pids, ..Begun::now(proof) })
}

/// Does something to a way on which there is somebody.
fn hit(way: &Proxy, harm: impl FnOnce(&Proxy)) -> Step<Begun> {
    let counts = way.counts();
    if counts.live == 0 {
        return Step::NotYet("nobody is connected");
    }
    harm(way);
    Step::Done(Begun { counts, ..Begun::now(format!("{} connections hit", counts.live)) })
}

async fn slow_disk(stage: &Stage) -> anyhow::Result<Begun> {
    let mut connection = PgConnection::connect(&stage.database_url()).await?;
    let commit = time_of_a_commit(&mut connection).await?;
    let micros = COMMIT_DELAY.as_micros();
    configure(&mut connection, &format!("alter system set commit_delay = {micros}")).await?;
    configure(&mut connection, "alter system set commit_siblings = 0").await?;
    configure(&mut connection, "select pg_reload_conf()").await?;
    Ok(Begun { commit, ..Begun::now(String::new()) })
}

async fn fast_disk(stage: &Stage, begun: &Begun) -> anyhow::Result<Step<String>> {
    let mut connection = PgConnection::connect(&stage.database_url()).await?;
    let slow = time_of_a_commit(&mut connection).await?;
    if slow < begun.commit + COMMIT_DELAY / 2 {
        return Ok(Step::NotYet("commits are not slower yet"));
    }
    configure(&mut connection, "alter system reset all").await?;
    configure(&mut connection, "select pg_reload_conf()").await?;
    Ok(Step::Done(format!("a commit took {slow:.0?} instead of {:.0?}", begun.commit)))
}

async fn configure(connection: &mut PgConnection, statement: &str) -> anyhow::Result<()> {
    connection.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned()))).await?;
    Ok(())
}

async fn time_of_a_commit(connection: &mut PgConnection) -> anyhow::Result<Duration> {
    let begin = Instant::now();
    configure(connection, "select pg_logical_emit_message(true, 'chaos', 'how long does this take?')").await?;
    Ok(begin.elapsed())
}

/// The time of a line that was logged by a clock that is so many seconds off.
fn jumped(seat: &Seat, begun: &Begun, seconds: i64) -> Option<String> {
    let log = seat.log();
    let expected = Utc::now() + TimeDelta::seconds(seconds);
    let is_near = |at: &str| {
        let at = DateTime::parse_from_rfc3339(at).ok();
        at.is_some_and(|at| (at.to_utc() - expected).abs() < TimeDelta::minutes(5))
    };
    lines(log.get(begun.logged..)?).into_iter().map(|line| line.at).find(|at| is_near(at))
}
