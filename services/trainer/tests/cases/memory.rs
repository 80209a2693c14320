//! Runs on machines with too little memory.

use ursa_domain::ErrorClass;
use ursa_domain::recipe::RateTest;
use ursa_domain::run::{Problem, RunOrder, RunResult, TrainerEvent};

use super::process::Trainer;
use super::snapshot::World;
use super::{failed, finished, package, result, values};

/// An order of one batch a step, and how large its tensors may be: larger than any weight, smaller than what the first
/// convolution makes of the batch, be it in float32 or in bfloat16.
fn too_large_a_batch(world: &World) -> (RunOrder, u64) {
    let mut order = world.order(1);
    (order.recipe.image_size, order.recipe.batch_size, order.threads) = (128, 24, 1);
    (order, 11_000_000)
}

/// How often a warning said that memory does not hold the batch, and after how many batches the first time.
fn shortages(events: &[TrainerEvent], of_a_batch: &str) -> (usize, usize) {
    let is_shortage = |event: &TrainerEvent| {
        let words = "does not hold 24 pictures at once; going on with parts of ";
        matches!(event, TrainerEvent::Log { level, message } if level == "warn" && message.contains(words))
    };
    let first = events.iter().position(is_shortage).unwrap_or(events.len());
    (events.iter().filter(|event| is_shortage(event)).count(), values(&events[..first], of_a_batch).len())
}

#[test]
fn a_run_whose_memory_runs_out_says_so_in_its_log_and_goes_on_in_parts() {
    let world = World::new();
    let (order, bytes) = too_large_a_batch(&world);
    let (events, code) = Trainer::start_with_small_tensors(&order, bytes).finish();
    let model = finished(&events);
    assert_eq!((code, shortages(&events, "train_loss"), values(&events, "train_loss").len()), (0, (1, 0), 1));
    let parts = package(&world, model).manifest.metrics.micro_batch;
    assert!(parts.is_some_and(|parts| (2..24).contains(&parts)), "{parts:?}");
    let found = model.findings.iter().any(|finding| finding.problem == Problem::MemoryRanOut);
    assert!(found, "{:?}", model.findings);
}

#[test]
fn a_test_of_rates_whose_memory_runs_out_says_so_in_its_log_and_goes_on_in_parts() {
    let world = World::new();
    let (mut order, bytes) = too_large_a_batch(&world);
    order.rate_test = Some(RateTest { steps: 2, ..RateTest::default() });
    let (events, code) = Trainer::start_with_small_tensors(&order, bytes).finish();
    let RunResult::Rates(rates) = result(&events) else { panic!("{:?}", events.last()) };
    assert_eq!((code, shortages(&events, "loss"), rates.points.len()), (0, (1, 0), 2));
}

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
