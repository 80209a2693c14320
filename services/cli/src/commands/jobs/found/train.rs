//! Training: how good the model is, how the runs differ, and what went wrong.

use serde_json::{Value, json};
use ursa_client::learned::{Changes, Finding, Run, Spread, Trained};
use ursa_proto::v1;

use super::wrapped;
use crate::output::{Column, table};
use crate::text;

const RUNS: &[Column] = &[
    ("DATA", "data"),
    ("SEED", "seed"),
    ("LEARNED FROM", "trained"),
    ("WRONG", "wrong"),
    ("ERROR RATE", "error_rate"),
    ("95 %", "interval"),
    ("MODEL", "model"),
];
const SPREAD: &[Column] = &[
    ("DATA", "data"),
    ("RUNS", "runs"),
    ("MEAN ERROR RATE", "mean"),
    ("DEVIATION", "deviation"),
    ("LOWEST", "lowest"),
    ("HIGHEST", "highest"),
];

pub(super) fn parts(trained: &Trained, job: &v1::Job, spec_json: &str) -> Vec<String> {
    let is_one = trained.runs.len() < 2;
    let mut parts = vec![headline(trained)];
    if !is_one {
        parts.push(format!("Runs\n\n{}", runs(trained)));
    }
    if !is_one && !trained.spread.is_empty() {
        parts.push(format!("Spread over seeds\n\n{}", spread(trained)));
    }
    parts.extend((1..).zip(&trained.findings).map(|(place, finding)| told(place, finding, job, spec_json)));
    parts
}

/// `Model 9f2c4e1ab83d: 3 of 141 wrong, an error rate of 2.1 % (0.7–6.1 % with 95 % confidence)`.
fn headline(trained: &Trained) -> String {
    let Some(digest) = trained.model_digest.as_deref() else { return String::new() };
    let digest = digest.get(..12).unwrap_or(digest);
    let Some(rate) = trained.error_rate() else { return format!("Model {digest}") };
    let best = trained.best();
    let counted = best.and_then(|run| run.wrong).map(|(wrong, of)| format!("{wrong} of {of} pictures wrong, "));
    let interval = best.and_then(Run::interval);
    let interval = interval.map(|interval| format!(" ({} with 95 % confidence)", text::percents(interval)));
    format!(
        "Model {digest}: {}an error rate of {}{}",
        counted.unwrap_or_default(),
        text::percent(rate),
        interval.unwrap_or_default()
    )
}

fn runs(trained: &Trained) -> String {
    let is_best = |digest: &str| trained.model_digest.as_deref() == Some(digest);
    let row = |run: &Run| {
        let digest = run.model_digest.get(..12).unwrap_or(&run.model_digest);
        json!({
            "data": format!("{} %", run.train_percent), "seed": run.seed,
            "trained": if run.trained > 0 { json!(run.trained) } else { Value::Null },
            "wrong": run.wrong.map(|(wrong, of)| format!("{wrong}/{of}")), "error_rate": text::percent(run.error_rate),
            "interval": run.interval().map(text::percents),
            "model": if is_best(&run.model_digest) { format!("{digest} (the job's)") } else { digest.to_owned() },
        })
    };
    table(&trained.runs.iter().map(row).collect::<Vec<_>>(), RUNS)
}

fn spread(trained: &Trained) -> String {
    let row = |spread: &Spread| {
        json!({
            "data": format!("{} %", spread.train_percent), "runs": spread.runs, "mean": text::percent(spread.mean),
            "deviation": spread.deviation.map(text::percent), "lowest": spread.lowest.map(text::percent),
            "highest": spread.highest.map(text::percent),
        })
    };
    table(&trained.spread.iter().map(row).collect::<Vec<_>>(), SPREAD)
}

fn told(place: usize, finding: &Finding, job: &v1::Job, spec_json: &str) -> String {
    let mut lines = vec![format!("{place}. {}", finding.title())];
    for (head, said) in
        [("   seen    ", &finding.seen), ("   why     ", &finding.why), ("   to do   ", &finding.advice)]
    {
        if !said.is_empty() {
            lines.push(wrapped(head, said));
        }
    }
    if let Some(changes) = Changes::of(finding, &job.id, spec_json) {
        let yaml = changes.yaml(&job.name);
        let yaml = yaml.lines().enumerate().map(|(index, line)| {
            let head = if index == 0 { "   recipe  " } else { "           " };
            format!("{head}{line}")
        });
        lines.extend(yaml);
        lines.push(format!("   run     {}", changes.command(&job.pipeline_id, &job.name)));
    }
    lines.join("\n")
}
