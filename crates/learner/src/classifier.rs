//! A model as it serves: evaluation only, normalisation folded into the convolutions, float32.
//!
//! Validation results, golden examples and the inference node all come from this one class, so that what was measured is
//! what is served.

use tch::{Device, Kind, Tensor, no_grad};
use ursa_domain::recipe::Architecture;
use ursa_vision::Preprocessing;

use crate::data::Examples;
use crate::interpret::{Explanation, Heatmap};
use crate::network::{Body, Head, Network};
use crate::{LearnError, pixels};

/// A loaded model. It can be sent to a thread but not shared between threads; libtorch itself uses several.
#[derive(Debug)]
pub struct Classifier {
    body: Body,
    head: Head,
    classes: usize,
    preprocessing: Preprocessing,
    device: Device,
}

impl Classifier {
    /// Loads `model.safetensors`; errors name the tensor that does not fit.
    pub fn load(
        architecture: Architecture,
        classes: usize,
        preprocessing: Preprocessing,
        weights: &[u8],
        device: Device,
    ) -> Result<Self, LearnError> {
        let (mut body, head) = Network::load(architecture, classes, weights, device)?.into_layers();
        body.fold();
        Ok(Self { body, head, classes, preprocessing, device })
    }

    /// How many logits a picture gets.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// How its pictures are prepared.
    pub fn preprocessing(&self) -> &Preprocessing {
        &self.preprocessing
    }

    /// One row of logits for each picture (as [`Preprocessing::prepare`] gives it: size·size·3 bytes).
    pub fn logits<T: AsRef<[u8]>>(&self, images: &[T]) -> Result<Vec<Vec<f32>>, LearnError> {
        let size = self.preprocessing.size as usize;
        let mut pixels = Vec::with_capacity(images.len() * size * size * 3);
        for image in images.iter().map(AsRef::as_ref) {
            self.check_size(image)?;
            pixels.extend_from_slice(image);
        }
        Ok(self.rows(&Tensor::from_slice(&pixels).view([images.len() as i64, size as i64, size as i64, 3])))
    }

    /// Everything that one pass over the examples tells.
    pub fn answers(&self, examples: &Examples) -> Answers {
        let both = |images: &Tensor| {
            let features = self.features(images);
            let embeddings = features.mean_dim([2_i64, 3].as_slice(), false, Kind::Float);
            Tensor::cat(&[self.head.forward(&features, false), embeddings], 1)
        };
        let mut logits = pixels::rows_of(examples, self.device, both);
        let embeddings = logits.iter_mut().map(|row| row.split_off(self.classes)).collect();
        Answers { logits, embeddings }
    }

    /// What the model says of a picture, and where in it the evidence for `class` (or for what it says most) lies. `image` is
    /// a prepared picture.
    pub fn explain(&self, image: &[u8], class: Option<u32>) -> Result<Explanation, LearnError> {
        let size = self.preprocessing.size as usize;
        self.check_size(image)?;
        let shape = [1, size as i64, size as i64, 3];
        let images = pixels::scale(&Tensor::from_slice(image).view(shape), self.device);
        let activations = no_grad(|| self.features(&images));
        Explanation::of(&activations, |activations| self.head.forward(activations, false), class)
    }

    /// Where in a picture the evidence for `class` lies: Grad-CAM; see [`Explanation`].
    pub fn heatmap(&self, image: &[u8], class: u32) -> Result<Heatmap, LearnError> {
        self.explain(image, Some(class)).map(|explanation| explanation.heatmap)
    }

    fn check_size(&self, image: &[u8]) -> Result<(), LearnError> {
        let needed = self.preprocessing.size as usize * self.preprocessing.size as usize * 3;
        if image.len() == needed {
            return Ok(());
        }
        let reason = format!("a prepared picture has {} bytes, {needed} are needed", image.len());
        Err(LearnError::UnusableData(reason))
    }

    fn rows(&self, images: &Tensor) -> Vec<Vec<f32>> {
        pixels::rows(images, self.device, |images| self.head.forward(&self.features(images), false))
    }

    /// f32 `[n, 3, s, s]` in [0, 1] to what the body makes of it, f32 `[n, features, s/32, s/32]`.
    fn features(&self, images: &Tensor) -> Tensor {
        self.body.forward(&pixels::normalise(images, &self.preprocessing), false, Kind::Float)
    }
}

/// What a model says of examples, in their order.
#[derive(Debug, Clone, PartialEq)]
pub struct Answers {
    /// One number per class for each.
    pub logits: Vec<Vec<f32>>,
    /// One feature vector for each: the body's output averaged over the picture, 512 numbers (2048 of a ResNet-50). Pictures
    /// that look alike to the network have vectors that point the same way.
    pub embeddings: Vec<Vec<f32>>,
}

/// Logits to probabilities that sum to 1.
pub fn softmax(logits: &[f32]) -> Vec<f32> {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f32> = logits.iter().map(|logit| (logit - top).exp()).collect();
    let sum: f32 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::HeadSpec;

    const SIZE: u32 = 32;

    fn pictures(count: usize) -> Vec<Vec<u8>> {
        let picture = |seed: usize| (0..(SIZE * SIZE * 3) as usize).map(|i| (i * (seed + 7) % 251) as u8).collect();
        (0..count).map(picture).collect()
    }

    fn classifier(weights: &[u8]) -> Classifier {
        let preprocessing = Preprocessing::imagenet(SIZE);
        Classifier::load(Architecture::ResNet18, 3, preprocessing, weights, Device::Cpu).unwrap()
    }

    /// A network whose running statistics are not those it started with.
    fn network() -> Network {
        crate::set_threads(1);
        // Nothing is dropped: that would draw from the generator of tests that run beside this one.
        let head = HeadSpec { dropout: 0.0, ..HeadSpec::default() };
        let network = Network::with_head(Architecture::ResNet18, 3, head, 4, Device::Cpu);
        let pixels = pictures(8).concat();
        let images = Tensor::from_slice(&pixels).view([8, i64::from(SIZE), i64::from(SIZE), 3]);
        let images = pixels::normalise(&pixels::scale(&images, Device::Cpu), &Preprocessing::imagenet(SIZE));
        let _ = network.forward(&images, true, Kind::Float);
        network
    }

    #[test]
    fn a_saved_and_loaded_model_gives_the_logits_of_the_network_it_was() {
        let network = network();
        let weights = network.to_safetensors().unwrap();
        let found = classifier(&weights).logits(&pictures(3)).unwrap();
        let images = Tensor::from_slice(&pictures(3).concat()).view([3, i64::from(SIZE), i64::from(SIZE), 3]);
        let expected = pixels::rows(&images, Device::Cpu, |images| {
            network.forward(&pixels::normalise(images, &Preprocessing::imagenet(SIZE)), false, Kind::Float)
        });
        for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
            assert!((found - expected).abs() < 1e-3, "{found} is not {expected}");
        }
        assert_eq!(classifier(&weights).logits(&pictures(3)).unwrap(), found);
    }

    #[test]
    fn a_picture_gets_the_same_logits_alone_and_in_company() {
        let classifier = classifier(&network().to_safetensors().unwrap());
        let together = classifier.logits(&pictures(70)).unwrap();
        assert_eq!(together.len(), 70);
        for index in [0, 69] {
            let alone = &classifier.logits(&pictures(70)[index..=index]).unwrap()[0];
            assert!(alone.iter().zip(&together[index]).all(|(a, b)| (a - b).abs() < 1e-3));
        }
    }

    #[test]
    fn a_picture_of_another_size_is_refused() {
        let classifier = classifier(&network().to_safetensors().unwrap());
        assert!(classifier.logits(&[vec![0_u8; 5]]).is_err());
        assert!(classifier.logits::<Vec<u8>>(&[]).unwrap().is_empty());
    }

    #[test]
    fn a_heatmap_is_grad_cam_written_out() {
        let classifier = classifier(&network().to_safetensors().unwrap());
        let image = &pictures(1)[0];
        let map = classifier.heatmap(image, 1).unwrap();
        assert_eq!((map.side, map.values.len()), (1, 1));
        // The gradient of a logit by finite differences, channel by channel.
        let images = pixels::scale(&Tensor::from_slice(image).view([1, 32, 32, 3]), Device::Cpu);
        let features = no_grad(|| classifier.features(&images));
        let logit = |features: &Tensor| no_grad(|| classifier.head.forward(features, false)).double_value(&[0, 1]);
        let expected: f64 = (0..512)
            .map(|channel| {
                let moved = |by: f64| {
                    let moved = features.copy();
                    let mut cell = moved.narrow(1, channel, 1);
                    cell += by;
                    logit(&moved)
                };
                (moved(1e-2) - moved(-1e-2)) / 2e-2 * features.double_value(&[0, channel, 0, 0])
            })
            .sum();
        let found = f64::from(map.values[0]);
        assert!((found - expected.max(0.0)).abs() < 0.02 * expected.abs().max(0.1), "{found} is not {expected}");
        assert!(classifier.heatmap(image, 3).is_err() && classifier.heatmap(&image[1..], 0).is_err());
    }

    #[test]
    fn an_embedding_is_the_mean_of_the_features() {
        let classifier = classifier(&network().to_safetensors().unwrap());
        let pixels = pictures(3).concat();
        let examples = Examples::new(SIZE, &pixels, vec![0, 1, 2], vec![7, 8, 9]).unwrap();
        let Answers { logits, embeddings: found } = classifier.answers(&examples);
        assert_eq!((found.len(), found[0].len()), (3, 512));
        assert_eq!(logits, classifier.logits(&pictures(3)).unwrap());
        let images = pixels::scale(&Tensor::from_slice(&pixels).view([3, 32, 32, 3]), Device::Cpu);
        let features = no_grad(|| classifier.features(&images));
        assert!((f64::from(found[2][5]) - features.double_value(&[2, 5, 0, 0])).abs() < 1e-4);
    }

    #[test]
    fn probabilities_sum_to_one_even_of_huge_logits() {
        let probabilities = softmax(&[1000.0, 999.0, -1000.0]);
        assert!((probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert!(probabilities[0] > probabilities[1]);
    }
}
