//! The real trainer process against a real (local) object store with a small snapshot of generated pictures.

#![expect(clippy::unwrap_used, reason = "a test may panic, its helpers too")]

#[path = "cases/convert.rs"]
mod convert;
#[path = "cases/evaluate.rs"]
mod evaluate;
#[path = "cases/explain.rs"]
mod explain;
#[path = "cases/memory.rs"]
mod memory;
#[path = "cases/outage.rs"]
mod outage;
#[path = "cases/peers.rs"]
mod peers;
#[path = "support/process.rs"]
mod process;
#[path = "cases/recorder.rs"]
mod recorder;
#[path = "support/snapshot.rs"]
mod snapshot;
#[path = "cases/trial.rs"]
mod trial;
#[path = "cases/version.rs"]
mod version;
#[path = "support/web.rs"]
mod web;

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use process::Trainer;
use snapshot::World;
use ursa_domain::ErrorClass;
use ursa_domain::recipe::{PretrainedWeights, Rate, RateTest, Stage};
use ursa_domain::run::{CheckpointInfo, Problem, RunOrder, RunResult, TrainedModel, TrainerEvent, TrainerInput};
use ursa_domain::sgd_lab::SgdLab;
use ursa_domain::split::Side;
use ursa_learner::{Architecture, Classifier, Device};
use ursa_storage::package::{GoldenExamples, ModelPackage};
use ursa_storage::predictions;
use ursa_storage::{Digest, Key, ModelFile};
use ursa_vision::{Limits, Preprocessing};

fn result(events: &[TrainerEvent]) -> &RunResult {
    match events.last() {
        Some(TrainerEvent::Finished(result)) => result,
        other => panic!("the run did not finish: {other:?}"),
    }
}

fn finished(events: &[TrainerEvent]) -> &TrainedModel {
    match result(events) {
        RunResult::Model(model) => model,
        other => panic!("the run made no model: {other:?}"),
    }
}

fn failed(events: &[TrainerEvent]) -> (ErrorClass, &str) {
    match events.last() {
        Some(TrainerEvent::Failed { class, message, .. }) => (*class, message),
        other => panic!("the run did not fail: {other:?}"),
    }
}

fn checkpoints(events: &[TrainerEvent]) -> Vec<&CheckpointInfo> {
    events
        .iter()
        .filter_map(|event| if let TrainerEvent::Checkpoint(info) = event { Some(info) } else { None })
        .collect()
}

fn values(events: &[TrainerEvent], wanted: &str) -> Vec<f64> {
    let value = |event: &TrainerEvent| match event {
        TrainerEvent::Metric { name, value, .. } if name == wanted => Some(*value),
        _ => None,
    };
    events.iter().filter_map(value).collect()
}

fn package(world: &World, result: &TrainedModel) -> ModelPackage {
    let digest: Digest = result.model_digest.parse().unwrap();
    world.runtime.block_on(ModelPackage::download(&world.storage, &digest)).unwrap()
}

/// The last layer's weights.
fn head(world: &World, model: &TrainedModel) -> Vec<f32> {
    let weights = package(world, model).weights;
    let tensors = safetensors::SafeTensors::deserialize(&weights).unwrap();
    let last = tensors.tensor("head.fc2.weight").unwrap();
    last.data().chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

/// The files of prepared pictures that are kept for other runs.
fn cached(order: &RunOrder) -> Vec<PathBuf> {
    let folder = Path::new(&order.cache_dir).join("pixels");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "rgb")).collect()
}

fn weights_digest(world: &World, result: &TrainedModel) -> Digest {
    package(world, result).manifest.files[ModelFile::Weights.as_str()].sha256
}

#[test]
fn a_run_tells_what_it_does_and_leaves_a_model_that_reproduces_its_examples() {
    let world = World::new();
    let order = world.order(3);
    let (events, code) = Trainer::start(&order).finish();
    let result = finished(&events);
    assert_eq!(code, 0);
    assert!(
        events
            .iter()
            .any(|event| matches!(event, TrainerEvent::Log { message, .. } if message.contains("from scratch")))
    );
    for name in ["train_loss", "train_loss_smooth", "learning_rate", "momentum"] {
        assert_eq!(values(&events, name).len(), 9, "{name}");
    }
    assert_eq!(values(&events, "valid_loss").len(), 3);
    assert_eq!(values(&events, "error_rate"), result.error_rates);
    assert!(values(&events, "images_per_second").iter().all(|rate| *rate > 0.0));
    assert!(values(&events, "memory_bytes").iter().all(|bytes| *bytes > 1e7), "{:?}", values(&events, "memory_bytes"));
    assert_eq!(values(&events, "memory_bytes").len(), 3);
    let epochs: Vec<u32> = checkpoints(&events).iter().map(|info| info.epoch).collect();
    assert_eq!(epochs, [1, 2, 3]);
    let last = events.iter().rev().find_map(|event| match event {
        TrainerEvent::Progress { done, total, unit, .. } => Some((*done, *total, unit.clone())),
        _ => None,
    });
    assert_eq!(last, Some((9, 9, "batches".to_owned())));

    let package = package(&world, result);
    assert_eq!(package.manifest.classes, world.manifest.classes);
    assert_eq!(package.manifest.lineage.snapshot_digest, order.snapshot.digest);
    let sources = package.manifest.lineage.sources.as_ref().unwrap();
    assert_eq!((sources.images, sources.hosts, sources.top_hosts[0].host.as_str()), (result.trained, 1, "example.org"));
    assert_eq!(sources.licences.values().sum::<u64>(), result.trained);
    assert!(sources.licences["CC-BY-4.0"] > 0 && sources.licences["unknown"] > 0, "{sources:?}");
    assert_eq!(package.manifest.metrics.confusion, result.confusion);
    assert_eq!(result.confusion.iter().flatten().sum::<u64>(), package.manifest.metrics.validated);
    assert_eq!(result.model_json.as_bytes(), package.manifest_json);

    let onnx = world.runtime.block_on(package.download_extra(&world.storage, ModelFile::Onnx)).unwrap().unwrap();
    let predicted = package.download_extra(&world.storage, ModelFile::Predictions);
    let predicted = predictions::from_parquet(world.runtime.block_on(predicted).unwrap().unwrap()).unwrap();
    assert_eq!(predicted.len(), world.manifest.rows.len());
    let wrong = predicted.iter().filter(|row| row.side == Side::Valid && row.prediction.is_wrong()).count();
    assert_eq!(wrong as u64, result.errors);
    for row in &predicted {
        let listed = world.manifest.rows.iter().find(|listed| listed.image_id == row.prediction.id).unwrap();
        assert_eq!((listed.class_index, listed.side), (row.prediction.actual, row.side));
        assert_eq!(row.embedding.len(), 512);
    }
    let info = package.manifest.files[ModelFile::Onnx.as_str()];
    assert_eq!((info.bytes, info.bytes > package.weights.len() as u64 / 2), (onnx.len() as u64, true));

    let preprocessing: Preprocessing = serde_json::from_value(package.manifest.preprocessing.clone()).unwrap();
    let architecture = package.manifest.architecture.parse::<Architecture>().unwrap();
    let classes = package.manifest.classes.len();
    let classifier = Classifier::load(architecture, classes, preprocessing, &package.weights, Device::Cpu).unwrap();
    let golden = GoldenExamples::from_safetensors(&package.golden).unwrap();
    assert_eq!(golden.images.len(), package.manifest.golden.count as usize);
    assert!(golden.images.len() >= 6);
    let prepared: Vec<_> =
        golden.images.iter().map(|image| preprocessing.prepare(image, &Limits::default()).unwrap()).collect();
    let logits = classifier.logits(&prepared).unwrap();
    for (found, expected) in logits.iter().flatten().zip(golden.logits.iter().flatten()) {
        assert!((found - expected).abs() <= package.manifest.golden.tolerance, "{found} is not {expected}");
    }
}

#[test]
fn a_run_killed_and_resumed_ends_with_the_weights_of_an_unbroken_one() {
    let world = World::new();
    let order = world.order(3);
    let (unbroken, _) = Trainer::start(&order).finish();

    let mut trainer = Trainer::start(&order);
    let event = trainer.wait_for("a checkpoint", |event| matches!(event, TrainerEvent::Checkpoint(_)));
    trainer.kill();
    let TrainerEvent::Checkpoint(checkpoint) = event else { unreachable!() };
    assert_eq!(checkpoint.epoch, 1);

    let mut second = order.clone();
    second.attempt = 2;
    second.resume = Some(checkpoint);
    let (resumed, code) = Trainer::start(&second).finish();
    assert_eq!(code, 0);
    assert_eq!(values(&resumed, "train_loss").len(), 6, "only the epochs that were missing are trained");
    assert_eq!(finished(&resumed).error_rates, finished(&unbroken).error_rates);
    assert_eq!(weights_digest(&world, finished(&resumed)), weights_digest(&world, finished(&unbroken)));
}

/// As often as it takes, at any moment: every trainer but the last is killed after some batch or in the middle of one.
#[test]
fn a_run_killed_at_random_batches_ends_with_the_weights_of_an_unbroken_one() {
    const STEPS: u64 = 15;
    let world = World::new();
    let mut order = world.order(5);
    let (unbroken, _) = Trainer::start(&order).finish();
    order.checkpoint_seconds = 0;
    let seed = u64::from(std::process::id());
    let mut draws = (1_u64..).map(|n| (seed * 2_654_435_761 + n * 40_503) >> 7);
    let mut resumed = None;
    for kill in 0..3 {
        let before: u64 = resumed.as_ref().map_or(0, |checkpoint: &CheckpointInfo| checkpoint.step);
        let (batches, pause) = (1 + draws.next().unwrap() % 3, draws.next().unwrap() % 400);
        // However fast it is, something is left to do.
        let until = (before + batches).min(STEPS - 1);
        if until <= before {
            break;
        }
        let mut trainer = Trainer::start(&order);
        trainer.wait_for(
            "a batch",
            |event| matches!(event, TrainerEvent::Metric { name, step, .. } if name == "train_loss" && *step >= until),
        );
        std::thread::sleep(std::time::Duration::from_millis(pause));
        let said = trainer.kill();
        if let Some(checkpoint) = checkpoints(&said).pop() {
            resumed = Some(checkpoint.clone());
        }
        (order.attempt, order.resume) = (kill + 2, resumed.clone());
    }
    let (last, _) = Trainer::start(&order).finish();
    let done = order.resume.as_ref().map_or(0, |checkpoint| checkpoint.step);
    assert_eq!(values(&last, "train_loss").len() as u64, STEPS - done, "seed {seed}");
    assert_eq!(finished(&last).error_rates, finished(&unbroken).error_rates, "seed {seed}");
    assert_eq!(weights_digest(&world, finished(&last)), weights_digest(&world, finished(&unbroken)), "seed {seed}");
}

#[test]
fn a_checkpoint_of_another_recipe_is_refused_and_a_lost_one_costs_only_time() {
    let world = World::new();
    let order = world.order(1);
    let (events, _) = Trainer::start(&order).finish();
    let checkpoint = checkpoints(&events)[0].clone();

    let mut other = order.clone();
    other.recipe.seed += 1;
    other.resume = Some(checkpoint.clone());
    let (events, code) = Trainer::start(&other).finish();
    let (class, message) = failed(&events);
    assert_eq!((class, code), (ErrorClass::Fatal, 1));
    assert!(message.contains("the recipe's seed differs"), "{message}");

    world.delete(&checkpoint.key);
    let again = RunOrder { resume: Some(checkpoint), ..order };
    let (events, _) = Trainer::start(&again).finish();
    assert_eq!(finished(&events).error_rates.len(), 1);
}

#[test]
fn a_run_whose_newest_checkpoint_is_damaged_goes_on_from_the_one_before() {
    let world = World::new();
    let order = world.order(3);
    let (unbroken, _) = Trainer::start(&order).finish();
    let left: Vec<CheckpointInfo> = checkpoints(&unbroken).into_iter().cloned().collect();
    let [first, second, _] = &left[..] else { panic!("{left:?}") };
    let told = |events: &[TrainerEvent], wanted: &str| {
        events.iter().any(|event| matches!(event, TrainerEvent::Log { message, .. } if message.contains(wanted)))
    };
    world.damage(&second.key, 100..200);
    let again = RunOrder { attempt: 2, resume: Some(second.clone()), earlier: vec![first.clone()], ..order };
    let (events, code) = Trainer::start(&again).finish();
    assert_eq!((code, values(&events, "train_loss").len()), (0, 6), "two epochs were missing");
    assert!(told(&events, "after batch 6, 2 epochs, cannot be gone on from"), "{events:?}");
    assert_eq!(finished(&events).error_rates, finished(&unbroken).error_rates);
    assert_eq!(weights_digest(&world, finished(&events)), weights_digest(&world, finished(&unbroken)));

    world.delete(&first.key);
    let (events, code) = Trainer::start(&RunOrder { attempt: 3, ..again }).finish();
    assert_eq!((code, values(&events, "train_loss").len()), (0, 9));
    assert!(told(&events, "begins anew"), "{events:?}");
}

#[test]
fn a_run_with_an_absurd_loss_stops_and_another_goes_on_from_its_last_good_checkpoint() {
    let world = World::new();
    let mut order = world.order(1);
    order.recipe.stages.push(Stage::one_cycle(5, Rate::Flat(30.0)));
    let (events, code) = Trainer::start(&order).finish();
    let Some(TrainerEvent::Failed { class, message, findings }) = events.last() else { panic!("{:?}", events.last()) };
    assert_eq!((*class, code), (ErrorClass::Fatal, 1));
    assert!(message.contains("after epoch 2") && message.contains("stop_early: false"), "{message}");
    assert_eq!(values(&events, "valid_loss").len(), 2, "it stops there, and says what it saw");
    assert_eq!((findings[0].problem, findings[0].go_back_to), (Problem::RateTooHigh, Some(0)));
    assert!(findings[0].advice.contains("after epoch 1 (batch 3)"), "{}", findings[0].advice);
    let good = checkpoints(&events);
    assert_eq!((good.len(), good[0].epoch, good[0].step), (1, 1, 3), "what is lost is not kept");

    let mut lower = order.clone();
    (lower.task_id, lower.start) = (uuid::Uuid::from_u128(9), Some(good[0].clone()));
    lower.recipe = lower.recipe.with_rates_scaled(1e-5);
    let (events, _) = Trainer::start(&lower).finish();
    assert_eq!((finished(&events).error_rates.len(), values(&events, "train_loss").len()), (6, 15));
    world.delete(&good[0].key);
    let (events, _) = Trainer::start(&lower).finish();
    assert!(failed(&events).1.contains("leave out `checkpoint`"), "{}", failed(&events).1);

    let mut patient = order;
    patient.recipe.stop_early = false;
    let (events, _) = Trainer::start(&patient).finish();
    assert!(values(&events, "valid_loss").len() > 2, "it goes on where that is wanted");
}

#[test]
fn a_cancelled_run_stops_between_batches_and_says_so() {
    let world = World::new();
    let mut trainer = Trainer::start(&world.order(500));
    trainer.wait_for("a batch", |event| matches!(event, TrainerEvent::Metric { .. }));
    trainer.write(&TrainerInput::Cancel);
    let (events, code) = trainer.finish();
    assert_eq!((failed(&events).0, code), (ErrorClass::Cancelled, 1));
}

#[test]
fn a_run_cancelled_right_after_an_epoch_still_hands_in_its_checkpoint() {
    let world = World::new();
    let mut trainer = Trainer::start(&world.order(500));
    let is_end_of_epoch =
        |event: &TrainerEvent| matches!(event, TrainerEvent::Metric { name, .. } if name == "error_rate");
    trainer.wait_for("the end of an epoch", is_end_of_epoch);
    trainer.write(&TrainerInput::Cancel);
    let (events, _) = trainer.finish();
    assert_eq!(failed(&events).0, ErrorClass::Cancelled);
    let epochs = values(&events, "error_rate").len() as u32;
    let whole = checkpoints(&events).iter().filter(|info| info.step == u64::from(info.epoch) * 3).count();
    assert!(whole as u32 >= epochs, "every epoch that was done can be gone on from");
}

#[test]
fn a_run_stopped_anywhere_goes_on_with_the_next_batch_and_ends_with_the_same_weights() {
    let world = World::new();
    let order = world.order(3);
    let (unbroken, _) = Trainer::start(&order).finish();
    for stop_after in [1, 2, 4, 8] {
        let mut trainer = Trainer::start(&order);
        let is_there = |event: &TrainerEvent| matches!(event, TrainerEvent::Metric { name, step, .. } if name == "momentum" && *step >= stop_after);
        trainer.wait_for("a batch", is_there);
        trainer.write(&TrainerInput::Cancel);
        let (events, _) = trainer.finish();
        assert_eq!(failed(&events).0, ErrorClass::Cancelled);
        let checkpoint = checkpoints(&events).pop().unwrap().clone();
        assert!(checkpoint.step >= stop_after, "{checkpoint:?}");
        let mut second = order.clone();
        (second.attempt, second.resume) = (2, Some(checkpoint.clone()));
        let (resumed, _) = Trainer::start(&second).finish();
        assert_eq!(values(&resumed, "train_loss").len() as u64, 9 - checkpoint.step, "no batch is done again");
        assert_eq!(finished(&resumed).error_rates, finished(&unbroken).error_rates);
        assert_eq!(weights_digest(&world, finished(&resumed)), weights_digest(&world, finished(&unbroken)));
    }
}

#[test]
fn a_trainer_without_a_supervisor_ends_at_once() {
    let world = World::new();
    let mut trainer = Trainer::start(&world.order(500));
    trainer.wait_for("a batch", |event| matches!(event, TrainerEvent::Metric { .. }));
    trainer.close_input();
    assert_eq!(trainer.finish().1, 3);

    let mut idle = Trainer::spawn();
    idle.close_input();
    assert_eq!(idle.finish().1, 3);
}

#[test]
fn an_order_that_is_none_is_a_fatal_failure() {
    let mut trainer = Trainer::spawn();
    trainer.write_line("{\"type\":\"run\"}");
    let (events, code) = trainer.finish();
    assert_eq!((failed(&events).0, code), (ErrorClass::Fatal, 1));
    assert!(failed(&events).1.contains("the order cannot be read"));
}

#[test]
fn a_run_that_was_given_a_gpu_and_finds_none_fails_at_once() {
    let world = World::new();
    let order = RunOrder { gpus: 1, ..world.order(1) };
    let (events, code) = Trainer::start_without_gpus(&order).finish();
    let (class, message) = failed(&events);
    assert_eq!((class, code, events.len()), (ErrorClass::Infrastructure, 1, 1), "{message}");
    assert!(message.contains("it was given 1 GPU and finds none"), "{message}");
}

#[test]
fn a_missing_shard_is_a_fatal_failure_that_names_it() {
    let world = World::new();
    let shard = world.manifest.rows[0].shard.clone();
    world.delete(&shard);
    let (events, code) = Trainer::start(&world.order(1)).finish();
    let (class, message) = failed(&events);
    assert_eq!((class, code), (ErrorClass::Fatal, 1));
    assert!(message.contains(&shard), "{message}");
}

#[test]
fn a_picture_that_is_none_is_a_fatal_failure_that_names_it() {
    let world = World::new();
    let row = &world.manifest.rows[3];
    world.scribble_over(row);
    let (events, _) = Trainer::start(&world.order(1)).finish();
    let (class, message) = failed(&events);
    assert_eq!(class, ErrorClass::Fatal);
    assert!(message.contains(&row.image_id.to_string()), "{message}");
}

#[test]
fn pictures_are_prepared_once_for_all_runs_of_a_machine() {
    let world = World::new();
    let order = world.order(1);
    let (first, _) = Trainer::start(&order).finish();
    // A training picture of the first shard, which no golden example needs.
    world.scribble_over(&world.manifest.rows[0]);
    let again = RunOrder { attempt: 2, ..order.clone() };
    let (second, _) = Trainer::start(&again).finish();
    let mapped =
        |event: &TrainerEvent| matches!(event, TrainerEvent::Log { message, .. } if message.contains("mapped"));
    assert!(!first.iter().any(mapped) && second.iter().any(mapped));
    assert_eq!(weights_digest(&world, finished(&first)), weights_digest(&world, finished(&second)));

    // What was damaged since is made anew, which shows: a picture of it is none any more.
    let files = cached(&order);
    let mut bytes = std::fs::read(&files[0]).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&files[0], bytes).unwrap();
    let damaged = RunOrder { attempt: 4, ..order.clone() };
    let (events, _) = Trainer::start(&damaged).finish();
    assert!(!events.iter().any(mapped) && failed(&events).1.contains(&world.manifest.rows[0].image_id.to_string()));

    // Another size is another file, and so is what cannot be kept.
    let unkept = RunOrder { cache_dir: "/dev/null".into(), attempt: 3, ..order };
    let (third, _) = Trainer::start(&unkept).finish();
    assert!(failed(&third).1.contains(&world.manifest.rows[0].image_id.to_string()));
}

#[test]
fn shares_of_a_snapshot_and_evaluations_use_the_pictures_that_were_prepared_of_the_whole() {
    let world = World::new();
    let prepared = |events: &[TrainerEvent]| {
        let pictures = events.iter().filter_map(|event| match event {
            TrainerEvent::Progress { done, unit, .. } if unit == "pictures" => Some(*done),
            _ => None,
        });
        pictures.max()
    };
    let mut order = world.order(1);
    for (percent, expected) in [(25, Some(33)), (50, None), (100, None)] {
        (order.train_percent, order.attempt) = (percent, percent);
        let (events, _) = Trainer::start(&order).finish();
        assert_eq!((prepared(&events), cached(&order).len()), (expected, 1), "{percent} %");
        // Where nothing can be kept a run prepares what it wants and no more; it learns the same.
        let alone = RunOrder { cache_dir: "/dev/null".into(), attempt: percent + 1, ..order.clone() };
        let (alone, _) = Trainer::start(&alone).finish();
        assert_eq!(prepared(&alone), Some(finished(&alone).trained + 9), "{percent} %");
        assert_eq!(finished(&events).trained, finished(&alone).trained, "{percent} %");
        assert_eq!(weights_digest(&world, finished(&events)), weights_digest(&world, finished(&alone)), "{percent} %");
        let sources = package(&world, finished(&events)).manifest.lineage.sources.unwrap();
        assert_eq!(sources.images, finished(&events).trained, "{percent} %");
        let evaluation = world.evaluation(&finished(&events).model_digest, &world.manifest);
        let (told, _) = Trainer::start_evaluation(&evaluation).finish();
        let mapped =
            |event: &TrainerEvent| matches!(event, TrainerEvent::Log { message, .. } if message.contains("mapped"));
        assert!(told.iter().any(mapped), "{told:?}");
    }
}

#[test]
fn pictures_that_are_collected_again_give_the_same_model() {
    let world = World::new();
    let mut order = world.order(2);
    order.train_percent = 60;
    let mut again = world.manifest.clone();
    again.number += 1;
    for row in &mut again.rows {
        row.image_id = uuid::Uuid::now_v7();
    }
    let snapshot = world.evaluation("", &again).snapshot;
    let other = RunOrder { snapshot, attempt: 2, ..order.clone() };
    let weights = [&order, &other].map(|order| weights_digest(&world, finished(&Trainer::start(order).finish().0)));
    assert_eq!(weights[0], weights[1]);
}

#[test]
fn runs_that_begin_at_the_same_time_prepare_pictures_once() {
    let world = World::new();
    let order = world.order(1);
    let runs = [1, 2, 3].map(|attempt| Trainer::start(&RunOrder { attempt, ..order.clone() }));
    let told = runs.map(|run| run.finish().0);
    let prepares = |events: &&Vec<TrainerEvent>| {
        events
            .iter()
            .any(|event| matches!(event, TrainerEvent::Progress { message, .. } if message == "preparing pictures"))
    };
    assert_eq!((told.iter().filter(prepares).count(), cached(&order).len()), (1, 1));
    let digests = told.each_ref().map(|events| weights_digest(&world, finished(events)));
    assert!(digests.iter().all(|digest| *digest == digests[0]));
}

#[test]
fn a_run_that_waits_for_the_pictures_of_another_gets_on_as_that_one_does() {
    let world = World::new();
    let order = world.order(1);
    Trainer::start(&order).finish();
    let folder = Path::new(&order.cache_dir).join("pixels");
    let mut files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let lock = files.find(|path| path.extension().is_some_and(|extension| extension == "lock")).unwrap();
    let lock = std::fs::File::options().write(true).open(lock).unwrap();
    lock.lock().unwrap();
    let mut trainer = Trainer::start(&RunOrder { attempt: 2, ..order });
    for prepared in [5_u64, 8] {
        lock.write_all_at(&prepared.to_le_bytes(), 0).unwrap();
        trainer.wait_for("its progress", |event| {
            matches!(event, TrainerEvent::Progress { done, total: 33, unit, .. } if *done == prepared && unit == "pictures")
        });
    }
    drop(lock);
    assert_eq!(trainer.finish().1, 0);
}

#[test]
fn impossible_orders_fail_for_good_saying_what_to_change() {
    let refused = |world: &World, change: fn(&mut RunOrder), expected: &str| {
        let mut order = world.order(2);
        change(&mut order);
        let (events, code) = Trainer::start(&order).finish();
        let (class, message) = failed(&events);
        assert_eq!((class, code), (ErrorClass::Fatal, 1), "{message}");
        assert!(message.contains(expected), "{message}");
    };
    let world = World::new();
    refused(&world, |order| order.recipe.image_size = 7, "image_size");
    refused(&world, |order| order.recipe.stages[0].rate = Rate::Flat(1e30), "lower max_learning_rate");
    refused(&world, |order| order.snapshot.digest = Digest::of(b"other").to_string(), "is missing");
    refused(&world, |order| order.object_store = "ftp://nowhere".into(), "not an object store");
    refused(&World::of_classes(1), |_| (), "two classes");
}

#[test]
fn pretrained_weights_come_over_http_are_checked_and_kept() {
    let world = World::new();
    let (events, _) = Trainer::start(&world.order(1)).finish();
    let package = package(&world, finished(&events));
    let sha256 = Digest::of(&package.weights).to_string();
    let (location, network) = web::serve_once(package.weights.to_vec());

    let mut order = world.order(1);
    order.recipe.stages.insert(0, Stage::one_cycle(1, Rate::SliceTo(1e-3)).frozen());
    order.recipe.pretrained = Some(PretrainedWeights { location, sha256: sha256.clone() });
    let (events, _) = Trainer::start(&order).finish();
    assert!(failed(&events).1.contains("127.0.0.1"), "a private address is refused unless it is allowed");

    order.allowed_networks = vec![network];
    let (events, _) = Trainer::start(&order).finish();
    assert_eq!(finished(&events).error_rates.len(), 2);
    assert!(finished(&events).model_json.contains(&sha256));
    // The server answers once: the second run finds what the first one kept.
    finished(&Trainer::start(&order).finish().0);

    let file = world.folder.path().join("weights.safetensors");
    std::fs::write(&file, b"something else").unwrap();
    order.recipe.pretrained = Some(PretrainedWeights { location: file.display().to_string(), sha256 });
    let (events, _) = Trainer::start(&order).finish();
    let (class, message) = failed(&events);
    assert_eq!(class, ErrorClass::Fatal);
    assert!(message.contains("not the ones that were meant"), "{message}");
}

#[test]
fn the_trainer_describes_the_machine_as_json() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_ursa-trainer")).arg("--describe").output().unwrap();
    let description: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(description["threads"].as_u64().unwrap() >= 1);
    assert!(description["libtorch"].as_str().unwrap().starts_with("2."));
}

#[test]
fn the_key_of_a_checkpoint_carries_the_attempt() {
    let world = World::new();
    let mut order = world.order(1);
    order.attempt = 7;
    let (events, _) = Trainer::start(&order).finish();
    let expected = Key::Checkpoint { task: order.task_id, attempt: 7, epoch: 1, step: 3 }.to_string();
    assert_eq!(checkpoints(&events)[0].key, expected);
}

#[test]
fn a_test_of_rates_says_what_it_found_and_leaves_no_model() {
    let world = World::new();
    let mut order = world.order(1);
    order.rate_test = Some(RateTest { start: 1e-5, steps: 40, ..RateTest::default() });
    let (events, code) = Trainer::start(&order).finish();
    let RunResult::Rates(rates) = result(&events) else { panic!("{:?}", events.last()) };
    assert_eq!(code, 0);
    assert_eq!(values(&events, "loss_smooth").len(), rates.points.len());
    assert!(rates.points.len() > 10 && rates.points[0].rate.to_bits() == 1e-5_f64.to_bits());
    let suggestions = rates.suggestions.as_ref().unwrap();
    assert_eq!(suggestions.len(), 3);
    assert!(suggestions.iter().all(|one| one.rate > 0.0 && !one.reason.is_empty()), "{suggestions:?}");
    assert!(checkpoints(&events).is_empty());
    // The same test finds the same.
    assert_eq!(result(&Trainer::start(&order).finish().0), result(&events));
}

#[test]
fn a_run_goes_on_from_a_model_and_keeps_its_head() {
    let world = World::new();
    let (events, _) = Trainer::start(&world.order(2)).finish();
    let first = finished(&events);
    let sha256 = weights_digest(&world, first).to_string();
    let mut order = world.order(1);
    order.recipe = order.recipe.going_on_from(&format!("model:{}", first.model_digest), &sha256);
    order.recipe.stages[0].rate = Rate::Flat(1e-9);
    // At such a rate weights stay what they were; only what normalisation counts moves on.
    let is_same_head = |model: &TrainedModel| {
        head(&world, model).iter().zip(head(&world, first)).all(|(found, before)| (found - before).abs() < 1e-6)
    };
    let (events, _) = Trainer::start(&order).finish();
    assert!(is_same_head(finished(&events)));
    order.recipe.keep_head = false;
    let (events, _) = Trainer::start(&order).finish();
    assert!(!is_same_head(finished(&events)));

    order.recipe = order.recipe.going_on_from(&format!("model:{}", Digest::of(b"none")), &sha256);
    let (events, _) = Trainer::start(&order).finish();
    let (class, message) = failed(&events);
    assert_eq!(class, ErrorClass::Fatal);
    assert!(message.contains("is missing"), "{message}");
}

#[test]
fn a_share_of_the_training_side_is_learned_from_and_all_of_the_other_side_measured_on() {
    let world = World::new();
    let mut order = world.order(1);
    let (events, _) = Trainer::start(&order).finish();
    let whole = finished(&events).clone();
    order.train_percent = 50;
    let (events, _) = Trainer::start(&order).finish();
    let half = finished(&events);
    assert!(half.trained < whole.trained && 2 * half.trained >= whole.trained, "{} of {}", half.trained, whole.trained);
    assert_eq!(half.validated, whole.validated);
}

#[test]
fn an_experiment_tells_every_step_and_how_it_ended() {
    let lab = SgdLab { steps: 50, ..SgdLab::default() };
    let (events, code) = Trainer::start_lab(&lab).finish();
    let RunResult::Lab(outcome) = result(&events) else { panic!("{:?}", events.last()) };
    assert_eq!((code, values(&events, "loss").len()), (0, 51));
    assert!(!outcome.diverged && outcome.last.loss < values(&events, "loss")[0]);

    let (events, _) = Trainer::start_lab(&SgdLab { learning_rate: 3.0, steps: 500, ..lab }).finish();
    let RunResult::Lab(outcome) = result(&events) else { panic!("{:?}", events.last()) };
    assert!(outcome.diverged && outcome.verdict.contains("diverged"), "{outcome:?}");
}
