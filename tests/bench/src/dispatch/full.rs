//! The same with empty tables and with full ones: a million tasks queued, ten million finished, and a transaction that has
//! been open since before, which keeps Postgres from cleaning up.

use ursa_bench::report::{Aim, Report};

use crate::ground::Ground;
use crate::hold::OpenTransaction;
use crate::latency::{Percentiles, Waits};
use crate::tables::{self, Tables};
use crate::throughput::Rates;
use crate::{Arguments, hold, latency, throughput};

/// How much slower full tables may make it.
const WITHIN: Aim = Aim::AtMost(1.2);

pub(crate) async fn measure(arguments: &Arguments, ground: &mut Ground, report: &mut Report) -> anyhow::Result<()> {
    let empty = once(arguments, ground, report, Tables::Empty).await?;
    tables::fill(arguments, ground)?;
    let _open = OpenTransaction::begin(ground)?;
    let full = once(arguments, ground, report, Tables::Full).await?;
    compare(report, &empty, &full);
    hold::measure(arguments, ground, report).await
}

async fn once(
    arguments: &Arguments,
    ground: &mut Ground,
    report: &mut Report,
    tables: Tables,
) -> anyhow::Result<(Rates, Waits)> {
    let rates = throughput::measure(arguments, ground, report, tables).await?;
    let waits = latency::measure(arguments, ground, report, tables).await?;
    Ok((rates, waits))
}

fn compare(report: &mut Report, (rates, waits): &(Rates, Waits), (full_rates, full_waits): &(Rates, Waits)) {
    let mut slower = |what: &str, times: f64, aim: Aim| {
        report.row(&format!("full tables beside empty ones: {what}, slower by"), "times", times, aim);
    };
    slower("many tasks per job", rates.many_per_job / full_rates.many_per_job, WITHIN);
    slower("one task per job", rates.one_per_job / full_rates.one_per_job, WITHIN);
    let mut latency = |when: &str, empty: Percentiles, full: Percentiles| {
        slower(&format!("latency, {when}, p50"), full.p50 / empty.p50, WITHIN);
        slower(&format!("latency, {when}, p99"), full.p99 / empty.p99, WITHIN);
        slower(&format!("latency, {when}, max"), full.max / empty.max, Aim::None);
    };
    latency("idle", waits.idle, full_waits.idle);
    latency("half rate", waits.half, full_waits.half);
}
