//! The protocol over HTTP and JSON.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{Path, Request as HttpRequest, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Json, Response as HttpResponse};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use ursa_proto::MAX_INFERENCE_MESSAGE_BYTES;

use super::binary::{self, Parts};
use super::tensor::{self, Tensor, Values};
use super::{EXTENSIONS, PLATFORM, Request, Response, SERVER};
use crate::error::ServeError;
use crate::http::body;
use crate::predict::Predictor;

type App = State<Arc<Predictor>>;

/// The routes under `/v2`.
pub(crate) fn router() -> Router<Arc<Predictor>> {
    let model = Router::new().route("/", get(metadata)).route("/ready", get(model_ready)).route("/infer", post(infer));
    Router::new()
        .route("/v2", get(server))
        .route("/v2/health/live", get(async || Json(json!({ "live": true }))))
        .route("/v2/health/ready", get(ready))
        .nest("/v2/models/{name}", model.clone())
        .nest("/v2/models/{name}/versions/{version}", model)
}

/// The protocol's form of an error.
struct Refused(ServeError);

impl IntoResponse for Refused {
    fn into_response(self) -> HttpResponse {
        (self.0.http(), Json(json!({ "error": self.0.to_string() }))).into_response()
    }
}

impl From<ServeError> for Refused {
    fn from(error: ServeError) -> Self {
        Self(error)
    }
}

#[derive(Debug, Deserialize)]
struct ModelPath {
    name: String,
    version: Option<String>,
}

async fn server() -> Json<Value> {
    Json(json!({ "name": SERVER, "version": env!("CARGO_PKG_VERSION"), "extensions": EXTENSIONS }))
}

/// The protocol wants 200 for yes and 4xx for no.
fn readiness(body: Value, ready: bool) -> HttpResponse {
    let status = if ready { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    (status, Json(body)).into_response()
}

async fn ready(State(predictor): App) -> HttpResponse {
    let ready = predictor.catalog().is_ready();
    readiness(json!({ "ready": ready }), ready)
}

async fn model_ready(State(predictor): App, Path(path): Path<ModelPath>) -> Result<HttpResponse, Refused> {
    match predictor.model(Some(&path.name), path.version.as_deref()) {
        Ok(_) => Ok(readiness(json!({ "name": path.name, "ready": true }), true)),
        Err(ServeError::NotReady { .. }) => Ok(readiness(json!({ "name": path.name, "ready": false }), false)),
        Err(error) => Err(error.into()),
    }
}

async fn metadata(State(predictor): App, Path(path): Path<ModelPath>) -> Result<Json<Value>, Refused> {
    let (name, model) = predictor.model(Some(&path.name), path.version.as_deref())?;
    Ok(Json(json!({
        "name": name,
        "versions": [model.digest()],
        "platform": PLATFORM,
        "inputs": super::inputs(&model),
        "outputs": super::outputs(&model),
        "properties": { "classes": model.classes(), "architecture": model.architecture() },
    })))
}

async fn infer(State(predictor): App, Path(path): Path<ModelPath>, request: HttpRequest) -> HttpResponse {
    let started = Instant::now();
    let outcome = answer(&predictor, &path, request).await;
    predictor.note(Some(&path.name), &outcome, started);
    outcome.unwrap_or_else(|error| Refused(error).into_response())
}

#[derive(Debug, Deserialize)]
struct Body {
    id: Option<String>,
    #[serde(default)]
    parameters: Map<String, Value>,
    inputs: Vec<Input>,
    #[serde(default)]
    outputs: Vec<Wanted>,
}

#[derive(Debug, Deserialize)]
struct Input {
    name: String,
    datatype: String,
    shape: Vec<i64>,
    #[serde(default)]
    parameters: Map<String, Value>,
    #[serde(default)]
    data: Value,
}

#[derive(Debug, Deserialize)]
struct Wanted {
    name: String,
    #[serde(default)]
    parameters: Map<String, Value>,
}

async fn answer(predictor: &Predictor, path: &ModelPath, request: HttpRequest) -> Result<HttpResponse, ServeError> {
    let (head, body) = request.into_parts();
    let bytes = body::collect(&head.headers, body, MAX_INFERENCE_MESSAGE_BYTES).await?;
    let mut parts = Parts::cut(&head.headers, bytes)?;
    let body: Body = serde_json::from_slice(&parts.json)
        .map_err(|error| ServeError::Invalid(format!("the request is not what the protocol says: {error}")))?;
    let binary_by_default = flag(&body.parameters, "binary_data_output").unwrap_or(false);
    let wanted = body.outputs.iter().map(|output| output.name.clone()).collect();
    let inputs = body.inputs.into_iter().map(|input| tensor_of(input, &mut parts)).collect::<Result<_, _>>()?;
    let request = Request { endpoint: &path.name, version: path.version.as_deref(), inputs, wanted };
    let response = super::infer(predictor, request).await?;
    let binary = |name: &str| {
        let asked = body.outputs.iter().find(|output| output.name == name);
        asked.and_then(|output| flag(&output.parameters, "binary_data")).unwrap_or(binary_by_default)
    };
    encode(body.id, response, binary)
}

fn flag(parameters: &Map<String, Value>, name: &str) -> Option<bool> {
    parameters.get(name).and_then(Value::as_bool)
}

/// Reads one input, from the JSON or from what follows it.
fn tensor_of(input: Input, parts: &mut Parts) -> Result<Tensor, ServeError> {
    let values = match input.parameters.get(binary::SIZE) {
        Some(size) => {
            let size = size.as_u64().ok_or_else(|| ServeError::Invalid(format!("{} is no size", binary::SIZE)))?;
            Values::from_raw(&input.datatype, parts.take(size)?)?
        }
        None => values_of(&input)?,
    };
    Ok(Tensor { name: input.name, shape: input.shape, values })
}

fn values_of(input: &Input) -> Result<Values, ServeError> {
    let mut leaves = Vec::new();
    flatten(&input.data, &mut leaves);
    match input.datatype.as_str() {
        tensor::FP32 => leaves.into_iter().map(number).collect::<Result<_, _>>().map(Values::Fp32),
        tensor::BYTES => {
            check_content_type(&input.parameters)?;
            leaves.into_iter().map(file).collect::<Result<_, _>>().map(Values::Bytes)
        }
        other => Err(tensor::unknown_datatype(other)),
    }
}

/// The values of nested arrays, row-major.
fn flatten<'a>(value: &'a Value, leaves: &mut Vec<&'a Value>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| flatten(value, leaves)),
        Value::Null => {}
        leaf => leaves.push(leaf),
    }
}

fn number(value: &Value) -> Result<f32, ServeError> {
    value.as_f64().map(|number| number as f32).ok_or_else(|| ServeError::Invalid(format!("{value} is not a number")))
}

/// JSON cannot hold a picture file but in base64, so that is what strings are, said or not.
fn check_content_type(parameters: &Map<String, Value>) -> Result<(), ServeError> {
    match parameters.get("content_type") {
        None => Ok(()),
        Some(kind) if kind == "base64" => Ok(()),
        Some(other) => Err(ServeError::Invalid(format!("content_type {other} is not taken; send files as base64"))),
    }
}

fn file(value: &Value) -> Result<Bytes, ServeError> {
    let text = value.as_str().ok_or_else(|| ServeError::Invalid("BYTES values are strings in JSON".into()))?;
    let decoded = BASE64_STANDARD.decode(text);
    decoded.map(Bytes::from).map_err(|error| ServeError::Invalid(format!("a BYTES value is not base64: {error}")))
}

#[derive(Debug, Serialize)]
struct Output<'a> {
    name: &'a str,
    datatype: &'static str,
    shape: &'a [i64],
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
}

/// Writes the answer: JSON, and after it the raw values of the outputs for which `binary` holds.
fn encode(id: Option<String>, response: Response, binary: impl Fn(&str) -> bool) -> Result<HttpResponse, ServeError> {
    let mut raw = Vec::new();
    let outputs: Vec<Output<'_>> =
        response.outputs.iter().map(|tensor| output(tensor, binary(&tensor.name), &mut raw)).collect();
    let mut body = json!({ "model_name": response.endpoint, "model_version": response.digest, "outputs": outputs });
    if let Some(id) = id {
        body["id"] = id.into();
    }
    let mut bytes = serde_json::to_vec(&body).map_err(|error| ServeError::Internal(error.to_string()))?;
    if raw.is_empty() {
        return Ok(([(header::CONTENT_TYPE, "application/json")], bytes).into_response());
    }
    let length = bytes.len().to_string();
    bytes.append(&mut raw);
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (HeaderName::from_static(binary::JSON_LENGTH), length),
    ];
    Ok((headers, bytes).into_response())
}

fn output<'a>(tensor: &'a Tensor, binary: bool, raw: &mut Vec<u8>) -> Output<'a> {
    let (parameters, data) = if binary {
        let bytes = tensor.values.to_raw();
        raw.extend_from_slice(&bytes);
        (Some(json!({ binary::SIZE: bytes.len() })), None)
    } else {
        (None, Some(json_values(&tensor.values)))
    };
    Output { name: &tensor.name, datatype: tensor.values.datatype(), shape: &tensor.shape, parameters, data }
}

fn json_values(values: &Values) -> Value {
    match values {
        Values::Fp32(numbers) => json!(numbers),
        // What we write is names of classes, which are text.
        Values::Bytes(elements) => elements.iter().map(|element| json!(String::from_utf8_lossy(element))).collect(),
    }
}
