//! The same with empty tables and with full ones, in turns: a million tasks queued, ten million finished, and a transaction that
//! has been open since before, which keeps Postgres from cleaning up.

use ursa_bench::report::{Aim, Report};

use crate::ground::Ground;
use crate::hold::OpenTransaction;
use crate::latency::{Percentiles, Waits, of_all};
use crate::tables::{self, Tables};
use crate::throughput::{FEW, Ours};
use crate::turns::{TURNS, Turns, middle};
use crate::{Arguments, hold};

/// How much slower full tables may make it.
const WITHIN: Aim = Aim::AtMost(1.2);

pub(crate) async fn measure(arguments: &Arguments, ground: &mut Ground, report: &mut Report) -> anyhow::Result<()> {
    ground.turn_to(Tables::Full)?;
    ground.coordinator().await?;
    ground.add_workers(FEW).await?;
    ground.warm_up().await?;
    tables::fill(arguments, ground)?;
    let _open = OpenTransaction::begin(ground)?;
    let (mut empty, mut full) = (Turns::new(Tables::Empty, true, true), Turns::new(Tables::Full, true, true));
    for _ in 0..TURNS {
        empty.take(arguments, ground).await?;
        full.take(arguments, ground).await?;
    }
    empty.tell(arguments, ground, report)?;
    full.tell(arguments, ground, report)?;
    compare(report, &empty, &full);
    hold::measure(arguments, ground, report).await
}

fn compare(report: &mut Report, empty: &Turns, full: &Turns) {
    let mut slower = |what: &str, times: f64, aim: Aim| {
        report.row(&format!("full tables beside empty ones: {what}, slower by"), "times", times, aim);
    };
    let mut rate = |what: &str, of: fn(&Ours) -> f64| {
        slower(what, middle(&empty.rates, of) / middle(&full.rates, of), WITHIN);
    };
    rate("many tasks per job", Ours::many_per_job);
    rate("one task per job", Ours::one_per_job);
    let mut latency = |when: &str, of: fn(&Waits) -> Percentiles| {
        let (empty, full) = (of_all(&empty.waits, of), of_all(&full.waits, of));
        slower(&format!("latency, {when}, p50"), full.p50 / empty.p50, WITHIN);
        slower(&format!("latency, {when}, p99"), full.p99 / empty.p99, WITHIN);
        slower(&format!("latency, {when}, max"), full.max / empty.max, Aim::None);
    };
    latency("idle", |waits| waits.idle);
    latency("half rate", |waits| waits.half);
}
