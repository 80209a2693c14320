//! Thousands of workers with nothing to do, attached to one coordinator by real sessions.

use std::time::{Duration, Instant};
use ursa_bench::report::{Aim, Report};

use crate::Arguments;
use crate::attendant::Attendant;
use crate::ground::Ground;

const WATCH: Duration = Duration::from_secs(15);

pub(crate) async fn measure(arguments: &Arguments, ground: &mut Ground, report: &mut Report) -> anyhow::Result<()> {
    ground.workers.clear();
    let few = watch(ground, 10).await?;
    let many = watch(ground, arguments.fleet).await?;
    let name = |what: &str| format!("{} idle workers: {what}", arguments.fleet);
    report.row(&name("share of a core that the coordinator uses"), "", many.cores, Aim::AtMost(0.5));
    report.row(&name("memory of the coordinator"), "MiB", many.memory, Aim::AtMost(512.0));
    report.row(&name("statements per second"), "1/s", many.statements, Aim::AtMost(few.statements * 1.5 + 5.0));
    report.row("10 idle workers: statements per second", "1/s", few.statements, Aim::None);
    Ok(())
}

struct Idle {
    cores: f64,
    memory: f64,
    statements: f64,
}

async fn watch(ground: &mut Ground, count: u32) -> anyhow::Result<Idle> {
    let client = ground.coordinator().await?;
    let _attendants: Vec<_> = (0..count).map(|_| Attendant::attach(&client, 1, &["train"])).collect();
    let online = "select count(*) from workers where not internal and last_seen_at > now() - interval '3 seconds'";
    let begin = Instant::now();
    while ground.sql(online)?.parse::<u32>()? < count {
        anyhow::ensure!(begin.elapsed() < Duration::from_mins(1), "only {} workers are online", ground.sql(online)?);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    ground.forget_statements()?;
    let before = ground.usage()?;
    let begin = Instant::now();
    tokio::time::sleep(WATCH).await;
    let seconds = begin.elapsed().as_secs_f64();
    let after = ground.usage()?;
    Ok(Idle {
        cores: (after.cpu - before.cpu) / seconds,
        memory: after.memory,
        statements: ground.statements()? / seconds,
    })
}
