//! Tensors as safetensors bytes. No format of ours can hold code, so none is a pickle.

use std::collections::HashMap;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use tch::{Device, Kind, Tensor};

use crate::LearnError;

/// The one key of the metadata that we write.
const METADATA: &str = "ursa";

/// Writes float tensors by name; equal tensors give equal bytes.
pub(crate) fn write(
    what: &'static str,
    tensors: &[(String, Tensor)],
    metadata: Option<String>,
) -> Result<Vec<u8>, LearnError> {
    let malformed = |error: safetensors::SafeTensorError| LearnError::Malformed { what, reason: error.to_string() };
    let values: Vec<Vec<u8>> = tensors.iter().map(|(_, tensor)| bytes_of(tensor)).collect();
    let views = tensors
        .iter()
        .zip(&values)
        .map(|((name, tensor), data)| Ok((name, TensorView::new(Dtype::F32, shape_of(tensor), data)?)))
        .collect::<Result<Vec<_>, _>>()
        .map_err(malformed)?;
    let metadata = metadata.map(|text| HashMap::from([(METADATA.to_owned(), text)]));
    safetensors::serialize(views, metadata).map_err(malformed)
}

/// The tensor's numbers in row-major order, whatever its layout.
pub(crate) fn bytes_of(tensor: &Tensor) -> Vec<u8> {
    let plain = tensor.detach().to_device(Device::Cpu).to_kind(Kind::Float).contiguous();
    let mut bytes = vec![0; plain.numel() * size_of::<f32>()];
    plain.copy_data_u8(&mut bytes, plain.numel());
    bytes
}

fn shape_of(tensor: &Tensor) -> Vec<usize> {
    tensor.size().iter().map(|&side| side as usize).collect()
}

/// A parsed file.
#[derive(Debug)]
pub(crate) struct TensorFile<'a> {
    what: &'static str,
    tensors: SafeTensors<'a>,
    metadata: Option<String>,
}

impl<'a> TensorFile<'a> {
    /// Reads the table of `bytes`; `what` names the file in errors.
    pub(crate) fn parse(what: &'static str, bytes: &'a [u8]) -> Result<Self, LearnError> {
        let malformed = |error: safetensors::SafeTensorError| LearnError::Malformed { what, reason: error.to_string() };
        let (_, table) = SafeTensors::read_metadata(bytes).map_err(malformed)?;
        let metadata = table.metadata().as_ref().and_then(|map| map.get(METADATA).cloned());
        Ok(Self { what, tensors: SafeTensors::deserialize(bytes).map_err(malformed)?, metadata })
    }

    /// What [`write()`] was given.
    pub(crate) fn metadata(&self) -> Option<&str> {
        self.metadata.as_deref()
    }

    /// The names of all tensors.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.tensors.names()
    }

    /// Copies tensor `name` over `target`, keeping the target's layout and device.
    pub(crate) fn read_into(&self, name: &str, target: &mut Tensor) -> Result<(), LearnError> {
        let missing = |_| LearnError::MissingTensor { what: self.what, name: name.to_owned() };
        let view = self.tensors.tensor(name).map_err(missing)?;
        let expected = shape_of(target);
        if view.dtype() != Dtype::F32 || view.shape() != expected {
            return Err(LearnError::TensorMismatch {
                what: self.what,
                name: name.to_owned(),
                expected: format!("F32 {expected:?}"),
                found: format!("{:?} {:?}", view.dtype(), view.shape()),
            });
        }
        let malformed = |error: tch::TchError| LearnError::Malformed { what: self.what, reason: error.to_string() };
        let values = Tensor::f_from_data_size(view.data(), &target.size(), Kind::Float).map_err(malformed)?;
        target.f_copy_(&values).map_err(malformed)
    }

    /// An error naming the first tensor for which `known` does not hold.
    pub(crate) fn refuse_unknown(&self, known: impl Fn(&str) -> bool) -> Result<(), LearnError> {
        match self.names().into_iter().find(|name| !known(name)) {
            Some(name) => Err(LearnError::UnexpectedTensor { what: self.what, name: name.to_owned() }),
            None => Ok(()),
        }
    }
}
