//! What becomes of the claim while somebody holds a transaction open, which keeps Postgres from cleaning up: a worker takes
//! tasks from a lane in which a million are ready, all the while.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use ursa_bench::report::{Aim, Report};

use crate::ground::Ground;
use crate::plans::{self, Scan};
use crate::throughput::FEW;
use crate::{Arguments, tables};

const SETTLE: Duration = Duration::from_secs(5);
/// How long claims are watched, and how long with their plans: those are long.
const WATCH: Duration = Duration::from_secs(10);
const WATCH_PLANS: Duration = Duration::from_secs(3);
const TOP_UP: Duration = Duration::from_secs(5);
/// Pages that a claim may look at in one go through a table. The whole table of tasks has hundreds of thousands, the index of
/// those that are ready thousands, and tens of thousands with those that were taken while the transaction is open.
const PAGES: f64 = 10_000.0;

/// While the caller holds an [`OpenTransaction`], since the tables were full.
pub(crate) async fn measure(arguments: &Arguments, ground: &mut Ground, report: &mut Report) -> anyhow::Result<()> {
    ground.clear()?;
    ground.coordinator().await?;
    ground.add_worker(FEW, &["--label", tables::LABEL], &[]).await?;
    tokio::time::sleep(SETTLE).await;
    let begin = claims(ground).await?;
    keep_busy(arguments, ground).await?;
    let end = claims(ground).await?;
    let plans = plans::watch(ground, WATCH_PLANS).await?;
    let age = age(ground)?;

    let name = |what: &str| format!("full tables, a transaction held open: {what}");
    let after = |what: &str| name(&format!("{what}, after {} s", arguments.hold.as_secs()));
    report.row(&name("its age in the end"), "s", age, Aim::None);
    report.row(&name("time of a claim per task, at the beginning"), "us", begin.per_task, Aim::None);
    report.row(&after("time of a claim per task"), "us", end.per_task, Aim::AtMost(begin.per_task * 2.0));
    report.row(&name("longest claim, at the beginning"), "ms", begin.longest, Aim::None);
    report.row(&after("longest claim"), "ms", end.longest, Aim::None);
    report.row(&name("tasks per second, at the beginning"), "tasks/s", begin.tasks, Aim::None);
    report.row(&after("tasks per second"), "tasks/s", end.tasks, Aim::AtLeast(begin.tasks / 2.0));

    report.row(&after("claims whose plans were looked at"), "", plans.len() as f64, Aim::None);
    let pages = plans.iter().map(|claim| claim.pages).sum::<f64>() / plans.len() as f64;
    report.row(&after("pages that they looked at, each"), "", pages, Aim::None);
    let scans: Vec<&Scan> = plans.iter().flat_map(|claim| &claim.scans).collect();
    let whole: Vec<&&Scan> = scans.iter().filter(|scan| !scan.by_index).collect();
    if let Some(scan) = whole.first() {
        println!("a claim made a {}", scan.name);
    }
    let what = "their scans of tasks, attempts and jobs";
    report.must(&after(&format!("{what}, other than by an index")), "", whole.len() as f64, Aim::AtMost(0.0));
    let most = scans.iter().map(|scan| scan.pages).fold(0.0, f64::max);
    report.must(&after(&format!("{what}, pages of the largest")), "", most, Aim::AtMost(PAGES));
    Ok(())
}

/// Has the worker go on for as long as the transaction shall be held, with as many tasks ready as ever.
async fn keep_busy(arguments: &Arguments, ground: &Ground) -> anyhow::Result<()> {
    let begin = Instant::now();
    while begin.elapsed() < arguments.hold {
        tokio::time::sleep(TOP_UP.min(arguments.hold.saturating_sub(begin.elapsed()))).await;
        tables::top_up(arguments, ground)?;
    }
    Ok(())
}

/// The claims of a while.
struct Claims {
    /// Leased per second.
    tasks: f64,
    /// Time that the claims took, for each task, in microseconds.
    per_task: f64,
    /// In milliseconds.
    longest: f64,
}

async fn claims(ground: &Ground) -> anyhow::Result<Claims> {
    ground.forget_statements()?;
    let begin = Instant::now();
    tokio::time::sleep(WATCH).await;
    let seconds = begin.elapsed().as_secs_f64();
    let figures = ground.sql(&format!(
        "select coalesce(sum(rows), 0), coalesce(sum(total_exec_time), 0), coalesce(max(max_exec_time), 0)
        from pg_stat_statements where starts_with(query, '{}')",
        plans::claim_begins(),
    ))?;
    let figures = figures.split('|').map(str::parse::<f64>).collect::<Result<Vec<_>, _>>()?;
    let &[tasks, milliseconds, longest] = figures.as_slice() else { anyhow::bail!("three figures were asked for") };
    ensure!(tasks > 0.0, "nothing was claimed");
    Ok(Claims { tasks: tasks / seconds, per_task: milliseconds * 1000.0 / tasks, longest })
}

/// Somebody who has forgotten to commit.
pub(crate) struct OpenTransaction(Child);

impl OpenTransaction {
    pub(crate) fn begin(ground: &Ground) -> anyhow::Result<Self> {
        use std::io::Write as _;
        let mut child = Command::new("psql")
            .args(["--no-psqlrc", "--quiet", "--dbname", &ground.database_url()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        let input = child.stdin.as_mut().context("psql takes no input")?;
        writeln!(input, "begin isolation level repeatable read; select count(*) from lanes;")?;
        input.flush()?;
        Ok(Self(child))
    }
}

impl Drop for OpenTransaction {
    fn drop(&mut self) {
        // It has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// For how long a transaction has kept Postgres from cleaning up, in seconds.
fn age(ground: &Ground) -> anyhow::Result<f64> {
    let age = "select extract(epoch from max(now() - xact_start)) from pg_stat_activity
        where state = 'idle in transaction' and backend_xmin is not null";
    ground.sql(age)?.parse().context("no transaction is open")
}
