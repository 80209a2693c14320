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

    /// The mean loss of logits (f32 `[n, classes]`), each picture counted by its class's weight and each of its targets by its
    /// share.
    pub(crate) fn loss(&self, logits: &Tensor, targets: &[Target]) -> Tensor {
        let weighted = |target: &Target| {
            let weight = self.weights.index_select(0, &target.labels) * &target.share;
            let (none, kind) = (Reduction::None, Kind::Float);
            let losses = logits.cross_entropy_loss(&target.labels, None::<Tensor>, none, -100, self.label_smoothing);
            ((losses * &weight).sum(kind), weight.sum(kind))
        };
        let (loss, weight) = targets
            .iter()
            .map(weighted)
            .reduce(|(loss, weight), (next_loss, next_weight)| (loss + next_loss, weight + next_weight))
            .unwrap_or_else(|| (logits.sum(Kind::Float) * 0.0, Tensor::from(1.0_f32)));
        loss / weight
    }
}

#[cfg(test)]
mod tests {
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

    fn close(found: &Tensor, expected: f64) {
        let found = found.double_value(&[]);
        assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
    }

    #[test]
    fn plain_loss_is_the_mean_cross_entropy() {
        let [first, second] = by_hand([0, 0]);
        let objective = Objective::new(&[1.0, 1.0], 0.0, Device::Cpu);
        close(&objective.loss(&logits(), &[target(&[0, 0], 1.0)]), f64::midpoint(first, second));
    }

    #[test]
    fn weights_count_pictures_of_rare_classes_more() {
        let [first, second] = by_hand([0, 1]);
        let objective = Objective::new(&[1.0, 3.0], 0.0, Device::Cpu);
        close(&objective.loss(&logits(), &[target(&[0, 1], 1.0)]), (first + 3.0 * second) / 4.0);
    }

    #[test]
    fn smoothing_spreads_a_share_over_all_classes() {
        let ([a0, a1], [b0, b1]) = (by_hand([0, 1]), by_hand([1, 0]));
        let objective = Objective::new(&[1.0, 1.0], 0.1, Device::Cpu);
        let expected = f64::midpoint(0.95 * (a0 + a1), 0.05 * (b0 + b1));
        close(&objective.loss(&logits(), &[target(&[0, 1], 1.0)]), expected);
    }

    #[test]
    fn mixed_targets_count_by_their_shares() {
        let ([a0, a1], [b0, b1]) = (by_hand([0, 1]), by_hand([1, 0]));
        let objective = Objective::new(&[1.0, 1.0], 0.0, Device::Cpu);
        let found = objective.loss(&logits(), &[target(&[0, 1], 0.7), target(&[1, 0], 0.3)]);
        close(&found, f64::midpoint(0.7 * (a0 + a1), 0.3 * (b0 + b1)));
    }
}
