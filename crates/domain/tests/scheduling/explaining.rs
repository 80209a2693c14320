//! Why a task waits.

use proptest::prelude::*;
use ursa_domain::JobKind;
use ursa_domain::scheduling::{GpuOffer, GpuUse, Offer, Request, Resources, explain};

use crate::world::{GIB, any_lane, any_offer, gpu_worker, worker};

fn train(change: impl FnOnce(&mut Resources)) -> Request {
    let mut resources = Resources { gpus: Some(1), ..Resources::default() };
    change(&mut resources);
    Request { kind: JobKind::Train, resources }
}

fn three(gibibytes: &[u64]) -> Vec<Offer> {
    (1..=3).map(|id| gpu_worker(id, 4, gibibytes)).collect()
}

fn busy(mut offers: Vec<Offer>) -> Vec<Offer> {
    offers.iter_mut().flat_map(|offer| &mut offer.gpus).for_each(|gpu| gpu.used = GpuUse::Exclusive);
    offers
}

#[test]
fn too_little_memory() {
    let needs = |gibibytes: u64| train(|resources| resources.gpu_memory_bytes = gibibytes * GIB);
    let mut offers = three(&[16]);
    offers[1] = gpu_worker(2, 4, &[24, 16]);
    assert_eq!(explain(&needs(40), 1, &offers), "needs 1 GPU with 40 GiB; 3 workers attached, largest has 24 GiB");
    let both = train(|resources| (resources.gpus, resources.gpu_memory_bytes) = (Some(2), 20 * GIB));
    let text = "needs 2 GPUs with 20 GiB each; 3 workers attached, the most that 2 GPUs on one have is 16 GiB";
    assert_eq!(explain(&both, 1, &offers), text);
}

#[test]
fn what_is_there_never_looks_like_what_is_needed() {
    let mut offers = vec![gpu_worker(1, 4, &[24])];
    offers[0].gpus[0].free_bytes -= 1;
    let needs = train(|resources| resources.gpu_memory_bytes = 24 * GIB);
    assert_eq!(explain(&needs, 1, &offers), "needs 1 GPU with 24 GiB; 1 worker attached, largest has 23.9 GiB");
}

#[test]
fn all_that_could_are_at_work() {
    let mut offers = busy(three(&[24, 24]));
    let text = "needs 1 GPU; 3 workers attached, 3 could do it and are at work on something else";
    assert_eq!(explain(&train(|_| ()), 1, &offers), text);
    offers[0].gpus.clear();
    offers[1].draining = true;
    let text = "needs 1 GPU; 2 workers attached and 1 draining, 1 could do it and is at work on something else";
    assert_eq!(explain(&train(|_| ()), 1, &offers), text);
}

#[test]
fn no_worker_of_the_kind() {
    let mut offers = three(&[]);
    assert_eq!(explain(&train(|_| ()), 1, &[]), "no worker that takes train tasks is attached");
    for offer in &mut offers {
        offer.kinds = vec![JobKind::Scrape];
    }
    assert_eq!(explain(&train(|_| ()), 1, &offers), "no worker that takes train tasks is attached (3 others are)");
    assert_eq!(explain(&train(|_| ()), 1, &offers[..1]), "no worker that takes train tasks is attached (1 other is)");
}

#[test]
fn a_label_that_nobody_has_or_everybody() {
    let mut offers = three(&[24]);
    let zone = |value: &str| [("zone".to_owned(), value.to_owned())].into();
    let text = "needs 1 GPU, label zone=a; 3 workers attached, none fits the labels asked for";
    assert_eq!(explain(&train(|resources| resources.labels = zone("a")), 1, &offers), text);
    for offer in &mut offers {
        offer.labels = zone("b");
    }
    assert_eq!(explain(&train(|resources| resources.labels = zone("a")), 1, &offers), text);
    let text = "needs 1 GPU, not label zone; 3 workers attached, none fits the labels asked for";
    assert_eq!(explain(&train(|resources| resources.avoid_labels = zone("")), 1, &offers), text);
}

#[test]
fn too_few_for_a_gang() {
    let mut offers = three(&[24]);
    let text = "needs 1 GPU, on 4 workers at once; 3 workers attached, 3 could do it, 3 with room now";
    assert_eq!(explain(&train(|_| ()), 4, &offers), text);
    offers = busy(offers);
    offers.push(gpu_worker(4, 4, &[24]));
    let text = "needs 1 GPU, on 4 workers at once; 4 workers attached, 4 could do it, 1 with room now";
    assert_eq!(explain(&train(|_| ()), 4, &offers), text);
}

#[test]
fn too_few_gpus_or_none_of_a_model_or_with_a_driver() {
    let offers = three(&[24, 24]);
    let text = |change: fn(&mut Resources)| explain(&train(change), 1, &offers);
    let many = text(|resources| resources.gpus = Some(4));
    assert_eq!(many, "needs 4 GPUs; 3 workers attached, the most on one is 2 GPUs");
    let model = text(|resources| resources.gpu_models = vec!["A100".into(), "L4".into()]);
    assert_eq!(model, "needs 1 GPU, model A100 or L4; 3 workers attached, none has such a model");
    let driver = text(|resources| resources.min_driver = "600".into());
    assert_eq!(driver, "needs 1 GPU, driver 600 or later; 3 workers attached, none has a driver that new");
    let none = explain(&train(|_| ()), 1, &three(&[]));
    assert_eq!(none, "needs 1 GPU; 3 workers attached, none has a GPU");
}

#[test]
fn what_has_room_is_about_to_begin() {
    let text = "needs 1 GPU; 3 workers have room for it, and it is about to begin";
    assert_eq!(explain(&train(|_| ()), 1, &three(&[24])), text);
    let any = Request { kind: JobKind::Train, resources: Resources::default() };
    let text =
        "needs a GPU, or a worker that trains on its processor; 1 worker has room for it, and it is about to begin";
    assert_eq!(explain(&any, 1, &[worker(1, 1)]), text);
    let own = Request { kind: JobKind::Deploy, resources: Resources::default() };
    assert_eq!(explain(&own, 1, &[]), "the coordinator is about to begin");
}

#[test]
fn workers_that_drain_take_no_more() {
    let mut offers = three(&[24]);
    for offer in &mut offers {
        offer.draining = true;
    }
    assert_eq!(explain(&train(|_| ()), 1, &offers), "needs 1 GPU; 3 workers attached, none takes more");
}

/// A worker whose every word is a secret.
fn secretive() -> impl Strategy<Value = Offer> {
    any_offer().prop_map(|offer| Offer {
        labels: [("secretname".into(), "secretvalue".into())].into_iter().chain(offer.labels.clone()).collect(),
        gpus: offer.gpus.iter().map(|gpu| GpuOffer { model: "SecretGPU H100".into(), ..gpu.clone() }).collect(),
        ..offer
    })
}

proptest! {
    #[test]
    fn nothing_is_named_that_was_not_asked_for(
        lane in any_lane(),
        offers in prop::collection::vec(secretive(), 0..5),
    ) {
        let text = explain(&lane.request, lane.gang, &offers);
        prop_assert!(!text.to_lowercase().contains("secret"), "{}", text);
        prop_assert!(offers.iter().all(|offer| !text.contains(&offer.id.to_string())), "{}", text);
        let resources = &lane.request.resources;
        let asked: Vec<&String> = resources.labels.keys().chain(resources.avoid_labels.keys()).collect();
        for name in ["zone", "disk"] {
            prop_assert_eq!(text.contains(name), asked.iter().any(|label| *label == name) && text.starts_with("needs"));
        }
        prop_assert!(!text.contains("T4") && !text.contains("535"), "{}", text);
        prop_assert!(text.is_ascii() && !text.ends_with('.') && !text.contains("  "), "{}", text);
    }

    #[test]
    fn it_is_about_to_begin_only_if_it_could(lane in any_lane(), offers in prop::collection::vec(any_offer(), 0..5)) {
        let offers: Vec<Offer> =
            offers.into_iter().enumerate().map(|(id, offer)| Offer { id: uuid::Uuid::from_u128(id as u128), ..offer }).collect();
        let text = explain(&lane.request, lane.gang, &offers);
        let lanes = [ursa_domain::scheduling::LaneView { ready: 9, paused: false, head_ready_at: 0.0, ..lane }];
        let plan = ursa_domain::scheduling::assign(&lanes, &[], &offers, 0.0, 99);
        prop_assert_eq!(text.contains("about to begin"), !plan.assignments.is_empty(), "{}", text);
    }
}
