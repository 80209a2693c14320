//! Several processes that learn one run together, each from its share of every batch: data parallelism.
//!
//! All begin with the same numbers and move them by the same sums of gradients, so they stay equal. What each keeps to itself
//! are the running statistics of normalisation, which it takes from its own shares; those of rank 0 are the run's.

use std::fmt::Debug;
use std::ops::Range;

use tch::{Kind, Tensor};

use super::micro_batch::FEWEST;
use crate::LearnError;
use crate::tensor_file::bytes_of;

/// A process's way to the others of its run. How the numbers travel, its maker decides.
pub trait AllReduce: Debug + Send {
    /// Which of them this is, from 0.
    fn rank(&self) -> usize;

    /// How many there are.
    fn processes(&self) -> usize;

    /// Replaces `values` by their sums over all processes, which call this with as many. All get the very same numbers. An
    /// error where one of them is gone.
    fn sum(&mut self, values: &mut [f32]) -> std::io::Result<()>;
}

/// The share of a batch of `count` pictures that is for process `rank` of `processes`.
pub(crate) fn share(count: usize, rank: usize, processes: usize) -> Range<usize> {
    rank * count / processes..(rank + 1) * count / processes
}

/// An error where a share of a batch would have too few pictures to learn from.
pub(crate) fn check(batch_size: usize, processes: usize) -> Result<(), LearnError> {
    if batch_size >= FEWEST * processes {
        return Ok(());
    }
    Err(LearnError::UnusableData(format!(
        "batches of {batch_size} pictures cannot be shared by {processes} processes: each needs {FEWEST} at least; raise \
         batch_size, or ask for fewer GPUs"
    )))
}

/// The sum over all processes.
pub(crate) fn sum_of(value: f64, all: &mut dyn AllReduce) -> Result<f64, LearnError> {
    let mut values = [value as f32];
    all.sum(&mut values).map_err(lost)?;
    Ok(f64::from(values[0]))
}

/// The sums of every tensor over all processes, in float32, each with the layout that it had. Undefined ones stay so.
pub(crate) fn sums(tensors: &[Tensor], all: &mut dyn AllReduce) -> Result<Vec<Tensor>, LearnError> {
    let defined = tensors.iter().filter(|tensor| tensor.defined());
    let bytes = defined.flat_map(bytes_of).collect::<Vec<u8>>();
    let mut values: Vec<f32> =
        bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]])).collect();
    drop(bytes);
    all.sum(&mut values).map_err(lost)?;
    let mut rest = &values[..];
    let summed = |tensor: &Tensor| {
        if !tensor.defined() {
            return tensor.shallow_clone();
        }
        let (own, after) = rest.split_at(tensor.numel());
        rest = after;
        let mut sum = tensor.to_kind(Kind::Float).copy();
        sum.copy_(&Tensor::from_slice(own).view(&tensor.size()[..]));
        sum
    };
    Ok(tensors.iter().map(summed).collect())
}

fn lost(error: std::io::Error) -> LearnError {
    LearnError::PeerLost { reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    /// A process beside another that has the same numbers.
    #[derive(Debug)]
    struct Twin;

    impl AllReduce for Twin {
        fn rank(&self) -> usize {
            0
        }

        fn processes(&self) -> usize {
            2
        }

        fn sum(&mut self, values: &mut [f32]) -> std::io::Result<()> {
            for value in values {
                *value *= 2.0;
            }
            Ok(())
        }
    }

    #[test]
    fn shares_cover_a_batch() {
        let shares: Vec<_> = (0..3).map(|rank| share(8, rank, 3)).collect();
        assert_eq!(shares, [0..2, 2..5, 5..8]);
        assert!(check(6, 3).is_ok());
        assert!(check(5, 3).unwrap_err().to_string().contains("3 processes"));
    }

    #[test]
    fn sums_keep_the_layout_of_what_is_summed() {
        let plain = Tensor::arange(120, (Kind::Float, Device::Cpu)).view([2, 3, 4, 5]);
        let tensors = [crate::network::channels_last(&plain), Tensor::new(), plain.to_kind(Kind::BFloat16)];
        let sums = sums(&tensors, &mut Twin).unwrap();
        assert_eq!(sums[0], &plain * 2.0);
        assert_eq!(sums[0].stride(), tensors[0].stride());
        assert!(!sums[1].defined());
        assert_eq!((sums[2].kind(), &sums[2]), (Kind::Float, &(&plain * 2.0)));
        assert!((sum_of(1.5, &mut Twin).unwrap() - 3.0).abs() < 1e-9);
    }
}
