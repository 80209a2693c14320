use proptest::prelude::*;

use super::*;
use ursa_domain::scheduling::{Unfit, could_ever_place, place};

fn placed(offer: &Offer, resources: Resources) -> Result<Vec<u32>, Unfit> {
    place(offer, &request(JobKind::Train, resources)).map(|placement| placement.gpus)
}

#[test]
fn the_smallest_gpu_that_fits_is_taken() {
    let offer = worker(1, 1, vec![gpu(0, 80), gpu(1, 24), gpu(2, 48), gpu(3, 8)]);
    assert_eq!(placed(&offer, of_gpus(1, 20)), Ok(vec![1]));
    assert_eq!(placed(&offer, of_gpus(2, 20)), Ok(vec![1, 2]));
    assert_eq!(placed(&offer, of_gpus(1, 0)), Ok(vec![3]));
}

#[test]
fn memory_that_somebody_else_uses_is_not_given() {
    let offer = worker(1, 1, vec![GpuOffer { free_bytes: 10 * GIB, ..gpu(0, 80) }]);
    assert_eq!(placed(&offer, of_gpus(1, 11)), Err(Unfit::Memory { largest_bytes: 10 * GIB }));
    assert_eq!(placed(&offer, of_gpus(1, 10)), Ok(vec![0]));
}

#[test]
fn who_shares_gets_a_gpu_that_is_shared_already() {
    let used = |bytes| GpuUse::Shared { bytes };
    let mut offer = worker(1, 1, vec![gpu(0, 24), GpuOffer { used: used(10 * GIB), ..gpu(1, 80) }]);
    assert_eq!(placed(&offer, shared(20)), Ok(vec![1]));
    assert_eq!(placed(&offer, of_gpus(1, 0)), Ok(vec![0]), "not to one who wants it alone");
    offer.gpus[1].used = used(70 * GIB);
    assert_eq!(placed(&offer, shared(20)), Ok(vec![0]), "what was promised is not promised again");
    offer.gpus[1].used = used(10 * GIB);
    offer.gpus[1].free_bytes = 5 * GIB;
    assert_eq!(placed(&offer, shared(20)), Ok(vec![0]), "what others use is not there");
    offer.gpus[0].used = GpuUse::Exclusive;
    assert_eq!(placed(&offer, shared(20)), Err(Unfit::Busy));
}

#[test]
fn training_takes_a_gpu_where_there_is_one_and_else_the_processor_once() {
    assert_eq!(placed(&worker(1, 1, gpus(1, 8)), Resources::default()), Ok(vec![0]));
    let mut without = worker(1, 2, vec![]);
    assert_eq!(placed(&without, Resources::default()), Ok(vec![]));
    assert_eq!(placed(&without, of_gpus(1, 0)), Err(Unfit::NoGpu { has: 0 }));
    without.cpu_training = false;
    assert_eq!(placed(&without, Resources::default()), Err(Unfit::Busy));
    let with = Offer { cpu_training: false, ..worker(1, 2, gpus(1, 8)) };
    assert_eq!(placed(&with, of_gpus(0, 0)), Err(Unfit::Busy), "on its processor is on its processor");
    assert_eq!(placed(&with, Resources::default()), Ok(vec![0]));
    assert_eq!(place(&with, &request(JobKind::Scrape, Resources::default())).map(|it| it.gpus), Ok(vec![]));
}

#[test]
fn the_first_thing_that_is_wrong_is_told() {
    let offer = Offer { labels: labels(&[("zone", "b"), ("spot", "1")]), ..worker(1, 1, gpus(2, 24)) };
    let with = |resources: Resources| placed(&offer, resources);
    let default = Resources::default;
    let draining = Offer { draining: true, ..offer.clone() };
    assert_eq!(placed(&Offer { kinds: vec![JobKind::Scrape], ..draining.clone() }, default()), Err(Unfit::Kind));
    assert_eq!(placed(&draining, Resources { labels: labels(&[("zone", "a")]), ..default() }), Err(Unfit::Draining));
    assert_eq!(with(Resources { labels: labels(&[("zone", "a")]), ..of_gpus(3, 0) }), Err(Unfit::Labels));
    assert_eq!(with(Resources { avoid_labels: labels(&[("spot", "")]), ..default() }), Err(Unfit::Labels));
    assert_eq!(with(of_gpus(3, 0)), Err(Unfit::NoGpu { has: 2 }));
    let model = |model: &str| Resources { gpu_models: vec![model.into()], ..of_gpus(2, 0) };
    assert_eq!(with(model("beta")), Err(Unfit::Model));
    assert_eq!(with(Resources { min_driver: "560".into(), ..model("alpha") }), Err(Unfit::Driver));
    assert_eq!(with(of_gpus(1, 25)), Err(Unfit::Memory { largest_bytes: 24 * GIB }));
    assert_eq!(placed(&Offer { slots: 0, ..offer.clone() }, of_gpus(1, 24)), Err(Unfit::Busy));
    let fitting = Resources { labels: labels(&[("zone", "")]), avoid_labels: labels(&[("spot", "2")]), ..default() };
    assert_eq!(with(fitting), Ok(vec![0]));
}

#[test]
fn reasons_are_ordered_by_how_near_they_come() {
    let order = [
        Unfit::Kind,
        Unfit::Draining,
        Unfit::Labels,
        Unfit::NoGpu { has: 1 },
        Unfit::Model,
        Unfit::Driver,
        Unfit::Memory { largest_bytes: 1 },
        Unfit::Busy,
    ];
    assert!(order.is_sorted());
}

proptest! {
    #[test]
    fn what_fits_now_could_always_and_what_could_never_says_so(
        offer in strategies::offer(1),
        resources in strategies::resources(),
        kind in strategies::kind(),
    ) {
        let request = request(kind, resources);
        match place(&offer, &request) {
            Ok(_) => prop_assert_eq!(could_ever_place(&offer, &request), Ok(())),
            Err(Unfit::Busy) => prop_assert_eq!(could_ever_place(&offer, &request), Ok(())),
            Err(never) => prop_assert_eq!(could_ever_place(&offer, &request), Err(never)),
        }
    }
}
