//! Two runs that share every batch.

use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;

/// One of two threads that stand for processes.
#[derive(Debug)]
struct Pair {
    rank: usize,
    to: Sender<Vec<f32>>,
    from: Receiver<Vec<f32>>,
}

impl AllReduce for Pair {
    fn rank(&self) -> usize {
        self.rank
    }

    fn processes(&self) -> usize {
        2
    }

    fn sum(&mut self, values: &mut [f32]) -> std::io::Result<()> {
        let gone = |_| std::io::Error::other("the other one is gone");
        self.to.send(values.to_vec()).map_err(|_| std::io::Error::other("the other one is gone"))?;
        let other = self.from.recv().map_err(gone)?;
        values.iter_mut().zip(other).for_each(|(value, other)| *value += other);
        Ok(())
    }
}

fn pair() -> [Pair; 2] {
    let ((to_second, from_first), (to_first, from_second)) = (channel(), channel());
    [Pair { rank: 0, to: to_second, from: from_second }, Pair { rank: 1, to: to_first, from: from_first }]
}

fn learned(training: &Training) -> Vec<tch::Tensor> {
    training.network().parameters().iter().map(|parameter| parameter.tensor.copy()).collect()
}

#[test]
fn two_that_share_every_batch_stay_equal_and_learn_what_one_learns_in_parts() {
    let plain = Recipe { dropout: 0.0, mix: Some(Mix::MixUp { alpha: 0.4 }), ..recipe(3, 1e-3) };
    let [first, second] = pair();
    let other = plain.clone();
    let follower = std::thread::spawn(move || {
        let mut training = training(other);
        training.join(Box::new(second)).unwrap();
        while training.follow().unwrap() {}
        learned(&training)
    });
    let mut leader = training(plain.clone());
    leader.join(Box::new(first)).unwrap();
    assert_eq!(run(&mut leader).1, None);
    assert_eq!(leader.history().len(), 3);
    let follower = follower.join().unwrap();
    assert!(learned(&leader) == follower, "they drifted apart");
    let mut alone = training(Recipe { micro_batch: Some(4), ..plain });
    run(&mut alone);
    for (alone, together) in learned(&alone).iter().zip(follower) {
        let difference = (alone - together).abs().max().double_value(&[]);
        assert!(difference < 1e-4, "{difference}");
    }
}

#[test]
fn a_run_whose_other_half_is_gone_fails_with_the_reason() {
    let [first, second] = pair();
    drop(second);
    let mut training = training(recipe(1, 1e-3));
    training.join(Box::new(first)).unwrap();
    let (_, error) = run(&mut training);
    assert_eq!(error, Some(LearnError::PeerLost { reason: "the other one is gone".into() }));
}
