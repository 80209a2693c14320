//! Searches: the trials, the best first, and the job that follows the best.

use serde_json::{Value, json};
use ursa_client::learned::{Measured, Searched, Trial};
use ursa_proto::v1;

use crate::output::{Column, table};
use crate::text;

const BEFORE: [Column; 2] = [("", "place"), ("TRIAL", "trial")];
const AFTER: [Column; 6] = [
    ("EPOCHS", "epochs"),
    ("WRONG", "wrong"),
    ("ERROR RATE", "error_rate"),
    ("95 %", "interval"),
    ("LOSS", "loss"),
    ("STATE", "state"),
];

pub(super) fn parts(searched: &Searched, job: &v1::Job, spec_json: &str) -> Vec<String> {
    if searched.trials.is_empty() {
        return Vec::new();
    }
    vec![
        headline(searched),
        format!("Trials, the best first\n\n{}", trials(searched, job)),
        train_job(searched, spec_json),
    ]
}

/// `16 trials in rungs of 1, 3 and 9 epochs; the best model is 9f2c4e1ab83d`
fn headline(searched: &Searched) -> String {
    let rungs: Vec<String> = searched.rungs.iter().map(ToString::to_string).collect();
    let ends = match &rungs[..] {
        [rest @ .., last] if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        all => all.concat(),
    };
    let model = searched.model_digest.as_deref();
    let model = model.map(|digest| format!("; the best model is {}", digest.get(..12).unwrap_or(digest)));
    format!("{} trials in rungs to {ends} epochs{}", searched.trials.len(), model.unwrap_or_default())
}

fn trials(searched: &Searched, job: &v1::Job) -> String {
    let names = searched.hyperparameters();
    let columns: Vec<Column> = BEFORE.into_iter().chain(names.iter().map(|name| (*name, *name))).chain(AFTER).collect();
    let is_active = matches!(job.state.as_str(), "waiting" | "running" | "cancelling");
    let rows: Vec<Value> = (1..)
        .zip(&searched.trials)
        .map(|(place, trial)| row(place, trial, searched.standing(trial, is_active)))
        .collect();
    table(&rows, &columns)
}

fn row(place: u32, trial: &Trial, state: &str) -> Value {
    let last = trial.results.last();
    let errors = last.map(Measured::proportion);
    let mut row = json!({
        "place": place, "trial": trial.number, "state": state,
        "epochs": last.map(|last| last.epochs), "loss": last.map(|last| format!("{:.4}", last.loss)),
        "wrong": errors.map(|errors| format!("{}/{}", errors.count, errors.of)),
        "error_rate": errors.map(|errors| text::percent(errors.rate())),
        "interval": errors.map(|errors| text::percents(errors.interval())),
    });
    for (parameter, value) in &trial.settings {
        row[parameter.as_str()] = json!(value.to_string());
    }
    row
}

fn train_job(searched: &Searched, spec_json: &str) -> String {
    let job = searched.train_job(spec_json).map(|job| job.yaml("train"));
    job.map_or_else(String::new, |yaml| format!("The best trial as a job of its own\n\n{}", yaml.trim_end()))
}
