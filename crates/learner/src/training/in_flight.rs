//! Batches that the device was given and that nobody knows the losses of yet.
//!
//! Whoever reads anything of a GPU waits until it is done with all that it was given, and by then it has nothing to do. So
//! many batches are given before the losses of all of them are read at once. A CPU is done with each when it is given.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tch::{Device, Tensor};

use super::engine::Stride;
use crate::recorder::BatchReport;

/// Batches that a GPU is given beside the one that is waited for.
const AHEAD_ON_GPU: usize = 16;
/// Nobody who watches a run waits longer than this, and a batch, for a loss.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is known of a batch before its loss is.
#[derive(Debug)]
pub(super) struct Given {
    /// How far its step goes.
    pub stride: Stride,
    /// Pictures in it.
    pub images: u64,
    /// What it gives, f64 without dimensions.
    pub loss: Tensor,
}

/// Batches in the order in which they were given.
#[derive(Debug)]
pub(super) struct InFlight {
    batches: VecDeque<Given>,
    /// Of the first of them, as far as they were read.
    losses: VecDeque<f64>,
    read_at: Instant,
    ahead: usize,
    patience: Duration,
}

impl Given {
    /// What it gave, as step number `step` of `steps`.
    pub(super) fn report(&self, epoch: u32, step: u64, steps: u64, loss: f64, smooth_loss: f64) -> BatchReport {
        let Stride { rates, momentum } = self.stride;
        BatchReport {
            epoch,
            step,
            steps,
            loss,
            smooth_loss,
            learning_rate: rates[rates.len() - 1],
            learning_rates: rates,
            momentum,
            images: self.images,
        }
    }
}

impl InFlight {
    pub(super) fn on(device: Device) -> Self {
        Self::ahead(if device.is_cuda() { AHEAD_ON_GPU } else { 0 }, PATIENCE)
    }

    /// One after another: where each step waits for something else anyway.
    pub(super) fn one_by_one() -> Self {
        Self::ahead(0, PATIENCE)
    }

    pub(super) fn ahead(ahead: usize, patience: Duration) -> Self {
        Self { batches: VecDeque::new(), losses: VecDeque::new(), read_at: Instant::now(), ahead, patience }
    }

    pub(super) fn len(&self) -> usize {
        self.batches.len()
    }

    /// Whether the device is to be given another batch before the first of them is waited for.
    pub(super) fn has_room(&self) -> bool {
        let is_due = self.losses.is_empty() && self.read_at.elapsed() > self.patience;
        self.batches.is_empty() || (self.batches.len() <= self.ahead && !is_due)
    }

    pub(super) fn add(&mut self, batch: Given) {
        self.batches.push_back(batch);
    }

    /// The first of them and its loss, waited for where it has to be.
    pub(super) fn take(&mut self) -> Option<(Given, f64)> {
        if self.losses.is_empty() && !self.batches.is_empty() {
            self.read();
        }
        Some((self.batches.pop_front()?, self.losses.pop_front()?))
    }

    fn read(&mut self) {
        let losses: Vec<&Tensor> = self.batches.iter().map(|batch| &batch.loss).collect();
        let mut values = vec![0.0; losses.len()];
        Tensor::stack(&losses, 0).to_device(Device::Cpu).copy_data(&mut values, losses.len());
        self.losses = values.into();
        self.read_at = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(loss: f64) -> Given {
        Given { stride: Stride { rates: [1.0; 3], momentum: 0.9 }, images: 8, loss: Tensor::from(loss) }
    }

    fn fill(flight: &mut InFlight, losses: &mut impl Iterator<Item = u32>) -> usize {
        let before = flight.len();
        while flight.has_room() {
            flight.add(batch(f64::from(losses.next().unwrap())));
        }
        flight.len() - before
    }

    fn take(flight: &mut InFlight) -> Option<f64> {
        flight.take().map(|(_, loss)| loss)
    }

    #[test]
    fn as_many_are_given_as_may_be_and_one_for_each_that_is_taken() {
        let mut flight = InFlight::ahead(3, Duration::MAX);
        let mut losses = 0..;
        assert_eq!(fill(&mut flight, &mut losses), 4);
        for expected in 0..20 {
            assert_eq!(take(&mut flight), Some(f64::from(expected)));
            assert_eq!(fill(&mut flight, &mut losses), 1);
        }
    }

    #[test]
    fn whoever_has_waited_long_enough_gets_what_there_is() {
        let mut flight = InFlight::ahead(3, Duration::ZERO);
        let mut losses = 0..;
        std::thread::sleep(Duration::from_millis(1));
        assert_eq!(fill(&mut flight, &mut losses), 1);
        assert_eq!(take(&mut flight), Some(0.0));
    }

    #[test]
    fn one_by_one_is_never_ahead() {
        let mut flight = InFlight::one_by_one();
        assert_eq!(take(&mut flight), None);
        assert_eq!(fill(&mut flight, &mut (0..)), 1);
        assert_eq!([take(&mut flight), take(&mut flight)], [Some(0.0), None]);
    }
}
