//! Tasks per second: many tasks in one job, and one task in each of many jobs.

use std::time::Instant;

use tokio::task::JoinSet;
use ursa_bench::report::{Aim, Report};

use crate::ground::{Ground, Usage, submit};
use crate::tables::Tables;
use crate::{Arguments, peer};

/// Tasks at a time: as many as the peer likes best, of those tried.
pub(crate) const FEW: u32 = 24;
/// Tasks at a time: as many as Ursa likes best. One that does nothing takes no processor.
const MANY: u32 = 1000;
/// Callers that submit at the same time, each of which waits for its answer.
const CALLERS: u32 = 16;

/// Per second.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rates {
    /// Tasks, of one job.
    pub(crate) many_per_job: f64,
    /// Jobs of one task.
    pub(crate) one_per_job: f64,
}

pub(crate) async fn measure(
    arguments: &Arguments,
    ground: &mut Ground,
    report: &mut Report,
    tables: Tables,
) -> anyhow::Result<Rates> {
    ground.clear()?;
    ground.checkpoint()?;
    let (tasks, jobs) = (arguments.tasks, arguments.jobs());
    let their_many = peer::throughput(arguments, ground, tables, MANY, tasks, &["--batched"])?;
    let their_few = peer::throughput(arguments, ground, tables, FEW, tasks, &["--batched"])?;
    let their_default = peer::throughput(arguments, ground, tables, FEW, tasks, &[])?;
    let their_default_many = peer::throughput(arguments, ground, tables, MANY, tasks, &[])?;
    let callers = CALLERS.to_string();
    let their_single = peer::throughput(arguments, ground, tables, FEW, jobs, &["--batched", "--callers", &callers])?;

    let name = |slots: u32| tables.row(&format!("many tasks per job, {slots} at a time"));
    let many = many_per_job(ground, report, &name(MANY), tasks, MANY).await?;
    let few = many_per_job(ground, report, &name(FEW), tasks, FEW).await?;
    let mut beside = |what: &str, ours: f64, theirs: f64| {
        let name = tables.row_beside(&format!("many tasks per job, {what}"));
        report.beside(&name, "tasks/s", ours, theirs, Aim::TimesPeer(1.0));
    };
    beside(&format!("{FEW} at a time both, the peer in batches"), few, their_few);
    beside(&format!("{FEW} at a time both, the peer as by default"), few, their_default);
    beside(&format!("{MANY} at a time both, the peer in batches"), many, their_many);
    beside(&format!("{MANY} at a time both, the peer as by default"), many, their_default_many);
    beside(&format!("as each likes best: {MANY} at a time; {FEW}, in batches"), many, their_few);

    ground.clear()?;
    ground.coordinator().await?;
    ground.add_workers(FEW).await?;
    ground.warm_up().await?;
    let costs = Costs::begin(ground)?;
    let one = one_per_job(ground, jobs).await?;
    costs.tell(ground, report, &tables.row(&format!("one task per job, {FEW} at a time")), jobs)?;
    let name = tables.row_beside(&format!("one task per job, {FEW} at a time both, submitting included"));
    report.beside(&name, "jobs/s", one, their_single, Aim::None);
    Ok(Rates { many_per_job: many, one_per_job: one })
}

/// Tasks per second of one job, from before its submission to the news of its end.
async fn many_per_job(
    ground: &mut Ground,
    report: &mut Report,
    name: &str,
    tasks: u32,
    slots: u32,
) -> anyhow::Result<f64> {
    ground.clear()?;
    let client = ground.coordinator().await?;
    ground.add_workers(slots).await?;
    ground.warm_up().await?;
    let costs = Costs::begin(ground)?;
    let begin = Instant::now();
    let job = submit(&client, tasks).await?;
    let submitted = begin.elapsed();
    ground.until_done(&client, &job).await?;
    let elapsed = begin.elapsed();
    let what = format!("{name}: of this, submitting took");
    report.row(&what, "s", submitted.as_secs_f64(), Aim::None);
    costs.tell(ground, report, name, tasks)?;
    Ok(f64::from(tasks) / elapsed.as_secs_f64())
}

/// Jobs of one task that go through per second, from before the first is submitted to the end of the last.
pub(crate) async fn one_per_job(ground: &mut Ground, jobs: u32) -> anyhow::Result<f64> {
    let client = ground.coordinator().await?;
    let begin = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let client = client.clone();
        callers.spawn(async move {
            for _ in 0..jobs / CALLERS {
                submit(&client, 1).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(caller) = callers.join_next().await {
        caller??;
    }
    ground.until_idle().await?;
    Ok(f64::from(jobs / CALLERS * CALLERS) / begin.elapsed().as_secs_f64())
}

/// What the coordinator and Postgres do for each task, from a moment on.
struct Costs {
    before: Usage,
}

impl Costs {
    fn begin(ground: &Ground) -> anyhow::Result<Self> {
        ground.forget_statements()?;
        Ok(Self { before: ground.usage()? })
    }

    /// Adds the rows of `tasks` tasks.
    fn tell(&self, ground: &Ground, report: &mut Report, name: &str, tasks: u32) -> anyhow::Result<()> {
        let after = ground.usage()?;
        let (cpu, tasks) = ((after.cpu - self.before.cpu) * 1e6, f64::from(tasks));
        report.row(&format!("{name}: coordinator's processor time per task"), "us", cpu / tasks, Aim::None);
        report.row(&format!("{name}: coordinator's memory"), "MiB", after.memory, Aim::None);
        let statements = ground.statements()? / tasks;
        report.row(&format!("{name}: statements of Postgres per task"), "", statements, Aim::None);
        // For whoever looks for what is slow.
        if std::env::var_os("URSA_BENCH_STATEMENTS").is_some() {
            println!("{}", ground.slowest()?);
        }
        Ok(())
    }
}
