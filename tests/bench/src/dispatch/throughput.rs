//! Tasks per second: many tasks in one job, and one task in each of many jobs.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use ursa_bench::report::{Aim, Report};

use crate::ground::{Ground, probe, submit};
use crate::{Arguments, peer};

/// As many at a time as the peer works on.
pub(crate) const AT_A_TIME: u32 = 24;
/// And so many where there are many tasks in a job: one that does nothing takes no processor. The peer, when it works in
/// batches, takes 2000 in advance.
pub(crate) const AT_A_TIME_BATCHED: u32 = 1000;
/// Callers that submit at the same time.
const CALLERS: usize = 16;

pub(crate) async fn measure(arguments: &Arguments, ground: &mut Ground, report: &mut Report) -> anyhow::Result<()> {
    let tasks = arguments.tasks.to_string();
    let workers = AT_A_TIME.to_string();
    let common = ["--mode", "throughput", "--workers", &workers, "--jobs", &tasks];
    let theirs = peer::run(ground, &arguments.peer, &[&common[..], &["--batched"]].concat())?;
    let theirs_unbatched = peer::run(ground, &arguments.peer, &common)?;

    let client = ground.coordinator().await?;
    ground.workers.clear();
    ground.add_worker(AT_A_TIME_BATCHED / 2).await?;
    ground.add_worker(AT_A_TIME_BATCHED / 2).await?;
    // Everything has been used once.
    let warm = submit(&client, 500).await?;
    ground.until_done(&client, &warm).await?;

    let batched = run(ground, report, arguments.tasks).await?;
    let figure = |theirs| peer::figure(theirs, "jobs_per_second");
    let aim = Aim::TimesPeer(1.0);
    report.beside(
        "throughput, many tasks per job, beside the peer's defaults",
        "tasks/s",
        batched,
        figure(&theirs_unbatched),
        aim,
    );
    report.beside("throughput, many tasks per job, beside its batches", "tasks/s", batched, figure(&theirs), aim);

    ground.workers.clear();
    ground.add_worker(AT_A_TIME / 2).await?;
    ground.add_worker(AT_A_TIME / 2).await?;
    let warm = submit(&client, 100).await?;
    ground.until_done(&client, &warm).await?;
    ground.forget_statements()?;
    let before = ground.usage()?;
    let begin = Instant::now();
    let jobs = arguments.tasks / 10;
    unbatched(ground, jobs).await?;
    let rate = f64::from(jobs) / begin.elapsed().as_secs_f64();
    let (cpu, count) = (ground.usage()?.cpu - before.cpu, f64::from(jobs));
    report.row("  coordinator's processor time per job", "us", cpu * 1e6 / count, Aim::None);
    report.row("  statements of Postgres per job", "", ground.statements()? / count, Aim::None);
    show_statements(ground)?;
    let name = "throughput, one task per job, submitting included";
    report.beside(name, "jobs/s", rate, figure(&theirs_unbatched), Aim::None);
    Ok(())
}

/// Tasks per second of one job, from the answer to its submission on.
pub(crate) async fn run(ground: &mut Ground, report: &mut Report, tasks: u32) -> anyhow::Result<f64> {
    let client = ground.coordinator().await?;
    ground.forget_statements()?;
    let before = ground.usage()?;
    let begin = Instant::now();
    let job = submit(&client, tasks).await?;
    let submitted = begin.elapsed();
    ground.until_done(&client, &job).await?;
    let elapsed = begin.elapsed();
    let after = ground.usage()?;
    let count = f64::from(tasks);
    report.row("  of these, submitting the job took", "s", submitted.as_secs_f64(), Aim::None);
    report.row("  coordinator's processor time per task", "us", (after.cpu - before.cpu) * 1e6 / count, Aim::None);
    report.row("  coordinator's memory", "MiB", after.memory, Aim::None);
    report.row("  statements of Postgres per task", "", ground.statements()? / count, Aim::None);
    show_statements(ground)?;
    Ok(count / elapsed.as_secs_f64())
}

/// For whoever looks for what is slow.
fn show_statements(ground: &Ground) -> anyhow::Result<()> {
    if std::env::var_os("URSA_BENCH_STATEMENTS").is_some() {
        println!("{}", ground.slowest()?);
    }
    Ok(())
}

async fn unbatched(ground: &mut Ground, jobs: u32) -> anyhow::Result<()> {
    let client = Arc::new(ground.coordinator().await?);
    let turns = Arc::new(Semaphore::new(CALLERS));
    let mut callers = JoinSet::new();
    for _ in 0..jobs {
        let turn = turns.clone().acquire_owned().await?;
        let client = client.clone();
        callers.spawn(async move {
            let answer = client.jobs().submit_pipeline(probe(1)).await;
            drop(turn);
            answer.map(drop)
        });
    }
    while let Some(answer) = callers.join_next().await {
        answer??;
    }
    while ground.sql("select count(*) from jobs where state = 'running'")? != "0" {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    Ok(())
}
