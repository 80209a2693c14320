//! `ursa predict`.

mod ask;
mod nodes;

use anyhow::bail;
use clap::Args;
use futures::StreamExt as _;
use serde::Serialize;
use serde_json::json;
use ursa_client::Client;
use ursa_proto::{ApiError, ErrorCode, v1};

use crate::output::{Column, Output};
use crate::say;
use ask::Picture;

/// Enough to keep a node's batches full.
const AT_A_TIME: usize = 8;

/// What to classify.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// The endpoint to ask.
    endpoint: String,
    /// Pictures: files, or http(s) URLs, which the node fetches.
    #[arg(required = true, value_name = "FILE|URL")]
    inputs: Vec<String>,
}

/// What an endpoint makes of one picture.
#[derive(Debug, Serialize)]
struct Prediction {
    input: String,
    endpoint: String,
    model_digest: String,
    /// The most probable first.
    predictions: Vec<ask::Class>,
    /// Name of the node that answered.
    node: String,
}

const COLUMNS: &[Column] = &[
    ("FILE", "input"),
    ("CLASS", "class"),
    ("PROBABILITY", "probability"),
    ("SECOND BEST", "second"),
    ("MODEL", "model"),
];

pub(crate) async fn run(flags: &Flags, client: &Client, output: &Output) -> anyhow::Result<()> {
    let endpoint = endpoint(client, &flags.endpoint).await?;
    let nodes = nodes::serving(&endpoint)?;
    let http = ask::client()?;
    let asked = flags.inputs.iter().enumerate().map(|(place, input)| {
        let (http, nodes, endpoint) = (&http, nodes::turned(&nodes, place), &endpoint.name);
        async move { (input, ask::first_answer(http, &nodes, endpoint, &Picture::named(input)).await) }
    });
    let answers: Vec<_> = futures::stream::iter(asked).buffered(AT_A_TIME).collect().await;
    let mut predictions = Vec::new();
    for (input, answer) in answers {
        match answer {
            Ok(answer) => predictions.push(Prediction {
                input: input.clone(),
                endpoint: endpoint.name.clone(),
                model_digest: answer.model_digest,
                predictions: answer.predictions,
                node: answer.node,
            }),
            Err(error) => say(&format!("error: {input}: {error:#}")),
        }
    }
    if !predictions.is_empty() || flags.inputs.is_empty() {
        let rows: Vec<_> = predictions.iter().map(row).collect();
        output.print_rows(&serde_json::to_value(&predictions)?, &rows, COLUMNS)?;
    }
    match flags.inputs.len() - predictions.len() {
        0 => Ok(()),
        failed => bail!("{failed} of {} got no prediction", flags.inputs.len()),
    }
}

async fn endpoint(client: &Client, name: &str) -> anyhow::Result<v1::Endpoint> {
    let request = v1::GetEndpointRequest { name: name.to_owned() };
    match client.endpoints().get_endpoint(request).await.map_err(ApiError::from) {
        Ok(endpoint) => Ok(endpoint.into_inner()),
        Err(error) if error.code == ErrorCode::NotFound => {
            bail!("{error}; `ursa endpoints list` shows those there are")
        }
        Err(error) => Err(error.into()),
    }
}

/// A prediction as people read it.
fn row(prediction: &Prediction) -> serde_json::Value {
    let mut best = prediction.predictions.iter();
    let first = best.next();
    json!({
        "input": prediction.input,
        "class": first.map(|class| &class.class),
        "probability": first.map(|class| percent(class.probability)),
        "second": best.next().map(|class| format!("{} {}", class.class, percent(class.probability))),
        "model": prediction.model_digest.get(..12).unwrap_or(&prediction.model_digest),
    })
}

fn percent(probability: f64) -> String {
    format!("{:.1} %", probability * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_see_the_two_best_classes() {
        let class = |class: &str, probability| ask::Class { class: class.into(), probability };
        let mut prediction = Prediction {
            input: "a.jpg".into(),
            endpoint: "bears".into(),
            model_digest: "0123456789abcdef".into(),
            predictions: vec![class("teddy", 0.98765), class("black", 0.0123)],
            node: "node-1".into(),
        };
        let seen = row(&prediction);
        assert_eq!((seen["probability"].as_str(), seen["second"].as_str()), (Some("98.8 %"), Some("black 1.2 %")));
        assert_eq!(seen["model"], "0123456789ab");
        prediction.predictions.truncate(1);
        assert!(row(&prediction)["second"].is_null());
    }
}
