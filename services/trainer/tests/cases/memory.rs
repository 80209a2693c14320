//! Runs on machines with too little memory.

use ursa_domain::ErrorClass;
use ursa_domain::run::{Problem, TrainerEvent};

use super::process::Trainer;
use super::snapshot::World;
use super::{failed, finished, package};

/// Of 24 pictures at once it would need several times what there is.
#[test]
fn a_run_whose_memory_runs_out_goes_on_in_parts_and_says_so() {
    let world = World::new();
    let mut order = world.order(1);
    (order.recipe.image_size, order.recipe.batch_size) = (512, 24);
    let (events, code) = Trainer::start_with_memory(&order, 3 << 20).finish();
    let said = events.iter().find_map(|event| match event {
        TrainerEvent::Log { level, message } if message.contains("memory ran out") => Some((level.as_str(), message)),
        _ => None,
    });
    let (level, message) = said.unwrap_or_else(|| panic!("nothing was said of memory: {:?}", events.last()));
    assert!(level == "warn" && message.contains("24 pictures at once") && message.contains("parts of"), "{message}");
    let model = finished(&events);
    let metrics = package(&world, model).manifest.metrics;
    let parts = metrics.micro_batch.unwrap();
    assert!((2..=12).contains(&parts), "{parts}");
    let finding = model.findings.iter().find(|finding| finding.problem == Problem::MemoryRanOut).unwrap();
    assert_eq!(finding.recipe.as_ref().unwrap().micro_batch, Some(parts));
    assert_eq!(code, 0);
}

#[test]
fn memory_that_cannot_be_made_do_with_is_a_failure_worth_another_try() {
    let world = World::new();
    let mut order = world.order(1);
    (order.recipe.image_size, order.recipe.batch_size) = (1024, 24);
    let (events, code) = Trainer::start_with_memory(&order, 3 << 19).finish();
    let (class, message) = failed(&events);
    assert_eq!((class, code), (ErrorClass::Retryable, 1), "{message}");
    assert!(message.contains("memory does not hold"), "{message}");
}
