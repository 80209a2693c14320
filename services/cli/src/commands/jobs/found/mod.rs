//! What jobs that learn found, as people read it. One file per kind.

mod epochs;
mod evaluate;
mod explain;
mod find_lr;
mod search;
mod sgd_lab;
mod train;

use ursa_client::Client;
use ursa_client::learned::{Evaluated, Explained, Fitted, FoundRates, Searched, Trained};
use ursa_proto::{ApiError, v1};

/// Columns of text: what is longer is wrapped.
const WIDTH: usize = 100;

/// Whether jobs of this kind leave behind something that is told here.
pub(in crate::commands) fn is_told(kind: &str) -> bool {
    matches!(kind, "evaluate" | "explain" | "find_lr" | "search" | "sgd_lab" | "train")
}

/// What a job found so far, from what the coordinator tells of it and the measurements it has; nothing where there is
/// nothing yet.
pub(in crate::commands) async fn text(client: &Client, detail: &v1::JobDetail) -> Result<String, ApiError> {
    let Some(job) = &detail.job else { return Ok(String::new()) };
    let runs = match job.kind.as_str() {
        "sgd_lab" => measured(client, &job.id, &sgd_lab::SERIES).await?,
        "train" => measured(client, &job.id, &epochs::SERIES).await?,
        _ => Vec::new(),
    };
    Ok(told(job, &detail.spec_json, &runs))
}

/// What was measured in each run. A coordinator of the version before does not tell them apart.
async fn measured(client: &Client, job_id: &str, names: &[&str]) -> Result<Vec<v1::RunMetrics>, ApiError> {
    let names = names.iter().map(ToString::to_string).collect();
    let of_job = v1::ListMetricsRequest { job_id: job_id.to_owned(), ..v1::ListMetricsRequest::default() };
    let request = v1::ListMetricsRequest { names, by_run: true, ..of_job };
    let v1::ListMetricsResponse { series, mut runs } = client.jobs().list_metrics(request).await?.into_inner();
    if !series.is_empty() {
        runs.push(v1::RunMetrics { series, train_percent: 100, ..v1::RunMetrics::default() });
    }
    Ok(runs)
}

fn told(job: &v1::Job, spec_json: &str, runs: &[v1::RunMetrics]) -> String {
    let parts = match job.kind.as_str() {
        "evaluate" => evaluate::parts(&Evaluated::read(&job.output_json)),
        "explain" => explain::parts(&Explained::read(&job.output_json)),
        "find_lr" => find_lr::parts(&FoundRates::read(&job.output_json)),
        "sgd_lab" => {
            let metrics = runs.first().map_or(&[][..], |run| run.series.as_slice());
            sgd_lab::parts(&Fitted::read(&job.output_json), metrics)
        }
        "search" => search::parts(&Searched::read(&job.output_json), job, spec_json),
        "train" => {
            let told = train::parts(&Trained::read(&job.output_json), job, spec_json);
            [epochs::part(runs)].into_iter().chain(told).collect()
        }
        _ => Vec::new(),
    };
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n")
}

/// `text` in lines of at most [`WIDTH`], the first after `head`, the others below it.
fn wrapped(head: &str, text: &str) -> String {
    let indent = head.chars().count();
    let mut lines = vec![head.to_owned()];
    let mut length = indent;
    for word in text.split_whitespace() {
        let size = word.chars().count();
        let is_first = length == indent;
        if !is_first && length + 1 + size > WIDTH {
            lines.push(" ".repeat(indent));
            length = indent;
        }
        if let Some(line) = lines.last_mut() {
            if length > indent {
                line.push(' ');
                length += 1;
            }
            line.push_str(word);
            length += size;
        }
    }
    lines.join("\n").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_sentences_are_wrapped_below_where_they_began() {
        let text = wrapped("  why  ", &"word ".repeat(40));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[0].starts_with("  why  word") && lines[1].starts_with("       word"), "{text}");
        assert!(lines.iter().all(|line| line.len() <= WIDTH), "{text}");
        assert_eq!(wrapped("head: ", ""), "head:");
        assert_eq!(wrapped("", &"x".repeat(200)).lines().count(), 1, "what cannot be broken is not");
    }

    #[test]
    fn an_output_that_is_none_says_nothing() {
        for kind in ["train", "search", "evaluate", "explain", "find_lr", "sgd_lab", "scrape", ""] {
            for output in
                ["", "{}", "null", "[1]", r#"{"runs":"x","curve":7,"findings":[3],"suggestions":{},"verdict":1}"#]
            {
                let job = v1::Job { kind: kind.into(), output_json: output.into(), ..v1::Job::default() };
                assert_eq!(told(&job, "", &[]), "", "{kind}: {output}");
            }
        }
    }
}
