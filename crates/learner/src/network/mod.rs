//! A body and a head with named parameters.
//!
//! Names: `body.` before torchvision's (`body.conv1.weight`, `body.layer1.0.bn1.running_mean`, …), `head.bn1`, `head.fc1`,
//! `head.bn2`, `head.fc2`. All numbers are float32.

mod architecture;
mod body;
mod convolution;
mod head;
mod outline;
mod parameters;
#[cfg(test)]
mod torchvision;

use tch::{Device, Kind, Tensor, no_grad};
use ursa_domain::recipe::Architecture;

pub(crate) use body::Body;
pub(crate) use convolution::EPSILON;
pub use head::{HEAD, HeadKind, HeadSpec};
pub(crate) use head::{Head, LINEARS, NORMS};
pub(crate) use outline::{BlockOutline, Outline, POOL, Shape};
pub(crate) use parameters::channels_last;
pub use parameters::{Parameter, Role};

use crate::LearnError;
use crate::randomness::{Purpose, with_libtorch};
use crate::tensor_file::{self, TensorFile};
use architecture::Layers;
use parameters::Parameters;

const WEIGHTS: &str = "the model's weights file";
const PRETRAINED: &str = "the pretrained weights file";

/// A classifier that can learn.
#[derive(Debug)]
pub struct Network {
    architecture: Architecture,
    classes: usize,
    parameters: Parameters,
    body: Body,
    head: Head,
}

impl Network {
    /// A network that knows nothing, with fastai v1's head: weights drawn from `seed`, the same on every device.
    pub fn new(architecture: Architecture, classes: usize, seed: u64, device: Device) -> Self {
        Self::with_head(architecture, classes, HeadSpec::default(), seed, device)
    }

    /// As [`Network::new`] with a head of choice.
    pub fn with_head(architecture: Architecture, classes: usize, head: HeadSpec, seed: u64, device: Device) -> Self {
        with_libtorch(seed, Purpose::Initialisation, 0, || {
            Self::build(architecture, classes, head, Parameters::new(device, true))
        })
    }

    /// A network with the weights of [`Network::to_safetensors`]; which head it has shows in the names of the tensors. Every
    /// tensor must be there and fit, and none be left over.
    pub fn load(
        architecture: Architecture,
        classes: usize,
        weights: &[u8],
        device: Device,
    ) -> Result<Self, LearnError> {
        let file = TensorFile::parse(WEIGHTS, weights)?;
        let head = HeadSpec { kind: HeadKind::of_tensors(&file.names()), ..HeadSpec::default() };
        let mut network = Self::build(architecture, classes, head, Parameters::new(device, false));
        network.take(&file)?;
        Ok(network)
    }

    /// Takes every weight from a model of the same shape.
    pub(crate) fn load_weights(&mut self, weights: &[u8]) -> Result<(), LearnError> {
        self.take(&TensorFile::parse(PRETRAINED, weights)?)
    }

    fn take(&mut self, file: &TensorFile<'_>) -> Result<(), LearnError> {
        self.parameters.load(file, "", ToOwned::to_owned)?;
        let names = self.names();
        file.refuse_unknown(|name| names.iter().any(|known| known == name))
    }

    fn build(architecture: Architecture, classes: usize, head: HeadSpec, mut parameters: Parameters) -> Self {
        let body = Body::new(&mut parameters, architecture);
        let head = Head::new(&mut parameters, Layers::of(architecture).features(), classes as i64, head);
        Self { architecture, classes, parameters, body, head }
    }

    /// A network of its own with the same numbers.
    pub(crate) fn duplicate(&self) -> Self {
        let parameters = Parameters::new(self.parameters.device(), false);
        let copy = Self::build(self.architecture, self.classes, self.head.spec(), parameters);
        copy.copy_from(&self.named());
        copy
    }

    /// Overwrites every tensor; `values` are in the order of [`Network::named`].
    pub(crate) fn copy_from(&self, values: &[(String, Tensor)]) {
        no_grad(|| {
            for ((_, mut ours), (_, theirs)) in self.named().into_iter().zip(values) {
                ours.copy_(theirs);
            }
        });
    }

    /// Takes the body's weights from a safetensors file: torchvision's (its last layer, `fc.`, is not used), or a model of
    /// our own (its head is not used).
    pub fn load_body(&mut self, weights: &[u8]) -> Result<(), LearnError> {
        let file = TensorFile::parse(PRETRAINED, weights)?;
        let prefix = if file.names().contains(&"body.conv1.weight") { "body." } else { "" };
        let theirs = |ours: &str| ours.strip_prefix("body.").map(|name| format!("{prefix}{name}"));
        let body: Vec<String> = self.names().iter().filter_map(|name| theirs(name)).collect();
        file.refuse_unknown(|name| {
            let unused = name.starts_with("fc.") || name.starts_with("head.") || name.ends_with(".num_batches_tracked");
            unused || body.iter().any(|known| known == name)
        })?;
        self.parameters.load(&file, "body.", |name| theirs(name).unwrap_or_else(|| name.to_owned()))
    }

    /// Weights and running statistics; equal networks give equal bytes.
    pub fn to_safetensors(&self) -> Result<Vec<u8>, LearnError> {
        tensor_file::write(WEIGHTS, &self.parameters.named(), None)
    }

    /// Which network it is.
    pub fn architecture(&self) -> Architecture {
        self.architecture
    }

    /// How many logits it gives.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Which head it has.
    pub fn head(&self) -> HeadKind {
        self.head.spec().kind
    }

    /// What is learned, in the order of the layers.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters.learned
    }

    /// Whether gradients reach the body's weights. Its normalisation always learns, as in fastai (`train_bn`).
    pub(crate) fn freeze_body(&mut self, frozen: bool) {
        for parameter in &mut self.parameters.learned {
            let learns = !frozen || parameter.role == Role::Normalisation || parameter.name.starts_with("head.");
            parameter.tensor = parameter.tensor.set_requires_grad(learns);
        }
    }

    /// Images (f32 `[n, 3, s, s]`, normalised) to logits (f32 `[n, classes]`). The body computes in `kind`.
    pub(crate) fn forward(&self, images: &Tensor, train: bool, kind: Kind) -> Tensor {
        self.head.forward(&self.body.forward(images, train, kind), train)
    }

    /// Normalised images to logits, to learn from. With the logits come the tensors to ask for gradients, one for each
    /// parameter: itself, or what it was cast to. Gradients of casts are as small as these.
    pub(crate) fn learn(&self, images: &Tensor, kind: Kind) -> (Tensor, Vec<Tensor>) {
        let casts = self.parameters.casts(kind);
        let logits = self.head.forward(&self.body.forward_with(&casts, images, true, kind), true);
        let learned = self.parameters.learned.iter().enumerate();
        let asked = learned.map(|(index, parameter)| casts.get(index).unwrap_or(&parameter.tensor).shallow_clone());
        (logits, asked.collect())
    }

    /// The running statistics as they are now.
    pub(crate) fn statistics(&self) -> Vec<Tensor> {
        self.parameters.buffers.iter().map(|(_, tensor)| tensor.copy()).collect()
    }

    /// Puts [`Network::statistics`] back.
    pub(crate) fn set_statistics(&mut self, statistics: &[Tensor]) {
        self.parameters.buffers.iter_mut().zip(statistics).for_each(|((_, tensor), value)| tensor.copy_(value));
    }

    /// Every tensor by name.
    pub(crate) fn named(&self) -> Vec<(String, Tensor)> {
        self.parameters.named()
    }

    pub(crate) fn load_scope(
        &mut self,
        file: &TensorFile<'_>,
        rename: impl Fn(&str) -> String,
    ) -> Result<(), LearnError> {
        self.parameters.load(file, "", rename)
    }

    /// The layers alone, for serving.
    pub(crate) fn into_layers(self) -> (Body, Head) {
        (self.body, self.head)
    }

    fn names(&self) -> Vec<String> {
        self.parameters.named().into_iter().map(|(name, _)| name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::randomness::noise;

    fn network(architecture: Architecture) -> Network {
        crate::set_threads(1);
        Network::new(architecture, 3, 1, Device::Cpu)
    }

    fn count<'a>(parameters: impl Iterator<Item = &'a Parameter>) -> usize {
        parameters.map(|parameter| parameter.tensor.numel()).sum()
    }

    #[test]
    fn resnet34_has_the_lessons_numbers_of_parameters() {
        let mut network = network(Architecture::ResNet34);
        assert_eq!(count(network.parameters().iter()), 21_814_083);
        for (group, expected) in [(0, 1_347_904), (1, 19_936_768), (2, 529_411)] {
            assert_eq!(count(network.parameters().iter().filter(|parameter| parameter.group == group)), expected);
        }
        network.freeze_body(true);
        assert_eq!(count(network.parameters().iter().filter(|p| p.tensor.requires_grad())), 546_435);
        network.freeze_body(false);
        assert!(network.parameters().iter().all(|parameter| parameter.tensor.requires_grad()));
    }

    #[test]
    fn resnet18_has_torchvisions_number_of_parameters() {
        let body = 11_689_512 - 513_000; // the whole network less its last layer
        assert_eq!(count(network(Architecture::ResNet18).parameters().iter()), body + 529_411);
    }

    #[test]
    fn resnet50_has_torchvisions_numbers_and_shapes() {
        let network = network(Architecture::ResNet50);
        let body = network.parameters().iter().filter(|parameter| parameter.name.starts_with("body."));
        assert_eq!(count(body), 25_557_032 - 2_049_000);
        let shape = |wanted: &str| network.named().into_iter().find(|(name, _)| name == wanted).unwrap().1.size();
        assert_eq!(shape("body.layer1.0.conv1.weight"), [64, 64, 1, 1]);
        assert_eq!(shape("body.layer1.0.downsample.0.weight"), [256, 64, 1, 1]);
        assert_eq!(shape("body.layer2.0.conv2.weight"), [128, 128, 3, 3]);
        assert_eq!(shape("body.layer4.2.bn3.running_mean"), [2048]);
        assert_eq!(shape("head.fc1.weight"), [512, 4096]);
    }

    /// tch's own networks are written from torchvision's and load its weights: an independent reference.
    #[test]
    fn features_are_those_of_the_reference_networks_on_the_same_weights() {
        use tch::nn::{FuncT, ModuleT, VarStore};
        use tch::vision::resnet::{resnet18_no_final_layer, resnet34_no_final_layer, resnet50_no_final_layer};
        crate::set_threads(1);
        for &architecture in Architecture::ALL {
            let store = VarStore::new(Device::Cpu);
            let reference = with_libtorch(3, Purpose::Initialisation, 0, || -> Box<dyn ModuleT> {
                match architecture {
                    Architecture::ResNet18 => Box::<FuncT<'static>>::new(resnet18_no_final_layer(&store.root())),
                    Architecture::ResNet34 => Box::<FuncT<'static>>::new(resnet34_no_final_layer(&store.root())),
                    Architecture::ResNet50 => Box::new(resnet50_no_final_layer(&store.root())),
                }
            });
            let mut weights: Vec<(String, Tensor)> = store.variables().into_iter().collect();
            weights.sort_by(|one, other| one.0.cmp(&other.0));
            // Running statistics that a normalisation must really use.
            no_grad(|| {
                for (name, tensor) in &mut weights {
                    let noise = noise(&tensor.size(), 5) * 0.2;
                    if name.contains("running") {
                        tensor.copy_(&if name.ends_with("running_var") { noise.abs() + 0.5 } else { noise });
                    }
                }
            });
            let mut network = Network::new(architecture, 2, 1, Device::Cpu);
            network.load_body(&tensor_file::write("test", &weights, None).unwrap()).unwrap();
            let images = noise(&[2, 3, 64, 64], 6);
            let (found, expected) = no_grad(|| {
                let features = network.body.forward(&images, false, Kind::Float);
                (features.mean_dim([2_i64, 3].as_slice(), false, Kind::Float), reference.forward_t(&images, false))
            });
            let scale = expected.abs().max().double_value(&[]);
            let difference = (found - expected).abs().max().double_value(&[]) / scale;
            assert!(scale > 0.0 && difference < 1e-4, "{architecture}: {difference}");
        }
    }

    #[test]
    fn the_head_of_v2_has_no_biases_and_is_known_by_its_tensors() {
        let head = HeadSpec { kind: HeadKind::FastaiV2, dropout: 0.5 };
        let network = Network::with_head(Architecture::ResNet34, 3, head, 1, Device::Cpu);
        assert_eq!(count(network.parameters().iter().filter(|parameter| parameter.group == 2)), 528_896);
        let shift = network.parameters().iter().find(|parameter| parameter.name == "head.bn1.bias").unwrap();
        assert!((shift.tensor.double_value(&[0]) - 1e-3).abs() < 1e-9);
        let bytes = network.to_safetensors().unwrap();
        let read = Network::load(Architecture::ResNet34, 3, &bytes, Device::Cpu).unwrap();
        assert_eq!(read.head(), HeadKind::FastaiV2);
        assert_eq!(read.to_safetensors().unwrap(), bytes);
    }

    /// Casts that gradients end at are a matter of speed.
    #[test]
    fn gradients_that_are_asked_for_are_those_that_reach_the_parameters() {
        crate::set_threads(1);
        let head = HeadSpec { dropout: 0.0, ..HeadSpec::default() };
        let network = Network::with_head(Architecture::ResNet18, 3, head, 1, Device::Cpu);
        let images = noise(&[4, 3, 32, 32], 7);
        for kind in [Kind::Float, Kind::BFloat16] {
            network.forward(&images, true, kind).square().sum(Kind::Float).backward();
            let (logits, asked) = network.learn(&images, kind);
            let gradients = Tensor::run_backward(&[logits.square().sum(Kind::Float)], &asked, false, false);
            for (parameter, gradient) in network.parameters().iter().zip(gradients) {
                let mut summed = parameter.tensor.grad();
                let cast = parameter.tensor.dim() == 4;
                assert_eq!(gradient.kind(), if cast { kind } else { Kind::Float }, "{}", parameter.name);
                assert_eq!(gradient.to_kind(Kind::Float), summed, "{}", parameter.name);
                let _ = summed.zero_();
            }
        }
    }

    #[test]
    fn a_duplicate_has_the_same_numbers_and_shares_none() {
        let first = network(Architecture::ResNet18);
        let before = first.to_safetensors().unwrap();
        let second = first.duplicate();
        assert_eq!(second.to_safetensors().unwrap(), before);
        no_grad(|| second.named().into_iter().for_each(|(_, mut tensor)| drop(tensor.zero_())));
        assert_eq!(first.to_safetensors().unwrap(), before);
    }

    #[test]
    fn the_head_starts_as_kaiming_says() {
        let network = network(Architecture::ResNet18);
        for (name, deviation) in [("head.fc1.weight", 0.0442), ("head.fc2.weight", 0.0625)] {
            let parameter = network.parameters().iter().find(|parameter| parameter.name == name).unwrap();
            let found = parameter.tensor.std(true).double_value(&[]);
            assert!((found / deviation - 1.0).abs() < 0.1, "{name}: {found}");
        }
    }

    #[test]
    fn weights_are_written_and_read_back_unchanged() {
        let first = network(Architecture::ResNet18).to_safetensors().unwrap();
        let second = Network::load(Architecture::ResNet18, 3, &first, Device::Cpu).unwrap();
        assert_eq!(second.to_safetensors().unwrap(), first);
    }

    #[test]
    fn the_seed_decides_the_first_weights() {
        let bytes = |seed| Network::new(Architecture::ResNet18, 2, seed, Device::Cpu).to_safetensors().unwrap();
        assert_eq!(bytes(5), bytes(5));
        assert_ne!(bytes(5), bytes(6));
    }

    #[test]
    fn weights_of_another_network_are_refused_naming_the_tensor() {
        let bytes = network(Architecture::ResNet18).to_safetensors().unwrap();
        let refused = |architecture, classes, bytes: &[u8]| {
            Network::load(architecture, classes, bytes, Device::Cpu).unwrap_err().to_string()
        };
        assert!(refused(Architecture::ResNet34, 3, &bytes).contains("body.layer1.2.conv1.weight"));
        assert!(refused(Architecture::ResNet18, 4, &bytes).contains("F32 [3, 512], the network needs F32 [4, 512]"));
        assert!(refused(Architecture::ResNet18, 3, b"PK pickle").contains("safetensors"));
        let larger = network(Architecture::ResNet34).to_safetensors().unwrap();
        let text = refused(Architecture::ResNet18, 3, &larger);
        assert!(text.contains("that the network has not"), "{text}");
    }

    #[test]
    fn a_torchvision_body_replaces_the_body_and_leaves_the_head() {
        let donor = network(Architecture::ResNet18);
        let mut torchvision: Vec<(String, Tensor)> = donor
            .named()
            .into_iter()
            .filter_map(|(name, tensor)| Some((name.strip_prefix("body.")?.to_owned(), tensor)))
            .collect();
        torchvision.push(("fc.weight".into(), Tensor::zeros([1000, 512], (Kind::Float, Device::Cpu))));
        let bytes = tensor_file::write("test", &torchvision, None).unwrap();
        let mut network = Network::new(Architecture::ResNet18, 3, 2, Device::Cpu);
        network.load_body(&bytes).unwrap();
        for ((name, ours), (_, theirs)) in network.named().iter().zip(donor.named()) {
            let taken = name.starts_with("body.") || !name.ends_with("fc1.weight") && !name.ends_with("fc2.weight");
            assert_eq!(*ours == theirs, taken, "{name}");
        }
    }
}
