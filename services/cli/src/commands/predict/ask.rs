//! A picture's way to a node and the answer's way back, over the node's public HTTP interface.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow, ensure};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::{Body, Client, RequestBuilder, Response, Url};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_util::io::ReaderStream;
use ursa_proto::v1;

/// A node may have to fetch the picture first.
const PATIENCE: Duration = Duration::from_mins(1);

/// Where a picture is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Picture {
    /// In a file.
    File(PathBuf),
    /// On a server; the node fetches it.
    Url(String),
}

/// What a node answers.
#[derive(Debug, Deserialize)]
pub(super) struct Answer {
    pub(super) model_digest: String,
    /// The most probable first.
    pub(super) predictions: Vec<Class>,
    /// Name of the node.
    #[serde(skip)]
    pub(super) node: String,
}

/// One class.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Class {
    pub(super) class: String,
    /// In [0, 1].
    pub(super) probability: f64,
}

#[derive(Deserialize)]
struct Problem {
    error: ProblemDetail,
}

#[derive(Deserialize)]
struct ProblemDetail {
    message: String,
}

/// Why a node gave no prediction.
enum Refusal {
    /// Another node would say the same.
    Final(anyhow::Error),
    /// Another node may do better.
    Passing(anyhow::Error),
}

impl Picture {
    /// As named on the command line.
    pub(super) fn named(input: &str) -> Self {
        if input.starts_with("http://") || input.starts_with("https://") {
            Self::Url(input.to_owned())
        } else {
            Self::File(input.into())
        }
    }
}

/// A client for asking nodes.
pub(super) fn client() -> reqwest::Result<Client> {
    crate::web::client(PATIENCE)
}

/// Asks one node after the other until one answers. There is at least one.
pub(super) async fn first_answer(
    client: &Client,
    nodes: &[v1::Assignment],
    endpoint: &str,
    picture: &Picture,
) -> anyhow::Result<Answer> {
    let mut last = anyhow!("no node serves {endpoint}");
    for node in nodes {
        match ask(client, node, endpoint, picture).await {
            Ok(answer) => return Ok(Answer { node: node.node_name.clone(), ..answer }),
            Err(Refusal::Final(error)) => return Err(error),
            Err(Refusal::Passing(error)) => last = error.context(node.node_name.clone()),
        }
    }
    Err(last)
}

async fn ask(client: &Client, node: &v1::Assignment, endpoint: &str, picture: &Picture) -> Result<Answer, Refusal> {
    let url = classify_url(&node.http_address, endpoint).map_err(Refusal::Passing)?;
    let request = with_picture(client.post(url), picture).await.map_err(Refusal::Final)?;
    let response = request.send().await.map_err(|error| passing(error, "it does not answer"))?;
    let status = response.status();
    if status.is_success() {
        return response.json().await.map_err(|error| passing(error, "its answer makes no sense"));
    }
    let problem = problem(response).await;
    Err(if status.is_client_error() { Refusal::Final(problem) } else { Refusal::Passing(problem) })
}

fn passing(error: reqwest::Error, what: &'static str) -> Refusal {
    Refusal::Passing(anyhow::Error::new(error.without_url()).context(what))
}

fn classify_url(node: &str, endpoint: &str) -> anyhow::Result<Url> {
    let mut url = Url::parse(node).and_then(|url| url.join("/classify")).context("its address is none")?;
    url.query_pairs_mut().append_pair("endpoint", endpoint);
    Ok(url)
}

async fn with_picture(request: RequestBuilder, picture: &Picture) -> anyhow::Result<RequestBuilder> {
    match picture {
        Picture::Url(url) => Ok(request.json(&json!({ "url": url }))),
        Picture::File(path) => with_file(request, path).await,
    }
}

/// Whatever its size: the node knows what is too large, and says so before it has read everything.
async fn with_file(request: RequestBuilder, path: &Path) -> anyhow::Result<RequestBuilder> {
    let request = request.header(CONTENT_TYPE, "application/octet-stream");
    let file = tokio::fs::File::open(path).await.context("cannot open it")?;
    let metadata = file.metadata().await.context("cannot look at it")?;
    ensure!(!metadata.is_dir(), "it is a folder; name the pictures in it");
    // What is no plain file, such as a pipe, does not know its length.
    let request = if metadata.is_file() { request.header(CONTENT_LENGTH, metadata.len()) } else { request };
    Ok(request.body(Body::wrap_stream(ReaderStream::new(file))))
}

/// The node's own words, if it has any.
async fn problem(response: Response) -> anyhow::Error {
    let status = response.status();
    match response.json::<Problem>().await {
        Ok(problem) => anyhow!(problem.error.message),
        Err(_) => anyhow!("it answered {status}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_told_apart_by_their_scheme() {
        assert_eq!(Picture::named("https://h/p.jpg"), Picture::Url("https://h/p.jpg".into()));
        assert_eq!(Picture::named("http.jpg"), Picture::File("http.jpg".into()));
    }

    #[test]
    fn the_endpoint_is_encoded_into_the_address() {
        assert_eq!(classify_url("http://h:1", "a&b").unwrap().as_str(), "http://h:1/classify?endpoint=a%26b");
        assert!(classify_url("nonsense", "a").is_err());
    }
}
