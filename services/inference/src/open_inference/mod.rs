//! The Open Inference Protocol, version 2: its tensors and answers, once; and its two wires, JSON and gRPC.

mod binary;
mod grpc;
mod rest;
mod tensor;

use serde::Serialize;

use crate::error::ServeError;
use crate::model::Model;
use crate::predict::{Answer, Predictor};
use tensor::{Tensor, Values};

pub(crate) use grpc::InferenceApi;
pub(crate) use rest::router;

/// The server's name in its metadata.
const SERVER: &str = "ursa";
/// What runs the models.
const PLATFORM: &str = "ursa_libtorch";
/// Extensions of the protocol, as Triton names them.
const EXTENSIONS: &[&str] = &["binary_tensor_data"];

/// Input: picture files.
const IMAGE: &str = "image";
/// Input: normalised pixels.
const PIXELS: &str = "pixels";
/// Output: a probability per picture and class.
const PROBABILITIES: &str = "probabilities";
/// Output: the most probable class of each picture.
const LABEL: &str = "label";

/// A tensor's name, type and shape; -1 is variable.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Described {
    name: &'static str,
    datatype: &'static str,
    shape: Vec<i64>,
}

/// What a model takes: one of the two.
fn inputs(model: &Model) -> [Described; 2] {
    let side = i64::from(model.preprocessing().size);
    [
        Described { name: IMAGE, datatype: tensor::BYTES, shape: vec![-1] },
        Described { name: PIXELS, datatype: tensor::FP32, shape: vec![-1, 3, side, side] },
    ]
}

/// What a model gives.
fn outputs(model: &Model) -> [Described; 2] {
    let classes = model.classes().len() as i64;
    [
        Described { name: PROBABILITIES, datatype: tensor::FP32, shape: vec![-1, classes] },
        Described { name: LABEL, datatype: tensor::BYTES, shape: vec![-1] },
    ]
}

/// A request, whichever wire it came by.
#[derive(Debug)]
struct Request<'a> {
    endpoint: &'a str,
    version: Option<&'a str>,
    inputs: Vec<Tensor>,
    /// Names of the outputs wanted; empty means all.
    wanted: Vec<String>,
}

/// The answer to a request.
#[derive(Debug)]
struct Response {
    endpoint: String,
    digest: String,
    outputs: Vec<Tensor>,
}

async fn infer(predictor: &Predictor, request: Request<'_>) -> Result<Response, ServeError> {
    if let Some(unknown) = request.wanted.iter().find(|name| ![PROBABILITIES, LABEL].contains(&name.as_str())) {
        let message = format!("there is no output {unknown:?}; there are {PROBABILITIES:?} and {LABEL:?}");
        return Err(ServeError::Invalid(message));
    }
    let pictures = tensor::pictures(request.inputs)?;
    let answer = predictor.classify(Some(request.endpoint), request.version, pictures).await?;
    let mut outputs = vec![probabilities(&answer), labels(&answer)];
    outputs.retain(|output| request.wanted.is_empty() || request.wanted.contains(&output.name));
    Ok(Response { digest: answer.model.digest().to_owned(), endpoint: answer.endpoint, outputs })
}

fn probabilities(answer: &Answer) -> Tensor {
    Tensor {
        name: PROBABILITIES.to_owned(),
        shape: vec![answer.probabilities.len() as i64, answer.model.classes().len() as i64],
        values: Values::Fp32(answer.probabilities.concat()),
    }
}

fn labels(answer: &Answer) -> Tensor {
    let label = |row: &Vec<f32>| {
        let best = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(class, _)| class);
        answer.model.classes()[best].clone().into()
    };
    Tensor {
        name: LABEL.to_owned(),
        shape: vec![answer.probabilities.len() as i64],
        values: Values::Bytes(answer.probabilities.iter().map(label).collect()),
    }
}
