//! Thousands of workers with nothing to do, attached to one coordinator by real sessions, beside a handful.

use std::time::{Duration, Instant};

use anyhow::ensure;
use ursa_bench::report::{Aim, Report};

use crate::Arguments;
use crate::attendant::Attendant;
use crate::ground::Ground;

const HANDFUL: u32 = 10;
/// Every worker has reported several times by then: what a session needs, it has.
const SETTLE: Duration = Duration::from_secs(15);
const WATCH: Duration = Duration::from_secs(15);
/// Every buffer of a session has been used from end to end by then: what grows now, grows for ever.
const LONG_AFTER: Duration = Duration::from_mins(2);
const CREEP: Duration = Duration::from_mins(2);

pub(crate) async fn measure(arguments: &Arguments, ground: &mut Ground, report: &mut Report) -> anyhow::Result<()> {
    ground.clear()?;
    // The handful leave before the others come.
    let few = attach(ground, HANDFUL).await?.watch(ground).await?;
    let fleet = attach(ground, arguments.fleet).await?;
    let (many, creep) = (fleet.watch(ground).await?, fleet.creep(ground).await?);
    tell(report, HANDFUL, &few, [Aim::None; 3]);
    tell(report, arguments.fleet, &many, [Aim::AtMost(0.1), Aim::AtMost(2.0), Aim::AtMost(0.1)]);

    let creeps =
        format!("{} idle workers: growth of the coordinator's memory per minute, minutes later", arguments.fleet);
    report.row(&creeps, "MiB", creep, Aim::AtMost(0.1));

    let beside = |what: &str| format!("{} idle workers beside {HANDFUL}: {what}", arguments.fleet);
    let further = f64::from(arguments.fleet - HANDFUL);
    // Within noise: every statement is for all workers.
    report.row(&beside("statements per second"), "times", many.statements / few.statements, Aim::AtMost(1.1));
    let memory = (many.memory - few.memory) * 1024.0 / further;
    report.row(&beside("coordinator's memory per further worker"), "KiB", memory, Aim::AtMost(64.0));
    let cpu = (many.cores - few.cores) * 1e6 / further;
    report.row(&beside("coordinator's processor time per further worker and second"), "us", cpu, Aim::AtMost(50.0));
    Ok(())
}

/// What a system uses that has nothing to do.
struct Idle {
    /// Of a core, by the coordinator.
    cores: f64,
    /// Of the coordinator, in MiB, at the end.
    memory: f64,
    /// By so much of it it grew.
    growth: f64,
    /// Per second.
    statements: f64,
    /// Of the time, in which Postgres executes statements.
    executing: f64,
}

/// With the aims for the processor, the growth of memory, and what Postgres does.
fn tell(report: &mut Report, count: u32, idle: &Idle, [cores, growth, executing]: [Aim; 3]) {
    let mut row = |what: &str, unit: &str, figure: f64, aim: Aim| {
        report.row(&format!("{count} idle workers: {what}"), unit, figure, aim);
    };
    row("share of a core that the coordinator uses", "", idle.cores, cores);
    row("memory of the coordinator", "MiB", idle.memory, Aim::None);
    row(&format!("growth of that within {} seconds", WATCH.as_secs()), "MiB", idle.growth, growth);
    row("share of the time that Postgres executes statements", "", idle.executing, executing);
    row("statements per second", "1/s", idle.statements, Aim::None);
}

/// Workers that are attached as long as this lives.
struct Fleet {
    _attendants: Vec<Attendant>,
    begun: Instant,
}

async fn attach(ground: &mut Ground, count: u32) -> anyhow::Result<Fleet> {
    let client = ground.coordinator().await?;
    let attendants = (0..count).map(|_| Attendant::attach(&client)).collect();
    let online = "select count(*) from workers where not internal and last_seen_at > now() - interval '3 seconds'";
    let begin = Instant::now();
    while ground.sql(online)?.parse::<u32>()? < count {
        ensure!(begin.elapsed() < Duration::from_mins(1), "only {} workers are online", ground.sql(online)?);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(Fleet { _attendants: attendants, begun: Instant::now() })
}

impl Fleet {
    async fn watch(&self, ground: &mut Ground) -> anyhow::Result<Idle> {
        // What attaching took is over.
        tokio::time::sleep(SETTLE).await;
        ground.forget_statements()?;
        let before = ground.usage()?;
        let begin = Instant::now();
        tokio::time::sleep(WATCH).await;
        let seconds = begin.elapsed().as_secs_f64();
        let after = ground.usage()?;
        Ok(Idle {
            cores: (after.cpu - before.cpu) / seconds,
            memory: after.memory,
            growth: after.memory - before.memory,
            statements: ground.statements()? / seconds,
            executing: ground.executing()? / seconds,
        })
    }

    /// By how many MiB per minute the coordinator still grows when nothing is new to it any more.
    async fn creep(&self, ground: &mut Ground) -> anyhow::Result<f64> {
        tokio::time::sleep(LONG_AFTER.saturating_sub(self.begun.elapsed())).await;
        let before = ground.usage()?;
        tokio::time::sleep(CREEP).await;
        let after = ground.usage()?;
        Ok((after.memory - before.memory) / (CREEP.as_secs_f64() / 60.0))
    }
}
