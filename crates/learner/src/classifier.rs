//! A model as it serves: evaluation only, normalisation folded into the convolutions, float32.
//!
//! Validation results, golden examples and the inference node all come from this one class, so that what was measured is
//! what is served.

use tch::{Device, Kind, Tensor, no_grad};
use ursa_vision::Preprocessing;

use crate::dataset::Examples;
use crate::network::{Architecture, Body, Head, Network};
use crate::{LearnError, batch};

/// Pictures computed at once; larger requests are cut, which bounds memory.
const CHUNK: i64 = 64;

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
        architecture: impl Into<Architecture>,
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
            if image.len() != size * size * 3 {
                let reason = format!("a prepared picture has {} bytes, {} are needed", image.len(), size * size * 3);
                return Err(LearnError::UnusableData(reason));
            }
            pixels.extend_from_slice(image);
        }
        Ok(self.rows(&Tensor::from_slice(&pixels).view([images.len() as i64, size as i64, size as i64, 3])))
    }

    /// One row of logits for each example.
    pub fn logits_of(&self, examples: &Examples) -> Vec<Vec<f32>> {
        self.rows(examples.images())
    }

    fn rows(&self, images: &Tensor) -> Vec<Vec<f32>> {
        in_chunks(images, self.classes, self.device, |images| {
            let images = batch::normalise(images, &self.preprocessing);
            self.head.forward(&self.body.forward(&images, false, Kind::Float), false)
        })
    }
}

/// Runs `forward` over u8 pictures `[n, s, s, 3]` without gradients; it gets f32 `[m, 3, s, s]` in [0, 1].
pub(crate) fn in_chunks(
    images: &Tensor,
    classes: usize,
    device: Device,
    forward: impl Fn(&Tensor) -> Tensor,
) -> Vec<Vec<f32>> {
    let count = images.size()[0];
    let mut rows = Vec::with_capacity(count as usize);
    no_grad(|| {
        for start in (0..count).step_by(CHUNK as usize) {
            let chunk = images.narrow(0, start, CHUNK.min(count - start));
            let logits = forward(&batch::scale(&chunk, device)).to_device(Device::Cpu).contiguous();
            let mut values = vec![0.0_f32; logits.numel()];
            logits.copy_data(&mut values, logits.numel());
            rows.extend(values.chunks_exact(classes).map(<[f32]>::to_vec));
        }
    });
    rows
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

    const SIZE: u32 = 32;

    fn pictures(count: usize) -> Vec<Vec<u8>> {
        let picture = |seed: usize| (0..(SIZE * SIZE * 3) as usize).map(|i| (i * (seed + 7) % 251) as u8).collect();
        (0..count).map(picture).collect()
    }

    fn classifier(weights: &[u8]) -> Classifier {
        let preprocessing = Preprocessing::imagenet(SIZE);
        Classifier::load(Architecture::RESNET18, 3, preprocessing, weights, Device::Cpu).unwrap()
    }

    /// A network whose running statistics are not those it started with.
    fn network() -> Network {
        crate::set_threads(1);
        let network = Network::new(Architecture::RESNET18, 3, 4, Device::Cpu);
        let pixels = pictures(8).concat();
        let images = Tensor::from_slice(&pixels).view([8, i64::from(SIZE), i64::from(SIZE), 3]);
        let images = batch::normalise(&batch::scale(&images, Device::Cpu), &Preprocessing::imagenet(SIZE));
        let _ = network.forward(&images, true, Kind::Float);
        network
    }

    #[test]
    fn a_saved_and_loaded_model_gives_the_logits_of_the_network_it_was() {
        let network = network();
        let weights = network.to_safetensors().unwrap();
        let found = classifier(&weights).logits(&pictures(3)).unwrap();
        let images = Tensor::from_slice(&pictures(3).concat()).view([3, i64::from(SIZE), i64::from(SIZE), 3]);
        let expected = in_chunks(&images, 3, Device::Cpu, |images| {
            network.forward(&batch::normalise(images, &Preprocessing::imagenet(SIZE)), false, Kind::Float)
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
    fn probabilities_sum_to_one_even_of_huge_logits() {
        let probabilities = softmax(&[1000.0, 999.0, -1000.0]);
        assert!((probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert!(probabilities[0] > probabilities[1]);
    }
}
