//! Runs on machines with too little memory.

use ursa_domain::ErrorClass;
use ursa_domain::run::Problem;

use super::process::Trainer;
use super::snapshot::World;
use super::{failed, finished, package};

#[test]
fn a_run_in_parts_says_so_in_its_model() {
    let world = World::new();
    let mut order = world.order(1);
    order.recipe.micro_batch = Some(4);
    let (events, code) = Trainer::start(&order).finish();
    let model = finished(&events);
    assert_eq!((code, package(&world, model).manifest.metrics.micro_batch), (0, Some(4)));
    let found = model.findings.iter().any(|finding| finding.problem == Problem::MemoryRanOut);
    assert!(!found, "what was asked for is no problem");
}

#[test]
fn memory_that_cannot_be_made_do_with_is_a_failure_worth_another_try() {
    let world = World::new();
    let mut order = world.order(1);
    (order.recipe.image_size, order.recipe.batch_size) = (1024, 24);
    // Half a GiB more than where libtorch itself does not come up any more, which it does not always say, and less than
    // this takes.
    let (events, code) = Trainer::start_with_memory(&order, 15 << 17).finish();
    let (class, message) = failed(&events);
    assert_eq!((class, code), (ErrorClass::Retryable, 1), "{message}");
    assert!(message.contains("memory does not hold"), "{message}");
}
