//! The named tensors of a network: what is learned, and what is only counted along (running statistics).

use tch::{Device, Kind, Tensor, no_grad};

use super::architecture::group;
use crate::LearnError;
use crate::tensor_file::TensorFile;

/// What a parameter does in its layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Weight of a convolution or a linear layer.
    Weight,
    /// Bias of a linear layer.
    Bias,
    /// Scale or shift of a batch normalisation; these learn even while the body is frozen.
    Normalisation,
}

/// A tensor that is learned.
#[derive(Debug)]
pub struct Parameter {
    /// For instance `body.layer1.0.conv1.weight`.
    pub name: String,
    /// Float; shared with the layer that uses it.
    pub tensor: Tensor,
    /// What it does.
    pub role: Role,
    /// 0 early body, 1 late body, 2 head.
    pub group: usize,
}

/// The weights of convolutions as a pass computes with them, each at the place of its parameter. A pass that has none casts
/// them by itself, and gradients reach the parameters.
#[derive(Debug, Default)]
pub(crate) struct Casts(Vec<Option<Tensor>>);

impl Casts {
    pub(crate) fn get(&self, index: usize) -> Option<&Tensor> {
        self.0.get(index).and_then(Option::as_ref)
    }
}

/// All tensors of one network, in the order of its layers.
#[derive(Debug)]
pub(crate) struct Parameters {
    pub(crate) learned: Vec<Parameter>,
    pub(crate) buffers: Vec<(String, Tensor)>,
    device: Device,
    random: bool,
}

impl Parameters {
    /// None yet. Where `random` is not set weights start at zero, for networks that are loaded at once.
    pub(crate) fn new(device: Device, random: bool) -> Self {
        Self { learned: Vec::new(), buffers: Vec::new(), device, random }
    }

    /// Where the tensors are.
    pub(crate) fn device(&self) -> Device {
        self.device
    }

    /// A weight drawn from a normal distribution, or zero. Drawn on the CPU: every device starts from the same numbers.
    pub(crate) fn weight(&mut self, name: &str, shape: &[i64], deviation: f64) -> Tensor {
        let cpu = (Kind::Float, Device::Cpu);
        let values = if self.random { Tensor::randn(shape, cpu) * deviation } else { Tensor::zeros(shape, cpu) };
        self.learn(name, Role::Weight, &channels_last(&values))
    }

    /// A vector that starts at `value` everywhere.
    pub(crate) fn vector(&mut self, name: &str, length: i64, value: f64, role: Role) -> Tensor {
        self.learn(name, role, &Tensor::full([length], value, (Kind::Float, Device::Cpu)))
    }

    /// Running statistics that start at `value` everywhere.
    pub(crate) fn buffer(&mut self, name: &str, length: i64, value: f64) -> Tensor {
        let tensor = Tensor::full([length], value, (Kind::Float, self.device));
        self.buffers.push((name.to_owned(), tensor.shallow_clone()));
        tensor
    }

    fn learn(&mut self, name: &str, role: Role, values: &Tensor) -> Tensor {
        let tensor = values.to_device(self.device).set_requires_grad(true);
        self.learned.push(Parameter {
            name: name.to_owned(),
            tensor: tensor.shallow_clone(),
            role,
            group: group(name),
        });
        tensor
    }

    /// The index of what is added next.
    pub(crate) fn next_index(&self) -> usize {
        self.learned.len()
    }

    /// Casts to `kind` that gradients end at; none where parameters are of that kind already.
    pub(crate) fn casts(&self, kind: Kind) -> Casts {
        let cast = |Parameter { tensor, .. }: &Parameter| {
            let needed = tensor.dim() == 4 && tensor.kind() != kind;
            needed.then(|| no_grad(|| tensor.to_kind(kind)).set_requires_grad(tensor.requires_grad()))
        };
        Casts(self.learned.iter().map(cast).collect())
    }

    /// Every tensor by name.
    pub(crate) fn named(&self) -> Vec<(String, Tensor)> {
        let learned = self.learned.iter().map(|parameter| (parameter.name.clone(), parameter.tensor.shallow_clone()));
        let buffers = self.buffers.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone()));
        learned.chain(buffers).collect()
    }

    /// Takes every tensor whose name starts with `scope` from the file, where it goes by `rename(name)`.
    pub(crate) fn load(
        &mut self,
        file: &TensorFile<'_>,
        scope: &str,
        rename: impl Fn(&str) -> String,
    ) -> Result<(), LearnError> {
        no_grad(|| {
            self.named()
                .iter_mut()
                .filter(|(name, _)| name.starts_with(scope))
                .try_for_each(|(name, tensor)| file.read_into(&rename(name), tensor))
        })
    }
}

/// The same numbers with the channels of a place side by side: what fast convolutions want.
pub(crate) fn channels_last(tensor: &Tensor) -> Tensor {
    if tensor.dim() == 4 { tensor.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]) } else { tensor.copy() }
}
