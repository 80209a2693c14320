//! One model as people read it.

use serde_json::{Value, json};
use ursa_client::learned::Sources;
use ursa_proto::v1;

use crate::output::{Column, facts, table};
use crate::text;

const EVALUATIONS: &[Column] = &[
    ("EVALUATED ON", "snapshot"),
    ("WRONG", "wrong"),
    ("ERROR RATE", "rate"),
    ("95 %", "interval"),
    ("DIGEST", "digest"),
    ("JOB", "job"),
];

/// What the model is, how good, and where it came from.
pub(super) fn detail(model: &v1::Model) -> String {
    let manifest: Value = serde_json::from_str(&model.model_json).unwrap_or_default();
    let (metrics, lineage) = (&manifest["metrics"], &manifest["lineage"]);
    let word = |value: &Value| value.as_str().map_or_else(String::new, str::to_owned);
    let number = |value: &Value| value.as_u64().map_or_else(String::new, |number| number.to_string());
    let wrong = match (metrics["wrong"].as_u64(), metrics["validated"].as_u64()) {
        (Some(wrong), Some(of)) => format!("{} ({wrong} of {of} pictures wrong)", text::percent(model.error_rate)),
        _ => text::percent(model.error_rate),
    };
    let snapshot = match (lineage["dataset"].as_str(), lineage["snapshot_number"].as_u64()) {
        (Some(dataset), Some(number)) => format!("{dataset}@{number}"),
        _ => model.snapshot_id.clone(),
    };
    let mut rows = vec![
        ("Model", model.digest.clone()),
        ("Architecture", model.architecture.clone()),
        ("Classes", model.classes.join(", ")),
        ("Error rate", wrong),
        ("Registered", text::time(model.created_at.as_ref())),
        ("Trained by", format!("job {}", model.job_id)),
        ("Learned from", snapshot),
        ("Manifest", word(&lineage["snapshot_digest"])),
        ("Seed", number(&lineage["seed"])),
        ("Pretrained", lineage["pretrained"].as_str().unwrap_or("no, from scratch").to_owned()),
    ];
    rows.extend(sources(&lineage["sources"]));
    if model.evaluations.is_empty() {
        return facts(&rows);
    }
    format!("{}\n\n{}", facts(&rows), evaluations(&model.evaluations))
}

/// How it does on other snapshots.
fn evaluations(evaluations: &[v1::Evaluation]) -> String {
    let row = |evaluation: &v1::Evaluation| {
        let v1::ErrorShare { wrong, of, low, high } = evaluation.errors.unwrap_or_default();
        let digest = &evaluation.snapshot_digest;
        json!({
            "snapshot": format!("{}@{}", evaluation.dataset, evaluation.snapshot_number), "wrong": format!("{wrong}/{of}"),
            "rate": text::percent(wrong as f64 / of.max(1) as f64), "interval": text::percents((low, high)),
            "digest": digest.get(..12).unwrap_or(digest), "job": evaluation.job_id,
        })
    };
    table(&evaluations.iter().map(row).collect::<Vec<_>>(), EVALUATIONS)
}

/// Of the pictures that it learned from; the manifest has the URL of each.
fn sources(sources: &Value) -> Vec<(&'static str, String)> {
    let Ok(sources) = serde_json::from_value::<Sources>(sources.clone()) else { return Vec::new() };
    vec![
        ("Pictures", sources.images.to_string()),
        ("Licences", sources.licences_in_a_line()),
        ("Hosts", sources.hosts_in_a_line()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_model_came_from_is_told_and_an_old_one_needs_no_sources() {
        let json = r#"{"metrics": {"wrong": 3, "validated": 141}, "lineage": {"dataset": "bears", "snapshot_number": 2,
            "snapshot_digest": "abcd", "seed": 42, "pretrained": null, "sources": {"images": 575, "hosts": 12,
            "top_hosts": [{"host": "img.example", "images": 300}], "licences": {"CC-BY-4.0": 75, "unknown": 500}}}}"#;
        let model = v1::Model { error_rate: 0.021, model_json: json.into(), ..v1::Model::default() };
        let told = detail(&model);
        for said in [
            "2.1 % (3 of 141 pictures wrong)",
            "bears@2",
            "abcd",
            "no, from scratch",
            "500 unknown, 75 CC-BY-4.0",
            "img.example (300) and 11 others",
        ] {
            assert!(told.contains(said), "{said}: {told}");
        }
        let evaluation = v1::Evaluation {
            snapshot_digest: "5b0d7c21aa00ffee".into(),
            dataset: "bears".into(),
            snapshot_number: 4,
            errors: Some(v1::ErrorShare { wrong: 9, of: 60, low: 0.081, high: 0.261 }),
            job_id: "a-job".into(),
            ..v1::Evaluation::default()
        };
        let told = detail(&v1::Model { evaluations: vec![evaluation], ..model });
        for said in ["EVALUATED ON", "bears@4", "9/60", "15.0 %", "8.1–26.1 %", "5b0d7c21aa00", "a-job"] {
            assert!(told.contains(said), "{said}: {told}");
        }
        let old = detail(&v1::Model { model_json: "{}".into(), ..v1::Model::default() });
        assert!(!old.contains("Licences") && !old.contains("EVALUATED") && old.contains("0.0 %"), "{old}");
    }
}
