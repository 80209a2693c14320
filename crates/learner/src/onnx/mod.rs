//! A classifier as an ONNX model: what runtimes that know nothing of Ursa can serve.
//!
//! One input `image` (f32 `[batch, 3, size, size]`, RGB in [0, 1], less the mean and divided by the standard deviation), one
//! output `logits` (f32 `[batch, classes]`); the batch may be of any size. The model's metadata say the rest, as JSON where
//! it is more than a word: `name`, `architecture`, `head`, `classes` (in the order of the logits), `image_size`, `mean`, `std`.

mod graph;
mod proto;
#[cfg(test)]
mod tests;

use prost::Message as _;
use serde_json::json;
use ursa_vision::Preprocessing;

use crate::LearnError;
use crate::network::{Network, Outline};
use crate::tensor_file::bytes_of;
use graph::Nodes;
use proto::{
    Dimension, FLOAT, GraphProto, ModelProto, OperatorSetIdProto, StringStringEntryProto, TensorProto,
    TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};

/// The version of ONNX's file format.
const IR_VERSION: i64 = 8;
/// The version of ONNX's operators.
const OPERATORS: i64 = 17;
const IMAGE: &str = "image";
const LOGITS: &str = "logits";
const BATCH: &str = "batch";

/// What a network does not know of itself.
#[derive(Debug, Clone, Copy)]
pub struct Description<'a> {
    /// What it shall be called.
    pub name: &'a str,
    /// In the order of the logits.
    pub classes: &'a [String],
    /// How its pictures are prepared.
    pub preprocessing: &'a Preprocessing,
}

/// The network as it is in evaluation; equal networks of equal description give equal bytes.
pub fn export(network: &Network, description: &Description<'_>) -> Result<Vec<u8>, LearnError> {
    let (names, classes) = (description.classes.len(), network.classes());
    if names != classes {
        return Err(LearnError::ClassNames { names, classes });
    }
    let side = description.preprocessing.size;
    let graph = GraphProto {
        node: Nodes::of(&Outline::of(network.architecture()), network.head(), IMAGE, LOGITS),
        name: description.name.to_owned(),
        initializer: network.named().iter().map(|(name, tensor)| initializer(name, tensor)).collect(),
        input: vec![floats(IMAGE, &[3, i64::from(side), i64::from(side)])],
        output: vec![floats(LOGITS, &[classes as i64])],
    };
    let model = ModelProto {
        ir_version: IR_VERSION,
        producer_name: "ursa".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        graph: Some(graph),
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPERATORS }],
        metadata_props: metadata(network, description),
    };
    Ok(model.encode_to_vec())
}

fn initializer(name: &str, tensor: &tch::Tensor) -> TensorProto {
    TensorProto { dims: tensor.size(), data_type: FLOAT, name: name.to_owned(), raw_data: bytes_of(tensor) }
}

/// A float tensor with `sides` for each picture of a batch.
fn floats(name: &str, sides: &[i64]) -> ValueInfoProto {
    let batch = Dimension { dim_value: None, dim_param: Some(BATCH.to_owned()) };
    let sides = sides.iter().map(|&side| Dimension { dim_value: Some(side), dim_param: None });
    let shape = TensorShapeProto { dim: std::iter::once(batch).chain(sides).collect() };
    let tensor = TensorTypeProto { elem_type: FLOAT, shape: Some(shape) };
    ValueInfoProto { name: name.to_owned(), r#type: Some(TypeProto { tensor_type: Some(tensor) }) }
}

fn metadata(network: &Network, description: &Description<'_>) -> Vec<StringStringEntryProto> {
    let Preprocessing { size, mean, std } = description.preprocessing;
    [
        ("name", description.name.to_owned()),
        ("architecture", network.architecture().to_string()),
        ("head", network.head().name().to_owned()),
        ("classes", json!(description.classes).to_string()),
        ("image_size", size.to_string()),
        ("mean", format!("{mean:?}")),
        ("std", format!("{std:?}")),
    ]
    .map(|(key, value)| StringStringEntryProto { key: key.to_owned(), value })
    .to_vec()
}
