//! Grad-CAM: where in a picture the evidence for a class lies (Selvaraju et al. 2016; lesson 2 §2.8).

use tch::{Device, Kind, Tensor, no_grad};

use super::Heatmap;
use crate::evaluation::largest;
use crate::{LearnError, softmax};

/// What a model says of a picture, and what in the picture it says so for.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// Of each class, in order.
    pub logits: Vec<f32>,
    /// The class that is explained: an index.
    pub class: u32,
    /// The evidence for it.
    pub heatmap: Heatmap,
}

impl Explanation {
    /// What the model gives the class that is explained, as a fraction.
    pub fn probability(&self) -> f32 {
        softmax(&self.logits)[self.class as usize]
    }

    /// The class that the model takes the picture for: an index.
    pub fn predicted(&self) -> u32 {
        largest(&self.logits) as u32
    }

    /// From the body's `activations`, f32 `[1, features, side, side]`, and the `head` that turns them into logits
    /// `[1, classes]`. Explains `class`, or what the head says most. The channels are weighted by the mean gradient of the
    /// class's logit; what speaks against the class is left out.
    pub(crate) fn of(
        activations: &Tensor,
        head: impl Fn(&Tensor) -> Tensor,
        class: Option<u32>,
    ) -> Result<Self, LearnError> {
        let activations = activations.detach().set_requires_grad(true);
        let scores = head(&activations).get(0);
        let logits = numbers(&scores);
        let class = class.unwrap_or_else(|| largest(&logits) as u32);
        if class as usize >= logits.len() {
            let reason = format!("class {class} is none of the {} classes of this model", logits.len());
            return Err(LearnError::UnusableData(reason));
        }
        let gradient = &Tensor::run_backward(&[scores.get(i64::from(class))], &[&activations], false, false)[0];
        let map = no_grad(|| {
            let weights = gradient.mean_dim([2_i64, 3].as_slice(), true, Kind::Float);
            (weights * &activations).sum_dim_intlist([0_i64, 1].as_slice(), false, Kind::Float).relu()
        });
        Ok(Self { logits, class, heatmap: Heatmap { side: map.size()[0] as u32, values: numbers(&map) } })
    }
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    let tensor = tensor.detach().to_device(Device::Cpu).contiguous();
    let mut values = vec![0.0_f32; tensor.numel()];
    tensor.copy_data(&mut values, tensor.numel());
    values
}

#[cfg(test)]
mod tests {
    use ursa_domain::recipe::Architecture;
    use ursa_vision::Preprocessing;

    use super::*;
    use crate::{Classifier, Network};

    /// 4×4 places.
    const SIZE: u32 = 128;

    /// A network in which the red channel alone reaches the end, by ways around the blocks, and speaks for class 1.
    fn red_is_class_one() -> Classifier {
        crate::set_threads(1);
        let network = Network::new(Architecture::ResNet18, 3, 1, Device::Cpu);
        let set = |name: &str, place: &[i64]| {
            let parameter = network.parameters().iter().find(|parameter| parameter.name == name);
            let parameter = parameter.unwrap_or_else(|| panic!("there is no {name}"));
            let mut cell = place.iter().fold(parameter.tensor.shallow_clone(), |tensor, at| tensor.get(*at));
            let _ = cell.fill_(1.0);
        };
        no_grad(|| {
            let weights = network.parameters().iter().filter(|parameter| parameter.tensor.dim() > 1);
            weights.for_each(|parameter| drop(parameter.tensor.shallow_clone().zero_()));
            set("body.conv1.weight", &[0, 0, 3, 3]);
            for layer in 2..=4 {
                set(&format!("body.layer{layer}.0.downsample.0.weight"), &[0, 0, 0, 0]);
            }
            // The head sees maxima first and means second; with means every place counts.
            set("head.fc1.weight", &[0, 512]);
            set("head.fc2.weight", &[1, 0]);
        });
        let weights = network.to_safetensors().unwrap();
        Classifier::load(Architecture::ResNet18, 3, Preprocessing::imagenet(SIZE), &weights, Device::Cpu).unwrap()
    }

    /// A picture that is red in one quadrant (row and column 0 or 1), a little off its neighbours, and black elsewhere.
    fn red_in(row: u32, column: u32) -> Vec<u8> {
        let half = SIZE / 2;
        let pixel = |place: u32| {
            let (y, x) = (place / SIZE, place % SIZE);
            let is_off = y.abs_diff(half) > 8 && x.abs_diff(half) > 8;
            [if is_off && (y / half, x / half) == (row, column) { 255 } else { 0 }, 0, 0]
        };
        (0..SIZE * SIZE).flat_map(pixel).collect()
    }

    #[test]
    fn the_evidence_lies_in_the_quadrant_where_it_is() {
        let classifier = red_is_class_one();
        for (row, column) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let explanation = classifier.explain(&red_in(row, column), None).unwrap();
            assert_eq!((explanation.class, explanation.heatmap.side), (1, 4));
            let map = explanation.heatmap.enlarged(SIZE);
            assert!(map.iter().all(|value| (0.0..=1.0).contains(value)), "no NaN, nothing beyond");
            let inside = |place: &u32| (place / SIZE / (SIZE / 2), place % SIZE / (SIZE / 2)) == (row, column);
            let sum = |places: Vec<u32>| places.into_iter().map(|place| map[place as usize]).sum::<f32>();
            let all = sum((0..SIZE * SIZE).collect());
            let share = sum((0..SIZE * SIZE).filter(inside).collect()) / all;
            assert!(share > 0.7, "only {share} of the evidence lies in quadrant {row}, {column}");
        }
    }

    #[test]
    fn nothing_speaks_for_a_class_that_the_picture_says_nothing_of() {
        let explanation = red_is_class_one().explain(&red_in(0, 0), Some(2)).unwrap();
        assert_eq!(explanation.class, 2);
        assert!(!explanation.heatmap.has_evidence() && explanation.logits[1] > explanation.logits[2]);
    }

    #[test]
    fn the_class_that_was_missed_has_evidence_of_its_own_whatever_the_model_takes_the_picture_for() {
        let classifier = red_is_class_one();
        let (predicted, missed) = (classifier.explain(&red_in(1, 0), None), classifier.explain(&red_in(1, 0), Some(2)));
        let (predicted, missed) = (predicted.unwrap(), missed.unwrap());
        assert_eq!((predicted.class, predicted.predicted(), missed.class, missed.predicted()), (1, 1, 2, 1));
        assert_ne!(predicted.heatmap, missed.heatmap);
        assert_eq!([&predicted, &missed].map(|one| one.heatmap.values.len()), [16, 16]);
        assert!(predicted.probability() > missed.probability());
        let sum: f32 = (0..3).map(|class| classifier.explain(&red_in(1, 0), Some(class)).unwrap().probability()).sum();
        assert!((sum - 1.0).abs() < 1e-5, "{sum}");
    }

    #[test]
    fn a_class_that_does_not_exist_is_refused() {
        let refused = red_is_class_one().explain(&red_in(0, 0), Some(3)).unwrap_err().to_string();
        assert!(refused.contains("class 3 is none of the 3 classes"), "{refused}");
    }
}
