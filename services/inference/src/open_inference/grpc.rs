//! The protocol over gRPC.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tonic::{Request as GrpcRequest, Response as GrpcResponse, Status};
use ursa_proto::inference as wire;
use ursa_proto::inference::grpc_inference_service_server::GrpcInferenceService;
use wire::model_infer_request::InferInputTensor;
use wire::model_infer_response::InferOutputTensor;
use wire::model_metadata_response::TensorMetadata;

use super::tensor::{self, Tensor, Values};
use super::{Described, EXTENSIONS, PLATFORM, Request, Response, SERVER};
use crate::error::ServeError;
use crate::predict::Predictor;

type Answer<T> = Result<GrpcResponse<T>, Status>;

/// `GRPCInferenceService`.
#[derive(Debug)]
pub(crate) struct InferenceApi(pub(crate) Arc<Predictor>);

/// The protocol says "any version" with an empty string.
fn version(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

#[tonic::async_trait]
impl GrpcInferenceService for InferenceApi {
    async fn server_live(&self, _: GrpcRequest<wire::ServerLiveRequest>) -> Answer<wire::ServerLiveResponse> {
        Ok(GrpcResponse::new(wire::ServerLiveResponse { live: true }))
    }

    async fn server_ready(&self, _: GrpcRequest<wire::ServerReadyRequest>) -> Answer<wire::ServerReadyResponse> {
        Ok(GrpcResponse::new(wire::ServerReadyResponse { ready: self.0.catalog().is_ready() }))
    }

    async fn model_ready(&self, request: GrpcRequest<wire::ModelReadyRequest>) -> Answer<wire::ModelReadyResponse> {
        let request = request.into_inner();
        let ready = match self.0.model(Some(&request.name), version(&request.version)) {
            Ok(_) => true,
            Err(ServeError::NotReady { .. }) => false,
            Err(error) => return Err(error.into()),
        };
        Ok(GrpcResponse::new(wire::ModelReadyResponse { ready }))
    }

    async fn server_metadata(
        &self,
        _: GrpcRequest<wire::ServerMetadataRequest>,
    ) -> Answer<wire::ServerMetadataResponse> {
        Ok(GrpcResponse::new(wire::ServerMetadataResponse {
            name: SERVER.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            extensions: EXTENSIONS.iter().map(ToString::to_string).collect(),
        }))
    }

    async fn model_metadata(
        &self,
        request: GrpcRequest<wire::ModelMetadataRequest>,
    ) -> Answer<wire::ModelMetadataResponse> {
        let request = request.into_inner();
        let (name, model) = self.0.model(Some(&request.name), version(&request.version))?;
        let classes = serde_json::to_string(model.classes()).map_err(|error| Status::internal(error.to_string()))?;
        Ok(GrpcResponse::new(wire::ModelMetadataResponse {
            name,
            versions: vec![model.digest().to_owned()],
            platform: PLATFORM.to_owned(),
            inputs: super::inputs(&model).into_iter().map(described).collect(),
            outputs: super::outputs(&model).into_iter().map(described).collect(),
            properties: [("classes", classes), ("architecture", model.architecture().to_owned())]
                .map(|(key, value)| (key.to_owned(), value))
                .into(),
        }))
    }

    async fn model_infer(&self, request: GrpcRequest<wire::ModelInferRequest>) -> Answer<wire::ModelInferResponse> {
        let started = Instant::now();
        let request = request.into_inner();
        let name = request.model_name.clone();
        let outcome = infer(&self.0, request).await;
        self.0.note(Some(&name), &outcome, started);
        Ok(GrpcResponse::new(outcome?))
    }
}

fn described(tensor: Described) -> TensorMetadata {
    TensorMetadata { name: tensor.name.to_owned(), datatype: tensor.datatype.to_owned(), shape: tensor.shape }
}

async fn infer(
    predictor: &Predictor,
    request: wire::ModelInferRequest,
) -> Result<wire::ModelInferResponse, ServeError> {
    // Who sends raw values gets raw values, as from Triton.
    let raw = !request.raw_input_contents.is_empty();
    let inputs =
        if raw { raw_inputs(request.inputs, request.raw_input_contents)? } else { typed_inputs(request.inputs)? };
    let response = super::infer(
        predictor,
        Request {
            endpoint: &request.model_name,
            version: version(&request.model_version),
            inputs,
            wanted: request.outputs.into_iter().map(|output| output.name).collect(),
        },
    )
    .await?;
    Ok(encode(request.id, response, raw))
}

fn raw_inputs(inputs: Vec<InferInputTensor>, raw: Vec<Bytes>) -> Result<Vec<Tensor>, ServeError> {
    if inputs.len() != raw.len() {
        return Err(ServeError::Invalid(format!(
            "there are {} inputs and {} raw_input_contents; every input needs its own",
            inputs.len(),
            raw.len()
        )));
    }
    let tensor = |(input, raw): (InferInputTensor, _)| {
        let values = Values::from_raw(&input.datatype, raw)?;
        Ok(Tensor { name: input.name, shape: input.shape, values })
    };
    inputs.into_iter().zip(raw).map(tensor).collect()
}

fn typed_inputs(inputs: Vec<InferInputTensor>) -> Result<Vec<Tensor>, ServeError> {
    let tensor = |input: InferInputTensor| {
        let contents = input.contents.unwrap_or_default();
        let values = match input.datatype.as_str() {
            tensor::BYTES => Values::Bytes(contents.bytes_contents),
            tensor::FP32 => Values::Fp32(contents.fp32_contents),
            other => return Err(tensor::unknown_datatype(other)),
        };
        Ok(Tensor { name: input.name, shape: input.shape, values })
    };
    inputs.into_iter().map(tensor).collect()
}

fn encode(id: String, response: Response, raw: bool) -> wire::ModelInferResponse {
    let raw_output_contents =
        if raw { response.outputs.iter().map(|output| output.values.to_raw()).collect() } else { Vec::new() };
    let output = |tensor: Tensor| InferOutputTensor {
        name: tensor.name,
        datatype: tensor.values.datatype().to_owned(),
        shape: tensor.shape,
        contents: (!raw).then(|| contents(tensor.values)),
        ..InferOutputTensor::default()
    };
    wire::ModelInferResponse {
        model_name: response.endpoint,
        model_version: response.digest,
        id,
        outputs: response.outputs.into_iter().map(output).collect(),
        raw_output_contents,
        ..wire::ModelInferResponse::default()
    }
}

fn contents(values: Values) -> wire::InferTensorContents {
    match values {
        Values::Fp32(fp32_contents) => wire::InferTensorContents { fp32_contents, ..Default::default() },
        Values::Bytes(elements) => wire::InferTensorContents { bytes_contents: elements, ..Default::default() },
    }
}
