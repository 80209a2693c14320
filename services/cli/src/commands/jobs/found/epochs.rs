//! What each epoch gave, as fastai prints it.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use ursa_client::learned::Proportion;
use ursa_proto::v1;

use crate::output::{Column, table};
use crate::text;

/// What is measured after every epoch.
pub(super) const SERIES: [&str; 6] =
    ["train_loss_smooth", "train_loss_measured", "valid_loss", "error_rate", "wrong", "validated"];
/// Of each run so many are shown, the last ones.
const SHOWN: usize = 12;
const EPOCHS: &[Column] = &[
    ("EPOCH", "epoch"),
    ("TRAIN LOSS", "train_loss"),
    ("MEASURED", "measured"),
    ("VALID LOSS", "valid_loss"),
    ("ERROR RATE", "error_rate"),
];
const OF_RUNS: &[Column] = &[
    ("DATA", "data"),
    ("SEED", "seed"),
    ("EPOCH", "epoch"),
    ("TRAIN LOSS", "train_loss"),
    ("MEASURED", "measured"),
    ("VALID LOSS", "valid_loss"),
    ("ERROR RATE", "error_rate"),
];

/// A table of the last epochs of each run; nothing where no epoch has ended.
pub(super) fn part(runs: &[v1::RunMetrics]) -> String {
    let rows: Vec<Value> = runs.iter().flat_map(rows).collect();
    match (rows.is_empty(), runs.len()) {
        (true, _) => String::new(),
        (false, 1) => table(&rows, EPOCHS),
        (false, _) => table(&rows, OF_RUNS),
    }
}

fn rows(run: &v1::RunMetrics) -> Vec<Value> {
    let [smooth, measured, valid, errors, wrong, validated] = SERIES.map(|name| by_epoch(run, name));
    let loss = |values: &BTreeMap<u32, f64>, epoch: u32| values.get(&epoch).map(|loss| format!("{loss:.4}"));
    let counted = |epoch: &u32| {
        let (count, of) = (*wrong.get(epoch)? as u64, *validated.get(epoch)? as u64);
        Some(Proportion { count, of }.to_string())
    };
    let ended: Vec<u32> = valid.keys().copied().collect();
    let row = |epoch: &u32| {
        json!({
            "data": format!("{} %", run.train_percent), "seed": run.seed, "epoch": epoch + 1,
            "train_loss": loss(&smooth, *epoch), "measured": loss(&measured, *epoch), "valid_loss": loss(&valid, *epoch),
            "error_rate": counted(epoch).or_else(|| errors.get(epoch).copied().map(text::percent)),
        })
    };
    ended[ended.len().saturating_sub(SHOWN)..].iter().map(row).collect()
}

/// The last value of each epoch that is a number.
fn by_epoch(run: &v1::RunMetrics, name: &str) -> BTreeMap<u32, f64> {
    let points = run.series.iter().filter(|series| series.name == name).flat_map(|series| &series.points);
    points.filter(|point| point.value.is_finite()).map(|point| (point.epoch, point.value)).collect()
}
