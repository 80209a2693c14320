//! Tasks per second: many tasks in one job, and one task in each of many jobs.

use std::time::Instant;

use tokio::task::JoinSet;
use ursa_bench::report::{Aim, Report};

use crate::ground::{Ground, Usage, submit};
use crate::tables::Tables;
use crate::turns::{middle, middle_of};
use crate::{Arguments, peer};

/// Tasks at a time: as many as the peer likes best, of those tried.
pub(crate) const FEW: u32 = 24;
/// Tasks at a time: as many as Ursa likes best. One that does nothing takes no processor.
const MANY: u32 = 1000;
/// Callers that submit at the same time, each of which waits for its answer.
const CALLERS: u32 = 16;

/// How it went in one turn.
pub(crate) struct Ours {
    few: Went,
    many: Went,
    one: Went,
}

impl Ours {
    /// Tasks of one job per second, as many at a time as Ursa likes best.
    pub(crate) fn many_per_job(&self) -> f64 {
        self.many.rate
    }

    /// Jobs of one task per second.
    pub(crate) fn one_per_job(&self) -> f64 {
        self.one.rate
    }
}

/// The peer's jobs per second, in one turn.
pub(crate) struct Theirs {
    few: f64,
    many: f64,
    default_few: f64,
    default_many: f64,
    single: f64,
}

pub(crate) async fn ours(arguments: &Arguments, ground: &mut Ground) -> anyhow::Result<Ours> {
    ground.checkpoint()?;
    Ok(Ours {
        many: many_per_job(ground, arguments.tasks, MANY).await?,
        few: many_per_job(ground, arguments.tasks, FEW).await?,
        one: one_in_each(ground, arguments.jobs()).await?,
    })
}

pub(crate) fn theirs(arguments: &Arguments, ground: &Ground, tables: Tables) -> anyhow::Result<Theirs> {
    ground.checkpoint()?;
    let (tasks, callers) = (arguments.tasks, CALLERS.to_string());
    let rate = |slots, jobs, how: &[&str]| peer::throughput(arguments, ground, tables, slots, jobs, how);
    Ok(Theirs {
        many: rate(MANY, tasks, &["--batched"])?,
        few: rate(FEW, tasks, &["--batched"])?,
        default_few: rate(FEW, tasks, &[])?,
        default_many: rate(MANY, tasks, &[])?,
        single: rate(FEW, arguments.jobs(), &["--batched", "--callers", &callers])?,
    })
}

/// Adds the rows, of the middle of all turns.
pub(crate) fn tell(report: &mut Report, tables: Tables, ours: &[Ours], theirs: &[Theirs]) {
    let name = |slots: u32| tables.row(&format!("many tasks per job, {slots} at a time"));
    let many = middle_of(ours, |turn| turn.many.rate).many.tell(report, &name(MANY));
    let few = middle_of(ours, |turn| turn.few.rate).few.tell(report, &name(FEW));
    let mut beside = |what: &str, ours: f64, theirs: f64| {
        let name = tables.row_beside(&format!("many tasks per job, {what}"));
        report.beside(&name, "tasks/s", ours, theirs, Aim::TimesPeer(1.0));
    };
    let their_few = middle(theirs, |turn| turn.few);
    beside(&format!("{FEW} at a time both, the peer in batches"), few, their_few);
    let their_default = middle(theirs, |turn| turn.default_few);
    beside(&format!("{FEW} at a time both, the peer as by default"), few, their_default);
    beside(&format!("{MANY} at a time both, the peer in batches"), many, middle(theirs, |turn| turn.many));
    let their_default = middle(theirs, |turn| turn.default_many);
    beside(&format!("{MANY} at a time both, the peer as by default"), many, their_default);
    beside(&format!("as each likes best: {MANY} at a time; {FEW}, in batches"), many, their_few);

    let name = tables.row(&format!("one task per job, {FEW} at a time"));
    let one = middle_of(ours, |turn| turn.one.rate).one.tell(report, &name);
    let name = tables.row_beside(&format!("one task per job, {FEW} at a time both, submitting included"));
    report.beside(&name, "jobs/s", one, middle(theirs, |turn| turn.single), Aim::None);
}

/// How jobs went.
struct Went {
    /// Tasks per second, from before the first submission to the end of the last.
    rate: f64,
    /// Seconds of that until it was submitted, where it was one job.
    submitting: Option<f64>,
    spent: Spent,
}

impl Went {
    /// Adds its rows, and gives its rate.
    fn tell(&self, report: &mut Report, name: &str) -> f64 {
        if let Some(submitting) = self.submitting {
            report.row(&format!("{name}: of this, submitting took"), "s", submitting, Aim::None);
        }
        self.spent.tell(report, name);
        self.rate
    }
}

/// One job of `tasks`, to the news of its end.
async fn many_per_job(ground: &mut Ground, tasks: u32, slots: u32) -> anyhow::Result<Went> {
    ground.clear()?;
    let client = ground.coordinator().await?;
    ground.add_workers(slots).await?;
    ground.warm_up().await?;
    let costs = Costs::begin(ground)?;
    let begin = Instant::now();
    let job = submit(&client, tasks).await?;
    let submitting = Some(begin.elapsed().as_secs_f64());
    ground.until_done(&client, &job).await?;
    let rate = f64::from(tasks) / begin.elapsed().as_secs_f64();
    let spent = costs.end(ground, tasks)?;
    // Whoever comes next has the machine to itself.
    ground.clear()?;
    Ok(Went { rate, submitting, spent })
}

async fn one_in_each(ground: &mut Ground, jobs: u32) -> anyhow::Result<Went> {
    ground.clear()?;
    ground.coordinator().await?;
    ground.add_workers(FEW).await?;
    ground.warm_up().await?;
    let costs = Costs::begin(ground)?;
    let rate = one_per_job(ground, jobs).await?;
    let spent = costs.end(ground, jobs)?;
    ground.clear()?;
    Ok(Went { rate, submitting: None, spent })
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
