//! What a run tells while it goes on: all that a recorder keeps of batches and of epochs.

use ursa_domain::ErrorClass;
use ursa_domain::interpret::Prediction;
use ursa_domain::recipe::{Rate, Stage};
use ursa_domain::run::{TrainerEvent, TrainerInput};
use ursa_domain::split::Side;
use ursa_learner::StagePlan;
use ursa_storage::{ModelFile, predictions};

use crate::process::Trainer;
use crate::snapshot::World;
use crate::{failed, finished, package, values};

/// Step and epoch of every measurement of that name.
fn places(events: &[TrainerEvent], wanted: &str) -> Vec<(u64, u32)> {
    let place = |event: &TrainerEvent| match event {
        TrainerEvent::Metric { name, step, epoch, .. } if name == wanted => Some((*step, *epoch)),
        _ => None,
    };
    events.iter().filter_map(place).collect()
}

fn assert_same(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    let same = found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() <= tolerance);
    assert!(found.len() == expected.len() && same, "{what}: {found:?} is not {expected:?}");
}

#[test]
fn every_batch_tells_both_losses_the_rates_of_all_groups_and_the_momentum() {
    let world = World::new();
    let mut order = world.order(3);
    order.recipe.stages = vec![Stage::one_cycle(3, Rate::Slice(1e-5, 1e-3))];
    let (events, _) = Trainer::start(&order).finish();
    let batches: Vec<(u64, u32)> = (0..9).map(|batch| (u64::from(batch) + 1, batch / 3)).collect();
    let groups = ["learning_rate_early", "learning_rate_late", "learning_rate"];
    for name in ["train_loss", "train_loss_smooth", "momentum"].into_iter().chain(groups) {
        assert_eq!(places(&events, name), batches, "{name}");
    }
    let plan = &StagePlan::all(&order.recipe, 3)[0];
    for (name, peak) in groups.into_iter().zip(plan.rates) {
        let expected: Vec<f64> = (0..9).map(|batch| plan.cycle.learning_rate(batch, peak)).collect();
        assert_same(name, &values(&events, name), &expected, 1e-15);
    }
    let momentum: Vec<f64> = (0..9).map(|batch| plan.cycle.momentum(batch)).collect();
    assert_same("momentum", &values(&events, "momentum"), &momentum, 1e-15);

    let (mut average, mut smooth) = (0.0, Vec::new());
    for (batch, loss) in (1..).zip(values(&events, "train_loss")) {
        average = 0.98 * average + 0.02 * loss;
        smooth.push(average / (1.0 - 0.98_f64.powi(batch)));
    }
    assert_same("train_loss_smooth", &values(&events, "train_loss_smooth"), &smooth, 1e-9);
}

/// So few pictures are learned from that all of them are measured after an epoch, and the model says of each what was measured.
#[test]
fn every_epoch_tells_what_was_measured_in_evaluation_mode_how_fast_it_was_and_the_memory() {
    let world = World::new();
    let mut order = world.order(3);
    (order.train_percent, order.recipe.stop_early) = (25, false);
    let (events, _) = Trainer::start(&order).finish();
    let told =
        ["train_loss_measured", "train_error_rate", "valid_loss", "error_rate", "error_rate_low", "error_rate_high"];
    for name in told.into_iter().chain(["wrong", "validated", "images_per_second", "memory_bytes"]) {
        assert_eq!(places(&events, name), [(1, 0), (2, 1), (3, 2)], "{name}");
    }
    let at_end = |name: &str| values(&events, name)[2];
    let package = package(&world, finished(&events));
    let stored = package.download_extra(&world.storage, ModelFile::Predictions);
    let rows = predictions::from_parquet(world.runtime.block_on(stored).unwrap().unwrap()).unwrap();
    for (side, loss, error_rate) in
        [(Side::Train, "train_loss_measured", "train_error_rate"), (Side::Valid, "valid_loss", "error_rate")]
    {
        let of_side = rows.iter().filter(|row| row.side == side).map(|row| &row.prediction);
        let all: Vec<&Prediction> = of_side.collect();
        let mean = all.iter().map(|one| one.loss).sum::<f64>() / all.len() as f64;
        assert_same(loss, &[at_end(loss)], &[mean], 1e-3);
        let wrong = all.iter().filter(|one| one.is_wrong()).count() as f64;
        assert_same(error_rate, &[at_end(error_rate)], &[wrong / all.len() as f64], 1e-12);
    }
    assert_eq!(values(&events, "validated"), [9.0; 3]);
    for (wrong, rate) in values(&events, "wrong").into_iter().zip(values(&events, "error_rate")) {
        assert!((wrong / 9.0 - rate).abs() < 1e-12, "{wrong} of 9 is not {rate}");
    }
    let bounds = values(&events, "error_rate_low").into_iter().zip(values(&events, "error_rate_high"));
    for ((low, high), rate) in bounds.zip(values(&events, "error_rate")) {
        assert!(low >= 0.0 && (low..=high).contains(&rate) && high <= 1.0 && high - low > 0.1, "{low} {rate} {high}");
    }
    assert!(values(&events, "images_per_second").iter().all(|rate| *rate > 0.0));
    assert!(values(&events, "memory_bytes").iter().all(|bytes| *bytes > 1e7), "{:?}", values(&events, "memory_bytes"));
}

#[test]
fn what_happens_is_told_when_it_happens() {
    let world = World::new();
    let mut trainer = Trainer::start(&world.order(500));
    let is_loss = |event: &TrainerEvent| matches!(event, TrainerEvent::Metric { name, .. } if name == "train_loss");
    let first = trainer.wait_for("the first batch", is_loss);
    assert!(matches!(first, TrainerEvent::Metric { step: 1, epoch: 0, .. }), "{first:?}");
    // It was read while there was something to cancel: before the last of 1500 batches was learned from.
    trainer.write(&TrainerInput::Cancel);
    let (events, _) = trainer.finish();
    assert_eq!(failed(&events).0, ErrorClass::Cancelled);
    assert!(places(&events, "train_loss").len() < 1500);

    let (events, _) = Trainer::start(&world.order(2)).finish();
    let order = events.iter().filter_map(|event| match event {
        TrainerEvent::Metric { name, step, .. } if name == "train_loss" || name == "valid_loss" => {
            Some((&**name, *step))
        }
        _ => None,
    });
    let batch = |step: u64| ("train_loss", step);
    let epoch = |step: u64| ("valid_loss", step);
    let expected = [batch(1), batch(2), batch(3), epoch(3), batch(4), batch(5), batch(6), epoch(6)];
    assert_eq!(order.collect::<Vec<_>>(), expected);
}
