//! A picture's way to a node and the prediction's way back, over the node's public HTTP interface.

use http::StatusCode;
use reqwest::{Client, RequestBuilder, Url};
use serde::Deserialize;
use serde_json::json;
use ursa_proto::v1;

use super::{Refused, Submission};

/// What a node answers, and which one it was.
#[derive(Debug, Deserialize)]
pub(super) struct Prediction {
    /// Digest of the model that answered.
    #[serde(default)]
    pub model_digest: String,
    /// By probability, descending.
    pub predictions: Vec<Class>,
    /// What is explained, where an explanation was asked for.
    #[serde(default)]
    pub class: String,
    /// Whether anything in the picture speaks for it.
    #[serde(default)]
    pub has_evidence: bool,
    /// The picture with its evidence, a PNG in base64; empty where no explanation was asked for.
    #[serde(default)]
    pub overlay_png: String,
    /// How long the node took.
    #[serde(default)]
    pub milliseconds: Option<f64>,
    /// Name of the node.
    #[serde(skip)]
    pub node: String,
}

/// One class.
#[derive(Debug, Deserialize)]
pub(super) struct Class {
    /// Its name.
    pub class: String,
    /// In [0, 1].
    pub probability: f64,
}

#[derive(Deserialize)]
struct Problem {
    error: ProblemDetail,
}

#[derive(Deserialize)]
struct ProblemDetail {
    message: String,
}

/// Asks the nodes that serve `endpoint`, one after the other, until one answers.
pub(super) async fn classify(
    client: &Client,
    endpoint: &v1::Endpoint,
    submission: Submission,
) -> Result<Prediction, Refused> {
    let mut last = Refused::new(
        StatusCode::SERVICE_UNAVAILABLE,
        format!("no node serves {} yet; see its state under Endpoints and try again", endpoint.name),
    );
    for assignment in serving(endpoint) {
        let Some(url) = url(assignment, &endpoint.name, submission.explain) else { continue };
        match send(request(client, url, &submission)).await {
            Ok(prediction) => return Ok(Prediction { node: assignment.node_name.clone(), ..prediction }),
            // The picture itself is refused: another node would say the same.
            Err(refused) if refused.status.is_client_error() => return Err(refused),
            Err(refused) => {
                tracing::warn!(node = assignment.node_name, error = refused.message, "a node gave no prediction");
                last = refused;
            }
        }
    }
    Err(last)
}

/// Those that answer, with the wanted model first: while a new model loads, the old one goes on.
fn serving(endpoint: &v1::Endpoint) -> Vec<&v1::Assignment> {
    let mut serving: Vec<_> = endpoint.assignments.iter().filter(|one| !one.serving_digest.is_empty()).collect();
    serving.sort_by_key(|one| one.serving_digest != endpoint.model_digest);
    serving
}

fn url(assignment: &v1::Assignment, endpoint: &str, explain: bool) -> Option<Url> {
    let path = if explain { "/explain" } else { "/classify" };
    let mut url = Url::parse(&assignment.http_address).ok()?.join(path).ok()?;
    url.query_pairs_mut().append_pair("endpoint", endpoint);
    Some(url)
}

fn request(client: &Client, url: Url, submission: &Submission) -> RequestBuilder {
    let request = client.post(url);
    if submission.picture.is_empty() {
        return request.json(&json!({"url": submission.url}));
    }
    request.header(http::header::CONTENT_TYPE, "application/octet-stream").body(submission.picture.clone())
}

async fn send(request: RequestBuilder) -> Result<Prediction, Refused> {
    let answer = request.send().await.map_err(|error| unreachable_node(&error))?;
    let status = answer.status();
    let body = answer.bytes().await.map_err(|error| unreachable_node(&error))?;
    if status.is_success() {
        let garbled =
            |error| Refused::new(StatusCode::BAD_GATEWAY, format!("the node's answer makes no sense: {error}"));
        return serde_json::from_slice(&body).map_err(garbled);
    }
    let message = serde_json::from_slice::<Problem>(&body)
        .map_or_else(|_| format!("the node answered {status}"), |problem| problem.error.message);
    Err(Refused::new(status, message))
}

fn unreachable_node(error: &reqwest::Error) -> Refused {
    Refused::new(StatusCode::BAD_GATEWAY, format!("the node could not be reached: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assignment(name: &str, serving: &str) -> v1::Assignment {
        v1::Assignment { node_name: name.into(), serving_digest: serving.into(), ..Default::default() }
    }

    #[test]
    fn the_wanted_model_comes_before_the_old_one_and_nothing_loaded_is_not_asked() {
        let assignments = vec![assignment("loads", ""), assignment("old", "aa"), assignment("new", "bb")];
        let endpoint = v1::Endpoint { model_digest: "bb".into(), assignments, ..Default::default() };
        let names: Vec<_> = serving(&endpoint).iter().map(|one| one.node_name.as_str()).collect();
        assert_eq!(names, ["new", "old"]);
    }

    #[test]
    fn the_endpoint_is_encoded_into_the_address() {
        let node = v1::Assignment { http_address: "http://127.0.0.1:1".into(), ..Default::default() };
        let [plain, explained] = [false, true].map(|explain| url(&node, "a&b", explain).unwrap().to_string());
        assert_eq!(plain, "http://127.0.0.1:1/classify?endpoint=a%26b");
        assert_eq!(explained, "http://127.0.0.1:1/explain?endpoint=a%26b");
    }
}
