//! A bears pipeline in the middle of its life, with names as nasty as the API allows and a few it does not.

use chrono::{TimeDelta, Utc};
use serde_json::json;
use ursa_proto::{timestamp, v1};

use crate::fake::Script;

/// A class whose name would run where it is not escaped.
pub(crate) const NASTY: &str = "<script>alert('bears')</script>";

pub(crate) const MODEL: &str = "9f2c4e1ab83d5f607182939a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e";
/// Digest of a snapshot that the model was evaluated on.
pub(crate) const EVALUATED: &str = "5b0d7c21aa00ffee5b0d7c21aa00ffee5b0d7c21aa00ffee5b0d7c21aa00ffee";

/// The n-th id of a kind.
pub(crate) fn id(kind: u32, number: u32) -> String {
    format!("0193a1b2-{kind:04x}-7e5f-8a6b-{number:012x}")
}

pub(crate) fn job_id(number: u32) -> String {
    id(2, number)
}

pub(crate) fn ago(seconds: i64) -> prost_types::Timestamp {
    timestamp(Utc::now() - TimeDelta::seconds(seconds))
}

fn progress(done: u64, total: u64, unit: &str, message: &str) -> v1::Progress {
    v1::Progress { done, total, unit: unit.into(), message: message.into() }
}

fn job(number: u32, name: &str, kind: &str, state: &str) -> v1::Job {
    v1::Job {
        id: job_id(number),
        pipeline_id: id(1, 1),
        name: name.into(),
        kind: kind.into(),
        state: state.into(),
        project: "zoo".into(),
        priority: 4,
        depends_on: if number > 1 { vec![job_id(number - 1)] } else { Vec::new() },
        created_at: Some(ago(260)),
        started_at: Some(ago(250 - 40 * i64::from(number))),
        finished_at: if state == "succeeded" { Some(ago(210 - 40 * i64::from(number))) } else { None },
        ..Default::default()
    }
}

/// Scrape, verify and snapshot are done, train runs, deploy waits.
pub(crate) fn jobs() -> Vec<v1::Job> {
    vec![
        v1::Job {
            progress: Some(progress(900, 900, "urls", "")),
            output_json: json!({"fetched": 811, "http-status": 41, "timeout": 18, "too-large": 3, "connection": 27})
                .to_string(),
            ..job(1, "scrape", "scrape", "succeeded")
        },
        v1::Job {
            progress: Some(progress(811, 811, "images", "")),
            output_json: json!({"kept": 716, "duplicate": 44, "not-an-image": 22, "truncated": 19, "too-small": 10})
                .to_string(),
            ..job(2, "verify", "verify", "succeeded")
        },
        v1::Job {
            progress: Some(progress(1, 1, "snapshots", "")),
            cached_from: id(3, 3),
            output_json: json!({"dataset": "bears", "number": 1, "classes": [
                {"name": "black", "train": 191, "valid": 48}, {"name": NASTY, "train": 188, "valid": 45},
                {"name": "teddys", "train": 196, "valid": 48}]})
            .to_string(),
            ..job(3, "snapshot", "snapshot", "succeeded")
        },
        v1::Job {
            progress: Some(progress(3, 5, "epochs", "epoch 4 of 5, batch 4 of 9")),
            rate: 0.05,
            eta_seconds: 40.0,
            tasks: Some(v1::TaskCounts { total: 3, queued: 1, running: 1, dead: 1, ..Default::default() }),
            waiting_reason: "needs 1 GPU; 3 workers attached, none has a GPU".into(),
            output_json: "{}".into(),
            ..job(4, "train", "train", "running")
        },
        v1::Job {
            started_at: None,
            output_json: "{}".into(),
            waiting_reason: format!("waits for train; the queue of {NASTY} is paused"),
            looked_at_again_at: Some(ago(-1850)),
            effective_priority: 9,
            priority_of: NASTY.into(),
            ..job(5, "deploy", "deploy", "waiting")
        },
    ]
}

fn finished_pipeline() -> v1::Pipeline {
    let rename = |job: v1::Job| v1::Job {
        id: job.id.replace("-0002-", "-0003-"),
        pipeline_id: id(1, 2),
        depends_on: job.depends_on.iter().map(|one| one.replace("-0002-", "-0003-")).collect(),
        created_at: Some(ago(90_000)),
        state: if job.kind == "deploy" { "skipped" } else { "succeeded" }.into(),
        finished_at: Some(ago(89_000)),
        ..job
    };
    let mut jobs: Vec<_> = jobs().into_iter().map(rename).collect();
    jobs[3].state = "failed".into();
    jobs[3].error = "the loss is not a number after batch 41; a lower max_learning_rate (now 0.5) helps".into();
    v1::Pipeline {
        id: id(1, 2),
        name: "bears-fast".into(),
        state: "failed".into(),
        created_at: Some(ago(90_000)),
        jobs,
        project: "zoo".into(),
        rerun_of: id(1, 1),
    }
}

fn attempt(number: u32, state: &str, error: &str) -> v1::Attempt {
    v1::Attempt {
        number,
        state: state.into(),
        worker_name: "forest-1".into(),
        error_class: if error.is_empty() { 0 } else { v1::ErrorClass::Infrastructure.into() },
        error: error.into(),
        started_at: Some(ago(90 - 20 * i64::from(number))),
        ended_at: if state == "running" { None } else { Some(ago(85 - 20 * i64::from(number))) },
        gpus: vec![0, 2],
        acknowledged_at: Some(ago(90 - 20 * i64::from(number))),
        stop: None,
        cleaned_at: None,
    }
}

/// An attempt that took too long, did not end when asked to, and was ended by force.
fn stopped() -> v1::Attempt {
    let stop = v1::StopStages {
        reason: "deadline".into(),
        asked_at: Some(ago(60)),
        acknowledged_at: Some(ago(59)),
        forced_at: Some(ago(48)),
    };
    v1::Attempt {
        error_class: v1::ErrorClass::Deadline.into(),
        stop: Some(stop),
        cleaned_at: Some(ago(45)),
        ..attempt(3, "failed", "it ran for more than 2 h")
    }
}

pub(crate) fn dead_task(ordinal: u32) -> v1::Task {
    v1::Task {
        id: id(4, ordinal + 1),
        job_id: job_id(4),
        ordinal,
        state: "dead".into(),
        attempts: vec![stopped()],
        ..Default::default()
    }
}

fn tasks() -> Vec<v1::Task> {
    let running = v1::Task {
        id: id(4, 1),
        job_id: job_id(4),
        ordinal: 0,
        state: "leased".into(),
        progress: Some(progress(3, 5, "epochs", "epoch 4 of 5")),
        attempts: vec![
            attempt(1, "lost", "the worker has not reported for 10 s; the task goes on from its last checkpoint"),
            attempt(2, "running", ""),
        ],
        ready_at: None,
    };
    vec![running, dead_task(1)]
}

fn log(number: u32, level: &str, message: &str) -> v1::LogLine {
    v1::LogLine {
        id: i64::from(number),
        at: Some(ago(60 - i64::from(number))),
        level: level.into(),
        message: message.into(),
        task_id: id(4, 1),
        attempt: 2,
    }
}

fn logs() -> Vec<v1::LogLine> {
    vec![
        log(1, "info", "training resnet18 from scratch on cpu: 575 pictures, 9 batches of 64 per epoch"),
        log(2, "info", "resuming from checkpoint of epoch 2"),
        log(3, "info", "epoch 3: train loss 0.412, valid loss 0.298, error rate 9.2 %"),
        log(4, "warn", "<b>one</b> picture could not be read again and is left out of this epoch"),
    ]
}

fn series(name: &str, value: impl Fn(u32) -> f64, steps: &[u32]) -> v1::MetricSeries {
    let point = |step: &u32| v1::MetricPoint { step: u64::from(*step), epoch: (step - 1) / 40, value: value(*step) };
    v1::MetricSeries { name: name.into(), points: steps.iter().map(point).collect() }
}

fn metrics() -> Vec<v1::MetricSeries> {
    let batches: Vec<u32> = (1..=130).collect();
    let epochs = [40, 80, 120];
    let noise = |step: u32| f64::from((step * 7919) % 97) / 97.0 - 0.5;
    vec![
        series("error_rate", |step| 0.31 / (1.0 + f64::from(step) / 25.0), &epochs),
        series("gpu_memory_bytes", |_| 9.5 * 1024.0 * 1024.0 * 1024.0, &epochs),
        series("gpu_utilisation", |_| 0.93, &epochs),
        series("images_per_second", |_| 212.0, &epochs),
        series("memory_bytes", |_| 2.25 * 1024.0 * 1024.0 * 1024.0, &epochs),
        series("train_loss", |step| 1.3 / (1.0 + f64::from(step) / 45.0) + 0.35 * noise(step), &batches),
        series("train_loss_smooth", |step| 1.3 / (1.0 + f64::from(step) / 45.0), &batches),
        series("valid_loss", |step| 1.0 / (1.0 + f64::from(step) / 35.0), &epochs),
        series("validated", |_| 141.0, &epochs),
        series("wrong", |step| (44.0 / (1.0 + f64::from(step) / 25.0)).round(), &epochs),
    ]
}

fn class(name: &str, sources: u64, kept: u64, refused: u64) -> v1::ClassSummary {
    v1::ClassSummary { name: name.into(), sources, kept, refused }
}

fn dataset() -> v1::Dataset {
    let counts = |pairs: &[(&str, u64)]| pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
    v1::Dataset {
        name: "bears".into(),
        classes: vec![class("black", 300, 239, 31), class(NASTY, 300, 233, 35), class("teddys", 300, 244, 29)],
        sources: counts(&[
            ("fetched", 811),
            ("http-status", 41),
            ("connection", 27),
            ("timeout", 18),
            ("too-large", 3),
        ]),
        images: counts(&[("kept", 716), ("duplicate", 44), ("not-an-image", 22), ("truncated", 19), ("too-small", 10)]),
        latest_snapshot: 1,
        created_at: Some(ago(250)),
    }
}

fn image(number: u32) -> v1::Image {
    let refused = number % 7 == 5;
    let reason = if refused { "truncated" } else { "" };
    v1::Image {
        id: id(5, number),
        class: ["black", NASTY, "teddys"][number as usize % 3].into(),
        verdict: if refused { "refused" } else { "kept" }.into(),
        reason: reason.into(),
        detail: if refused { "the picture ends after 61 % of its lines".into() } else { String::new() },
        bytes: 48_213 + u64::from(number) * 977,
        width: if refused { 0 } else { 640 },
        height: if refused { 0 } else { 480 },
        url: format!("http://bears.example/{number}.jpg?a=\"b\""),
        ..Default::default()
    }
}

fn source(number: u32) -> v1::Source {
    v1::Source {
        id: id(6, number),
        class: "black".into(),
        list_name: "urls_black.csv".into(),
        line: number * 7,
        url: format!("http://bears.example/missing/{number}.jpg"),
        outcome: "failed".into(),
        error_class: if number.is_multiple_of(3) { "timeout" } else { "http-status" }.into(),
        error: if number.is_multiple_of(3) { "no answer within 10 s" } else { "the server answered 404 Not Found" }
            .into(),
        duration_ms: 31 * number,
        fetched_at: Some(ago(200)),
        ..Default::default()
    }
}

fn snapshot() -> v1::Snapshot {
    let class = |name: &str| v1::SnapshotClass { name: name.into(), train: 192, valid: 47 };
    v1::Snapshot {
        id: id(7, 1),
        dataset: "bears".into(),
        number: 1,
        digest: MODEL.chars().rev().collect(),
        seed: 42,
        valid_percent: 20,
        classes: ["black", NASTY, "teddys"].map(class).to_vec(),
        created_at: Some(ago(120)),
    }
}

fn model() -> v1::Model {
    let manifest = json!({
        "schema_version": 1, "architecture": "resnet18", "classes": ["black", NASTY, "teddys"],
        "metrics": {"error_rate": 0.021, "wrong": 3, "validated": 141, "valid_loss": 0.0712, "epochs": 5,
            "confusion": [[47, 1, 0], [2, 43, 0], [0, 0, 48]]},
        "lineage": {"job_id": job_id(4), "snapshot_id": id(7, 1), "dataset": "bears", "snapshot_number": 1,
            "seed": 42, "code_version": "0.1.0", "pretrained": null, "sources": {"images": 575, "hosts": 2,
                "top_hosts": [{"host": "img.example", "images": 500}, {"host": NASTY, "images": 75}],
                "licences": {"CC-BY-4.0": 75, "unknown": 500}}},
    });
    v1::Model {
        digest: MODEL.into(),
        architecture: "resnet18".into(),
        classes: ["black", NASTY, "teddys"].map(str::to_owned).to_vec(),
        error_rate: 0.021,
        job_id: job_id(4),
        snapshot_id: id(7, 1),
        model_json: serde_json::to_string_pretty(&manifest).unwrap(),
        created_at: Some(ago(4000)),
        evaluations: vec![evaluation()],
    }
}

/// Of the model on a later snapshot than its own.
fn evaluation() -> v1::Evaluation {
    v1::Evaluation {
        snapshot_digest: EVALUATED.into(),
        snapshot_id: id(7, 2),
        dataset: "bears".into(),
        snapshot_number: 2,
        errors: Some(wrong(9, 60, 0.081, 0.261)),
        class_errors: vec![wrong(1, 20, 0.009, 0.236), wrong(8, 40, 0.105, 0.348), wrong(0, 0, 0.0, 1.0)],
        loss: 0.4211,
        job_id: job_id(4),
        evaluated_at: Some(ago(60)),
    }
}

fn wrong(wrong: u64, of: u64, low: f64, high: f64) -> v1::ErrorShare {
    v1::ErrorShare { wrong, of, low, high }
}

/// A picture that the model is wrong about, or nearly.
fn judged(number: u32) -> v1::JudgedImage {
    let (loss, margin) = (4.1 / f64::from(number), 0.04 * number as f32);
    v1::JudgedImage {
        image_id: id(5, number),
        actual: number % 3,
        predicted: (number / 2) % 3,
        probability: 0.5 + margin / 2.0,
        probability_of_actual: 0.5 - margin / 2.0,
        margin,
        loss,
        url: format!("http://bears.example/{number}.jpg?a=\"b\""),
    }
}

pub(crate) fn interpretation() -> v1::Interpretation {
    let counts = [[47, 1, 0], [2, 43, 0], [0, 0, 48]];
    let bin = |place: u32| {
        let (above, up_to, count) =
            (f64::from(place) / 15.0, f64::from(place + 1) / 15.0, u64::from(place.saturating_sub(6) * 5));
        let (confidence, accuracy) = if count > 0 { (above + 0.03, above - 0.05) } else { (0.0, 0.0) };
        v1::CalibrationBin { above, up_to, count, confidence, accuracy, low: accuracy - 0.1, high: accuracy + 0.04 }
    };
    v1::Interpretation {
        digest: MODEL.into(),
        side: "valid".into(),
        classes: ["black", NASTY, "teddys"].map(str::to_owned).to_vec(),
        images: 141,
        errors: Some(wrong(3, 141, 0.0073, 0.0607)),
        class_errors: vec![wrong(1, 48, 0.0037, 0.1090), wrong(2, 45, 0.0123, 0.1484), wrong(0, 48, 0.0, 0.0741)],
        confusion: counts.map(|row| v1::ConfusionRow { counts: row.to_vec() }).to_vec(),
        most_confused: vec![
            v1::ConfusedPair { actual: 1, predicted: 0, count: 2 },
            v1::ConfusedPair { actual: 0, predicted: 1, count: 1 },
        ],
        top_losses: (1..=18).map(judged).collect(),
        most_unsure: (1..=18).map(judged).collect(),
        calibration: Some(v1::Calibration { error: 0.034, bins: (0..15).map(bin).collect() }),
        ..v1::Interpretation::default()
    }
}

pub(crate) fn assignment(name: &str, http_address: &str, state: &str) -> v1::Assignment {
    v1::Assignment {
        node_id: id(8, 1),
        node_name: name.into(),
        http_address: http_address.into(),
        grpc_address: "http://127.0.0.1:8101".into(),
        serving_digest: if state == "ready" { MODEL.into() } else { String::new() },
        state: state.into(),
        error: if state == "failed" { "golden example 3 differs by 0.41".into() } else { String::new() },
    }
}

fn endpoint() -> v1::Endpoint {
    v1::Endpoint {
        name: "bears".into(),
        model_digest: MODEL.into(),
        generation: 3,
        assignments: vec![
            assignment("den-1", "http://127.0.0.1:8100", "ready"),
            assignment("den-2", "http://127.0.0.1:8200", "failed"),
        ],
        updated_at: Some(ago(3900)),
    }
}

fn gpu() -> v1::Gpu {
    v1::Gpu {
        model: "NVIDIA H100".into(),
        memory_bytes: 80 << 30,
        free_bytes: 61 << 30,
        driver: "550.54.15".into(),
        index: 0,
        utilisation_percent: Some(37),
    }
}

fn projects() -> Vec<v1::Project> {
    let zoo = v1::Project {
        name: "zoo".into(),
        weight: 2.5,
        max_running: Some(10),
        running: 3,
        gpus: 1,
        created_at: Some(ago(5000)),
        ..Default::default()
    };
    vec![v1::Project { name: "den".into(), weight: 1.0, paused: true, max_running: None, ..zoo.clone() }, zoo]
}

fn queues() -> Vec<v1::Queue> {
    let queue = |kind: &str, ready, paused| v1::Queue {
        kind: kind.into(),
        paused,
        ready,
        running: 2,
        oldest_seconds: if ready > 0 { 185.0 } else { 0.0 },
    };
    vec![queue("scrape", 1234, false), queue("train", 0, true)]
}

fn schedule(number: u32) -> v1::Schedule {
    v1::Schedule {
        name: format!("nightly-{number}"),
        cron: "0 3 * * *".into(),
        time_zone: "Europe/Berlin".into(),
        missed: "once".into(),
        paused: number == 2,
        pipeline: Some(v1::PipelineSpec {
            name: "bears".into(),
            project: "zoo".into(),
            jobs: vec![v1::JobDefinition { name: "scrape".into(), ..Default::default() }],
            ..Default::default()
        }),
        next_at: Some(ago(-7300)),
        last_at: Some(ago(80_000)),
        last_pipeline_id: id(1, 1),
        last_error: if number == 2 { format!("job {NASTY:?}: epochs is 0") } else { String::new() },
    }
}

fn webhook() -> v1::Webhook {
    v1::Webhook {
        id: id(10, 1),
        url: format!("https://example.org/hook?a={NASTY}"),
        project: String::new(),
        kinds: vec!["job.".into()],
        created_at: Some(ago(5000)),
    }
}

fn delivery(number: i64) -> v1::Delivery {
    let state = ["delivered", "pending", "failed"][number as usize % 3];
    v1::Delivery {
        id: number,
        webhook_id: id(10, 1),
        event_id: 1000 + number,
        kind: "job.succeeded".into(),
        state: state.into(),
        attempts: 2,
        http_status: if state == "delivered" { 204 } else { 503 },
        error: if state == "delivered" { String::new() } else { "the answer was 503 Service Unavailable".into() },
        next_at: Some(ago(-1850)),
        delivered_at: (state == "delivered").then(|| ago(5)),
    }
}

fn worker(number: u32, state: &str) -> v1::Worker {
    v1::Worker {
        id: id(9, number),
        name: format!("forest-{number}"),
        state: state.into(),
        version: "0.1.0".into(),
        slots: 4,
        running: u32::from(state == "online"),
        gpus: if number == 1 { vec![gpu()] } else { vec![] },
        labels: [("zone".to_owned(), NASTY.to_owned()), ("ssd".to_owned(), String::new())].into(),
        kinds: if number == 1 { Vec::new() } else { vec!["scrape".into(), "verify".into()] },
        draining: number == 2,
        last_seen_at: Some(ago(i64::from(number) * 400 - 399)),
    }
}

fn node() -> v1::Node {
    let status = v1::EndpointStatus {
        endpoint: "bears".into(),
        model_digest: MODEL.into(),
        serving_digest: MODEL.into(),
        state: "ready".into(),
        error: String::new(),
    };
    v1::Node {
        id: id(8, 1),
        name: "den-1".into(),
        state: "online".into(),
        version: "0.1.0".into(),
        http_address: "http://127.0.0.1:8100".into(),
        grpc_address: "http://127.0.0.1:8101".into(),
        endpoints: vec![status],
        last_seen_at: Some(ago(1)),
    }
}

/// All of it.
pub(crate) fn bears() -> Script {
    let running = v1::Pipeline {
        id: id(1, 1),
        name: "bears".into(),
        state: "running".into(),
        created_at: Some(ago(260)),
        jobs: jobs(),
        project: "zoo".into(),
        rerun_of: String::new(),
    };
    let urls: Vec<_> = (0..300).map(|number| format!("http://bears.example/{number}.jpg")).collect();
    Script {
        pipelines: vec![running, finished_pipeline()],
        tasks: tasks(),
        spec_json: json!({"train": {"epochs": 5, "classes": [{"name": NASTY, "urls": urls}]}}).to_string(),
        logs: logs(),
        metrics: metrics(),
        runs: Vec::new(),
        datasets: vec![dataset()],
        images: (1..=70).map(image).collect(),
        picture: vec![0xff, 0xd8, 0xff, 0xd9],
        sources: (1..=9).map(source).collect(),
        snapshots: vec![snapshot()],
        models: vec![model()],
        interpretation: Some(interpretation()),
        heatmaps: Vec::new(),
        endpoints: vec![endpoint()],
        workers: vec![worker(1, "online"), worker(2, "offline")],
        nodes: vec![node()],
        projects: projects(),
        queues: queues(),
        schedules: (1..=60).map(schedule).collect(),
        webhooks: vec![webhook()],
        deliveries: (1..=60).map(delivery).collect(),
        events: Vec::new(),
    }
}
