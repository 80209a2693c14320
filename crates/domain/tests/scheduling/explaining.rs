use proptest::prelude::*;

use super::*;
use ursa_domain::scheduling::explain;

fn why(resources: Resources, offers: &[Offer]) -> String {
    explain(&request(JobKind::Train, resources), 1, offers, &[])
}

fn in_use(offer: Offer) -> Offer {
    let gpus = offer.gpus.iter().map(|gpu| GpuOffer { used: GpuUse::Exclusive, ..gpu.clone() }).collect();
    Offer { gpus, ..offer }
}

fn three(offer: &Offer) -> [Offer; 3] {
    [1, 2, 3].map(|number| Offer { id: Uuid::from_u128(number), ..offer.clone() })
}

#[test]
fn it_says_what_is_needed_and_what_there_is() {
    let small = worker(1, 1, gpus(2, 24));
    let model = |model: &str| Resources { gpu_models: vec![model.into(), "A100".into()], ..of_gpus(2, 40) };
    let driver = Resources { min_driver: "560".into(), ..of_gpus(1, 0) };
    let zone = |resources| Resources { labels: labels(&[("zone", "a")]), ..resources };
    let picky = Resources { labels: labels(&[("disk", ""), ("zone", "a")]), ..Resources::default() };
    let picky = Resources { avoid_labels: labels(&[("spot", "")]), ..picky };
    let one_large = [small.clone(), small.clone(), in_use(worker(3, 4, gpus(1, 80)))];
    let cases = [
        (of_gpus(1, 40), three(&small), "needs 1 GPU with 40 GiB; 3 workers attached, largest has 24 GiB"),
        (of_gpus(2, 0), three(&in_use(small.clone())), "needs 2 GPUs; 3 workers attached, all their GPUs are in use"),
        (zone(of_gpus(1, 0)), three(&small), "needs label zone=a; none of 3 workers has it"),
        (
            picky,
            three(&small),
            "needs a worker with labels disk and zone=a and without label spot; none of 3 workers is one",
        ),
        (of_gpus(4, 0), three(&small), "needs 4 GPUs; 3 workers attached, none has more than 2"),
        (of_gpus(1, 0), three(&worker(1, 1, vec![])), "needs 1 GPU; 3 workers attached, none has a GPU"),
        (
            model("H100"),
            three(&small),
            "needs 2 GPUs of model H100 or A100 with 40 GiB each; 3 workers attached, none has 2 of them",
        ),
        (driver, three(&small), "needs 1 GPU with driver 560 or later; 3 workers attached, none has one"),
        (
            of_gpus(1, 40),
            one_large,
            "needs 1 GPU with 40 GiB; 3 workers attached, 1 could do it, but all its GPUs are in use",
        ),
        (
            of_gpus(0, 0),
            three(&Offer { cpu_training: false, ..small.clone() }),
            "needs a worker to train on its processor; 3 workers attached, they are at work on something else",
        ),
        (
            Resources::default(),
            three(&Offer { slots: 0, ..small.clone() }),
            "needs 1 GPU or a worker without GPUs; 3 workers attached, they are full",
        ),
        (
            of_gpus(1, 0),
            three(&Offer { draining: true, ..small.clone() }),
            "needs 1 GPU; 3 workers attached, none takes more tasks",
        ),
        (
            zone(Resources::default()),
            three(&Offer { labels: labels(&[("zone", "a")]), ..small.clone() }),
            "needs 1 GPU or a worker without GPUs with label zone=a; 3 workers have room, so it is about to begin",
        ),
    ];
    for (resources, offers, text) in cases {
        assert_eq!(why(resources, &offers), text);
    }
}

#[test]
fn a_kind_that_nobody_takes_is_named() {
    let scraper = Offer { kinds: vec![JobKind::Scrape], ..worker(1, 1, vec![]) };
    assert_eq!(why(Resources::default(), &[scraper]), "no worker that takes train tasks is attached");
    assert_eq!(why(Resources::default(), &[]), "no worker that takes train tasks is attached");
    let snapshot = request(JobKind::Snapshot, Resources::default());
    assert_eq!(explain(&snapshot, 1, &[], &[]), "the coordinator itself is about to begin it");
}

#[test]
fn a_gang_says_how_many_it_lacks() {
    let offers = [worker(1, 1, vec![]), worker(2, 1, vec![]), worker(3, 0, vec![]), worker(4, 0, gpus(1, 8))];
    let why = |gang, resources| explain(&request(JobKind::Probe, resources), gang, &offers, &[]);
    assert_eq!(why(4, Resources::default()), "needs 4 workers at once; 2 have room");
    assert_eq!(why(5, Resources::default()), "needs 5 workers at once; only 4 of 4 workers could do it");
    assert_eq!(why(2, Resources::default()), "needs 2 workers at once; 2 workers have room, so it is about to begin");
    assert_eq!(
        why(2, of_gpus(1, 4)),
        "needs 2 workers at once, each with 1 GPU with 4 GiB; only 1 of 4 workers could do it"
    );
}

#[test]
fn sizes_are_short_and_what_is_too_little_never_looks_like_enough() {
    let nearly = [worker(1, 1, vec![GpuOffer { free_bytes: 80 * GIB - 1, ..gpu(0, 80) }])];
    assert_eq!(why(of_gpus(1, 80), &nearly), "needs 1 GPU with 80 GiB; 1 worker attached, largest has 79.99 GiB");
    let half = Resources { gpu_memory_bytes: GIB * 3 / 2, ..of_gpus(1, 0) };
    let tiny = [worker(1, 1, vec![GpuOffer { free_bytes: GIB / 2, ..gpu(0, 1) }])];
    assert_eq!(why(half, &tiny), "needs 1 GPU with 1.5 GiB; 1 worker attached, largest has 0.5 GiB");
}

/// Words that occur in no sentence by chance.
fn secret() -> impl Strategy<Value = String> {
    "[b-df-hj-np-tv-z]{6,12}"
}

proptest! {
    #[test]
    fn nothing_is_named_that_the_request_did_not_name(
        mut offers in strategies::offers(6),
        secrets in proptest::collection::vec((secret(), secret(), secret()), 6),
        mut resources in strategies::resources(),
        names_one in any::<bool>(),
        kind in strategies::kind(),
        gang in 1..5_u32,
    ) {
        for (offer, (name, value, model)) in offers.iter_mut().zip(&secrets) {
            offer.labels.insert(name.clone(), value.clone());
            offer.labels.insert("zone".into(), value.clone());
            for gpu in &mut offer.gpus {
                gpu.model.clone_from(model);
                gpu.driver = "987.65".into();
            }
        }
        if names_one {
            resources.labels.insert(secrets[0].0.clone(), String::new());
        }
        let text = explain(&request(kind, resources.clone()), gang, &offers, &[]);
        for (name, value, model) in &secrets {
            prop_assert!(!text.contains(value) && !text.contains(model) && !text.contains("987.65"), "{text}");
            prop_assert!(!text.contains(name) || resources.labels.contains_key(name), "{text}");
        }
        for offer in &offers {
            prop_assert!(!text.contains(&offer.id.to_string()));
        }
    }
}

#[test]
fn room_that_is_kept_for_others_is_none() {
    let offers = [worker(1, 1, gpus(1, 24)), in_use(worker(2, 1, gpus(1, 24)))];
    let why = |gang, kept: &[Uuid]| explain(&request(JobKind::Train, of_gpus(1, 0)), gang, &offers, kept);
    assert_eq!(why(1, &[]), "needs 1 GPU; 1 worker has room, so it is about to begin");
    let kept = "needs 1 GPU; 1 worker has room that is kept for what waits for more of it, or is more urgent";
    assert_eq!(why(1, &[Uuid::from_u128(1)]), kept);
    assert_eq!(why(1, &[Uuid::from_u128(2)]), why(1, &[]));
    assert_eq!(why(2, &[Uuid::from_u128(1)]), "needs 2 workers at once, each with 1 GPU; none has room");
}
