//! Evaluations: what a model says of its own snapshot again, and of others.

use ursa_domain::ErrorClass;
use ursa_domain::evaluation::ClassErrors;
use ursa_domain::interpret::Confusion;
use ursa_domain::run::{EvaluatedModel, EvaluationOrder, RunResult, TrainedModel, TrainerEvent};
use ursa_domain::split::Side;
use ursa_storage::manifest::Manifest;
use ursa_storage::predictions::{self, PredictionRow};
use ursa_storage::{Digest, Key, ModelFile};

use crate::process::Trainer;
use crate::snapshot::World;
use crate::{failed, finished, package, result};

/// A model of the world's snapshot, and what its package says of every picture.
fn trained(world: &World) -> (TrainedModel, Vec<PredictionRow>) {
    let (events, _) = Trainer::start(&world.order(2)).finish();
    let model = finished(&events).clone();
    let package = package(world, &model);
    let stored = package.download_extra(&world.storage, ModelFile::Predictions);
    let stored = world.runtime.block_on(stored).unwrap().unwrap();
    (model, predictions::from_parquet(stored).unwrap())
}

/// What the evaluation told, what it stored, and its log.
fn evaluated(world: &World, order: &EvaluationOrder) -> (EvaluatedModel, Vec<PredictionRow>, Vec<String>) {
    let (events, code) = Trainer::start_evaluation(order).finish();
    let RunResult::Evaluation(evaluated) = result(&events) else { panic!("{:?}", events.last()) };
    assert_eq!(code, 0);
    let key = Key::Evaluation { task: order.task_id, attempt: order.attempt };
    assert_eq!(evaluated.predictions.key, key.to_string());
    let digest: Digest = evaluated.predictions.sha256.parse().unwrap();
    let stored = world.runtime.block_on(world.storage.get_verified(&key, &digest)).unwrap();
    assert_eq!(stored.len() as u64, evaluated.predictions.bytes);
    let log = |event: &TrainerEvent| match event {
        TrainerEvent::Log { message, .. } => Some(message.clone()),
        _ => None,
    };
    (evaluated.clone(), predictions::from_parquet(stored).unwrap(), events.iter().filter_map(log).collect())
}

/// The same pictures with the classes in the reverse order.
fn reversed(manifest: &Manifest) -> Manifest {
    let mut other = Manifest { number: 2, ..manifest.clone() };
    other.classes.reverse();
    let last = other.classes.len() as u32 - 1;
    other.rows.iter_mut().for_each(|row| row.class_index = last - row.class_index);
    other
}

#[test]
fn a_model_says_of_its_own_snapshot_what_its_package_says() {
    let world = World::new();
    let (model, expected) = trained(&world);
    let (told, found, _) = evaluated(&world, &world.evaluation(&model.model_digest, &world.manifest));
    assert_eq!(found, expected);

    let all: Vec<_> = found.iter().map(|row| row.prediction.clone()).collect();
    let errors = told.evaluation.errors();
    assert_eq!((errors.count, errors.of), (all.iter().filter(|one| one.is_wrong()).count() as u64, 33));
    let by_class: Vec<_> = told.evaluation.classes.iter().map(ClassErrors::share).collect();
    assert_eq!(by_class, Confusion::of(&all, 3).class_errors());
    let names: Vec<_> = told.evaluation.classes.iter().map(|class| class.class.clone()).collect();
    assert_eq!(names, world.manifest.classes);
    let loss = all.iter().map(|one| one.loss).sum::<f64>() / 33.0;
    assert!((told.evaluation.loss - loss).abs() < 1e-9, "{} is not {loss}", told.evaluation.loss);
    let valid = found.iter().filter(|row| row.side == Side::Valid && row.prediction.is_wrong()).count();
    assert_eq!(valid as u64, model.errors);
}

#[test]
fn classes_are_the_same_by_name_whatever_their_order() {
    let world = World::new();
    let (model, expected) = trained(&world);
    let other = reversed(&world.manifest);
    assert_ne!(other.rows[0].class_index, world.manifest.rows[0].class_index);
    let (told, found, log) = evaluated(&world, &world.evaluation(&model.model_digest, &other));
    assert_eq!(found, expected);
    assert_eq!(told.evaluation.classes[0].class, world.manifest.classes[0], "as the model has them");
    assert!(log.iter().any(|line| line.contains("33 pictures of discs@2")), "{log:?}");
    assert!(!log.iter().any(|line| line.contains("has no picture of")), "{log:?}");
}

#[test]
fn a_class_that_the_model_does_not_know_is_named_and_one_without_pictures_remarked_on() {
    let world = World::new();
    let (model, _) = trained(&world);
    let mut unknown = reversed(&world.manifest);
    unknown.classes[0] = "ultraviolet".into();
    let (events, code) = Trainer::start_evaluation(&world.evaluation(&model.model_digest, &unknown)).finish();
    let (class, message) = failed(&events);
    assert_eq!((class, code), (ErrorClass::Fatal, 1));
    assert!(message.contains("does not know ultraviolet") && message.contains("colour 2"), "{message}");

    let mut fewer = Manifest { number: 3, ..world.manifest.clone() };
    fewer.rows.retain(|row| row.class_index != 1);
    let (told, found, log) = evaluated(&world, &world.evaluation(&model.model_digest, &fewer));
    assert!(log.iter().any(|line| line.contains("has no picture of colour 1")), "{log:?}");
    assert_eq!((found.len(), told.evaluation.classes[1].of), (fewer.rows.len(), 0));
}

#[test]
fn a_side_without_pictures_is_no_obstacle_and_a_snapshot_without_any_is() {
    let world = World::new();
    let (model, expected) = trained(&world);
    let mut valid = Manifest { number: 4, ..world.manifest.clone() };
    valid.rows.retain(|row| row.side == Side::Valid);
    let (_, found, _) = evaluated(&world, &world.evaluation(&model.model_digest, &valid));
    let on_valid: Vec<_> = expected.into_iter().filter(|row| row.side == Side::Valid).collect();
    assert_eq!(found, on_valid);

    let none = Manifest { number: 5, rows: Vec::new(), ..world.manifest.clone() };
    let (events, _) = Trainer::start_evaluation(&world.evaluation(&model.model_digest, &none)).finish();
    assert!(failed(&events).1.contains("discs@5 has no pictures"), "{}", failed(&events).1);
}

#[test]
fn a_model_that_is_not_there_is_a_fatal_failure_that_names_it() {
    let world = World::new();
    let missing = Digest::of(b"no model").to_string();
    let (events, code) = Trainer::start_evaluation(&world.evaluation(&missing, &world.manifest)).finish();
    let (class, message) = failed(&events);
    assert_eq!((class, code), (ErrorClass::Fatal, 1));
    assert!(message.contains(&missing), "{message}");
}
