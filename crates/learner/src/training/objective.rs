//! What training makes small.

use tch::{Device, Kind, Reduction, Tensor};

use crate::augment::Target;

/// Cross-entropy with smoothed labels, weighted by class.
#[derive(Debug)]
pub(crate) struct Objective {
    /// f32 `[classes]`.
    weights: Tensor,
    label_smoothing: f64,
}

impl Objective {
    pub(crate) fn new(weights: &[f32], label_smoothing: f64, device: Device) -> Self {
        Self { weights: Tensor::from_slice(weights).to_device(device), label_smoothing }
    }

    /// What the pictures of a batch count together: each by its class's weight, each of its targets by its share.
    pub(crate) fn weight(&self, targets: &[Target]) -> Tensor {
        let weights = targets.iter().map(|target| self.weights_of(target).sum(Kind::Float));
        weights.reduce(|sum, weight| sum + weight).unwrap_or_else(|| Tensor::from(1.0_f32))
    }

    /// What logits (f32 `[n, classes]`) add to the mean loss of a batch whose pictures count `whole` together: of all of them
    /// it is that mean.
    pub(crate) fn loss(&self, logits: &Tensor, targets: &[Target], whole: &Tensor) -> Tensor {
        let weighted = |target: &Target| {
            let none = Reduction::None;
            let losses = logits.cross_entropy_loss(&target.labels, None::<Tensor>, none, -100, self.label_smoothing);
            (losses * self.weights_of(target)).sum(Kind::Float)
        };
        let losses = targets.iter().map(weighted).reduce(|sum, loss| sum + loss);
        losses.unwrap_or_else(|| logits.sum(Kind::Float) * 0.0) / whole
    }

    fn weights_of(&self, target: &Target) -> Tensor {
        self.weights.index_select(0, &target.labels) * &target.share
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;

    fn target(labels: &[i64], share: f32) -> Target {
        Target {
            labels: Tensor::from_slice(labels),
            share: Tensor::full([labels.len() as i64], f64::from(share), (Kind::Float, Device::Cpu)),
        }
    }

    fn logits() -> Tensor {
        Tensor::from_slice(&[2.0_f32, 0.0, 0.5, 1.5]).view([2, 2])
    }

    /// −log softmax of each picture's label.
    fn by_hand(label: [usize; 2]) -> [f64; 2] {
        let rows: [[f64; 2]; 2] = [[2.0, 0.0], [0.5, 1.5]];
        [0, 1].map(|row| rows[row].iter().map(|logit| logit.exp()).sum::<f64>().ln() - rows[row][label[row]])
    }

    fn close(objective: &Objective, targets: &[Target], expected: f64) {
        let found = objective.loss(&logits(), targets, &objective.weight(targets)).double_value(&[]);
        assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
    }

    #[test]
    fn plain_loss_is_the_mean_cross_entropy() {
        let [first, second] = by_hand([0, 0]);
        let objective = Objective::new(&[1.0, 1.0], 0.0, Device::Cpu);
        close(&objective, &[target(&[0, 0], 1.0)], f64::midpoint(first, second));
    }

    #[test]
    fn weights_count_pictures_of_rare_classes_more() {
        let [first, second] = by_hand([0, 1]);
        let objective = Objective::new(&[1.0, 3.0], 0.0, Device::Cpu);
        close(&objective, &[target(&[0, 1], 1.0)], (first + 3.0 * second) / 4.0);
    }

    #[test]
    fn parts_of_a_batch_add_up_to_its_loss() {
        let objective = Objective::new(&[1.0, 3.0], 0.1, Device::Cpu);
        let whole = [target(&[0, 1], 0.7), target(&[1, 0], 0.3)];
        let weight = objective.weight(&whole);
        let part = |index: i64| {
            let place = Range { start: index as usize, end: index as usize + 1 };
            let targets: Vec<Target> = whole.iter().map(|target| target.part(&place)).collect();
            objective.loss(&logits().narrow(0, index, 1), &targets, &weight).double_value(&[])
        };
        close(&objective, &whole, part(0) + part(1));
    }

    #[test]
    fn smoothing_spreads_a_share_over_all_classes() {
        let ([a0, a1], [b0, b1]) = (by_hand([0, 1]), by_hand([1, 0]));
        let objective = Objective::new(&[1.0, 1.0], 0.1, Device::Cpu);
        let expected = f64::midpoint(0.95 * (a0 + a1), 0.05 * (b0 + b1));
        close(&objective, &[target(&[0, 1], 1.0)], expected);
    }

    #[test]
    fn mixed_targets_count_by_their_shares() {
        let ([a0, a1], [b0, b1]) = (by_hand([0, 1]), by_hand([1, 0]));
        let objective = Objective::new(&[1.0, 1.0], 0.0, Device::Cpu);
        let targets = [target(&[0, 1], 0.7), target(&[1, 0], 0.3)];
        close(&objective, &targets, f64::midpoint(0.7 * (a0 + a1), 0.3 * (b0 + b1)));
    }
}
