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
/// What lies close to the peer's is measured so many times, in turns with it, and the middle one counts: a machine that others
/// share is a third slower in one minute than in the next.
const TURNS: usize = 3;

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
    let their_default_many = peer::throughput(arguments, ground, tables, MANY, tasks, &[])?;
    let callers = CALLERS.to_string();
    let their_single = peer::throughput(arguments, ground, tables, FEW, jobs, &["--batched", "--callers", &callers])?;

    let name = |slots: u32| tables.row(&format!("many tasks per job, {slots} at a time"));
    let many = many_per_job(ground, tasks, MANY).await?.tell(report, &name(MANY));
    let (mut few, mut their_default) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        few.push(many_per_job(ground, tasks, FEW).await?);
        their_default.push(peer::throughput(arguments, ground, tables, FEW, tasks, &[])?);
    }
    let few = middle(few, |went| went.rate).tell(report, &name(FEW));
    let their_default = middle(their_default, |rate| *rate);
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
    costs.end(ground, jobs)?.tell(report, &tables.row(&format!("one task per job, {FEW} at a time")));
    let name = tables.row_beside(&format!("one task per job, {FEW} at a time both, submitting included"));
    report.beside(&name, "jobs/s", one, their_single, Aim::None);
    Ok(Rates { many_per_job: many, one_per_job: one })
}

/// How a job of many tasks went.
struct Went {
    /// Tasks per second, from before its submission to the news of its end.
    rate: f64,
    /// Seconds of that until it was submitted.
    submitting: f64,
    spent: Spent,
}

impl Went {
    /// Adds its rows, and gives its rate.
    fn tell(&self, report: &mut Report, name: &str) -> f64 {
        report.row(&format!("{name}: of this, submitting took"), "s", self.submitting, Aim::None);
        self.spent.tell(report, name);
        self.rate
    }
}

async fn many_per_job(ground: &mut Ground, tasks: u32, slots: u32) -> anyhow::Result<Went> {
    ground.clear()?;
    let client = ground.coordinator().await?;
    ground.add_workers(slots).await?;
    ground.warm_up().await?;
    let costs = Costs::begin(ground)?;
    let begin = Instant::now();
    let job = submit(&client, tasks).await?;
    let submitting = begin.elapsed().as_secs_f64();
    ground.until_done(&client, &job).await?;
    let rate = f64::from(tasks) / begin.elapsed().as_secs_f64();
    let spent = costs.end(ground, tasks)?;
    // Whoever comes next has the machine to itself.
    ground.clear()?;
    Ok(Went { rate, submitting, spent })
}

/// Of an odd number, by what `key` says.
fn middle<T>(mut all: Vec<T>, key: impl Fn(&T) -> f64) -> T {
    all.sort_by(|one, other| key(one).total_cmp(&key(other)));
    all.swap_remove(all.len() / 2)
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

    fn end(&self, ground: &Ground, tasks: u32) -> anyhow::Result<Spent> {
        let after = ground.usage()?;
        // For whoever looks for what is slow.
        if std::env::var_os("URSA_BENCH_STATEMENTS").is_some() {
            println!("{}", ground.slowest()?);
        }
        let tasks = f64::from(tasks);
        Ok(Spent {
            cpu: (after.cpu - self.before.cpu) * 1e6 / tasks,
            memory: after.memory,
            statements: ground.statements()? / tasks,
        })
    }
}

/// What tasks cost.
struct Spent {
    /// Of the coordinator, in microseconds per task.
    cpu: f64,
    /// Of the coordinator, in MiB.
    memory: f64,
    /// Per task.
    statements: f64,
}

impl Spent {
    fn tell(&self, report: &mut Report, name: &str) {
        let mut row = |what: &str, unit: &str, figure: f64| {
            report.row(&format!("{name}: {what}"), unit, figure, Aim::None);
        };
        row("coordinator's processor time per task", "us", self.cpu);
        row("coordinator's memory", "MiB", self.memory);
        row("statements of Postgres per task", "", self.statements);
    }
}
