//! What came of it: read from the API, printed for people, written for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, ensure};
use serde::Serialize;
use serde_json::Value;
use ursa_client::Client;
use ursa_proto::v1;

/// What the demo promises.
const MAX_ERROR_RATE: f64 = 0.05;

/// The content of `result.json`.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    fetched: u64,
    /// URLs that could not be fetched, by class of error.
    failed: BTreeMap<String, u64>,
    /// Images, by reason of refusal.
    refused: BTreeMap<String, u64>,
    kept: u64,
    classes: Vec<String>,
    /// On the validation side, after each epoch of the first stage.
    first_error_rate: Vec<f64>,
    /// What the rate finder suggests for the second stage, by method.
    rates: BTreeMap<String, f64>,
    /// On the validation side, after each epoch of the second stage.
    error_rate: Vec<f64>,
    /// What is wrong with the second stage, in a sentence each.
    findings: Vec<String>,
    /// Rows are what a picture is listed as, columns what the model says.
    confusion: Vec<Vec<u64>>,
    pub(crate) predictions: Vec<Prediction>,
    /// How long each step took.
    pub(crate) seconds: BTreeMap<String, f64>,
}

/// One picture that a node was asked about.
#[derive(Debug, Serialize)]
pub(crate) struct Prediction {
    pub(crate) expected: String,
    pub(crate) got: String,
    pub(crate) probability: f64,
    /// The protocol and the node.
    pub(crate) via: String,
}

impl Report {
    /// Asks the coordinator about the newest pipeline, its dataset and its model.
    pub(crate) async fn of(client: &Client) -> anyhow::Result<Self> {
        let jobs = newest_jobs(client).await?;
        let dataset = client.datasets().get_dataset(v1::GetDatasetRequest { name: "bears".into() }).await?.into_inner();
        let models = client.models().list_models(v1::ListModelsRequest { page: None }).await?.into_inner();
        let model = models.models.first().context("no model was trained")?;
        let description: Value = serde_json::from_str(&model.model_json)?;
        let job = |name: &str| jobs.iter().find(|job| job.name == name).with_context(|| format!("no job {name}"));
        let (first, train) = (job("first")?, job("train")?);
        let mut failed = dataset.sources;
        let mut refused = dataset.images;
        Ok(Self {
            fetched: failed.remove("fetched").unwrap_or_default(),
            failed,
            kept: refused.remove("kept").unwrap_or_default(),
            refused,
            classes: model.classes.clone(),
            first_error_rate: error_rates(client, &first.id).await?,
            rates: suggested(&output(job("rate")?)?),
            error_rate: error_rates(client, &train.id).await?,
            findings: findings(&output(train)?),
            confusion: serde_json::from_value(description["metrics"]["confusion"].clone())?,
            predictions: Vec::new(),
            seconds: jobs.iter().map(|job| (job.name.clone(), seconds_of(job))).collect(),
        })
    }

    /// Writes it for programs.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        std::fs::write(path, serde_json::to_vec_pretty(self)?)
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Fails unless the demo has kept its promise.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let last = self.error_rate.last().context("no epoch was finished")?;
        ensure!(*last < MAX_ERROR_RATE, "the error rate is {:.1} %, it should be below 5 %", last * 100.0);
        let wrong = self.predictions.iter().find(|prediction| prediction.got != prediction.expected);
        ensure!(wrong.is_none(), "a picture was taken for another: {wrong:?}");
        Ok(())
    }

    /// For people.
    pub(crate) fn text(&self, dashboard: &str) -> String {
        let mut text = String::from("\n");
        let mut section = |title: &str, body: String| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{title:<13} {}", body.replace('\n', &format!("\n{:14}", "")));
        };
        section("Fetched", format!("{} pictures; not to be had: {}", self.fetched, counts(&self.failed)));
        section("Refused", counts(&self.refused));
        section("Kept", self.kept.to_string());
        section("First stage", percents(&self.first_error_rate));
        let rates = self.rates.iter().map(|(method, rate)| format!("{rate:.1e} ({method})"));
        section("Rate found", rates.collect::<Vec<_>>().join(", "));
        section("Second stage", percents(&self.error_rate));
        let nothing = "nothing is wrong".to_owned();
        section("Diagnosis", if self.findings.is_empty() { nothing } else { self.findings.join("\n") });
        section("Confusion", self.matrix());
        section("Predictions", self.predictions.iter().map(Prediction::text).collect::<Vec<_>>().join("\n"));
        let seconds = self.seconds.iter().map(|(step, seconds)| format!("{step} {seconds:.1}"));
        section("Seconds", seconds.collect::<Vec<_>>().join(", "));
        section("Dashboard", dashboard.to_owned());
        text
    }

    fn matrix(&self) -> String {
        let row = |head: &str, cells: Vec<String>| {
            let cells: Vec<String> = cells.iter().map(|cell| format!("{cell:>9}")).collect();
            format!("{head:>9}{}", cells.concat())
        };
        let numbers = |counts: &Vec<u64>| counts.iter().map(ToString::to_string).collect();
        let rows = self.classes.iter().zip(&self.confusion).map(|(class, counts)| row(class, numbers(counts)));
        std::iter::once(row("", self.classes.clone())).chain(rows).collect::<Vec<_>>().join("\n")
    }
}

impl Prediction {
    fn text(&self) -> String {
        let Self { expected, got, probability, via } = self;
        format!("{expected} is taken for {got} with {:.1} % ({via})", probability * 100.0)
    }
}

fn percents(rates: &[f64]) -> String {
    rates.iter().map(|rate| format!("{:.1} %", rate * 100.0)).collect::<Vec<_>>().join("  ")
}

fn output(job: &v1::Job) -> anyhow::Result<Value> {
    serde_json::from_str(&job.output_json).with_context(|| format!("the output of job {}", job.name))
}

fn suggested(output: &Value) -> BTreeMap<String, f64> {
    let rate = |one: &Value| Some((one["method"].as_str()?.to_owned(), one["rate"].as_f64()?));
    output["suggestions"].as_array().into_iter().flatten().filter_map(rate).collect()
}

fn findings(output: &Value) -> Vec<String> {
    let sentence = |one: &Value| {
        let problem = one["problem"].as_str()?.replace('_', " ");
        Some(format!("{problem}: {}; {}", one["seen"].as_str()?, one["advice"].as_str()?))
    };
    output["findings"].as_array().into_iter().flatten().filter_map(sentence).collect()
}

fn counts(counts: &BTreeMap<String, u64>) -> String {
    if counts.is_empty() {
        return "none".to_owned();
    }
    counts.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
}

async fn newest_jobs(client: &Client) -> anyhow::Result<Vec<v1::Job>> {
    let list = client.jobs().list_pipelines(v1::ListPipelinesRequest::default()).await?.into_inner();
    Ok(list.pipelines.into_iter().next().context("there is no pipeline")?.jobs)
}

async fn error_rates(client: &Client, job_id: &str) -> anyhow::Result<Vec<f64>> {
    let request = v1::ListMetricsRequest {
        job_id: job_id.to_owned(),
        names: vec!["error_rate".into()],
        ..v1::ListMetricsRequest::default()
    };
    let series = client.jobs().list_metrics(request).await?.into_inner().series;
    Ok(series.into_iter().flat_map(|series| series.points).map(|point| point.value).collect())
}

fn seconds_of(job: &v1::Job) -> f64 {
    let (Some(start), Some(end)) = (&job.started_at, &job.finished_at) else { return 0.0 };
    (end.seconds - start.seconds) as f64 + f64::from(end.nanos - start.nanos) / 1e9
}
