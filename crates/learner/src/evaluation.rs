//! How good logits are: loss, error rate and confusion. Pure; an epoch's metrics and a model's are counted here alike.

/// What was measured on one side of the split.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// Mean cross-entropy in nats.
    pub loss: f64,
    /// Pictures classified wrongly.
    pub wrong: u64,
    /// Pictures measured on.
    pub validated: u64,
    /// Rows actual, columns predicted.
    pub confusion: Vec<Vec<u64>>,
}

impl Evaluation {
    /// `wrong / validated`, in [0, 1].
    pub fn error_rate(&self) -> f64 {
        self.wrong as f64 / self.validated.max(1) as f64
    }
}

/// Compares one row of logits per picture with the labels. The largest logit wins, the first of equal ones.
pub fn evaluate(logits: &[Vec<f32>], labels: &[u32]) -> Evaluation {
    let classes = logits.first().map_or(0, Vec::len);
    let mut confusion = vec![vec![0; classes]; classes];
    let (mut loss, mut wrong) = (0.0, 0);
    for (row, &label) in logits.iter().zip(labels) {
        let (label, predicted) = (label as usize, largest(row));
        loss -= log_probability(row, label);
        wrong += u64::from(predicted != label);
        confusion[label][predicted] += 1;
    }
    let validated = logits.len() as u64;
    Evaluation { loss: loss / validated.max(1) as f64, wrong, validated, confusion }
}

pub(crate) fn largest(row: &[f32]) -> usize {
    (1..row.len()).fold(0, |best, index| if row[index] > row[best] { index } else { best })
}

pub(crate) fn log_probability(row: &[f32], label: usize) -> f64 {
    let top = f64::from(row[largest(row)]);
    let sum: f64 = row.iter().map(|&logit| (f64::from(logit) - top).exp()).sum();
    f64::from(row[label]) - top - sum.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_land_in_the_row_of_the_truth_and_the_column_of_the_guess() {
        let logits = [vec![2.0, 1.0, 0.0], vec![0.0, 3.0, 0.0], vec![0.0, 3.0, 0.0], vec![1.0, 1.0, 1.0]];
        let evaluation = evaluate(&logits, &[0, 1, 2, 1]);
        assert_eq!(evaluation.confusion, [[1, 0, 0], [1, 1, 0], [0, 1, 0]]);
        assert_eq!((evaluation.wrong, evaluation.validated), (2, 4));
        assert!((evaluation.error_rate() - 0.5).abs() < f64::EPSILON);
    }

    #[test]
    fn loss_is_the_mean_cross_entropy_even_of_huge_logits() {
        let evaluation = evaluate(&[vec![0.0, 0.0], vec![1000.0, 0.0]], &[0, 0]);
        assert!((evaluation.loss - 2.0_f64.ln() / 2.0).abs() < 1e-9, "{}", evaluation.loss);
    }
}
