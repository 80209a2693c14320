//! Explanations: what in images speaks for a class.

use ursa_domain::ErrorClass;
use ursa_domain::run::{ExplainedImage, ExplanationOrder, RunResult, TrainerEvent};
use ursa_storage::{Digest, Key};

use crate::process::Trainer;
use crate::snapshot::World;
use crate::{failed, finished, result};

/// The digest of a model that sees pictures of so many pixels.
fn trained(world: &World, image_size: u32) -> String {
    let mut order = world.order(1);
    order.recipe.image_size = image_size;
    let (events, _) = Trainer::start(&order).finish();
    finished(&events).model_digest.clone()
}

/// What the trainer made of an order, and its events.
fn explained(order: &ExplanationOrder) -> (Vec<ExplainedImage>, Vec<TrainerEvent>) {
    let (events, code) = Trainer::start_explanation(order).finish();
    let RunResult::Explanations(images) = result(&events) else { panic!("{:?}", events.last()) };
    assert_eq!(code, 0);
    (images.clone(), events)
}

fn warns(events: &[TrainerEvent], said: &str) -> bool {
    events
        .iter()
        .any(|event| matches!(event, TrainerEvent::Log { level, message } if level == "warn" && message.contains(said)))
}

#[test]
fn images_are_explained_for_the_class_that_is_wanted_and_their_pictures_kept() {
    let world = World::new();
    let model = trained(&world, 128);
    let rows = &world.manifest.rows[..6];
    let of = |class: Option<usize>| {
        let class = class.map(|class| world.manifest.classes[class].as_str());
        explained(&world.explanation(&model, rows, class))
    };
    let by_class: Vec<_> = (0..3).map(|class| of(Some(class)).0).collect();
    let (predicted, events) = of(None);
    assert!(!warns(&events, "too few"), "{events:?}");
    let told = events.iter().filter(|event| matches!(event, TrainerEvent::Progress { total: 6, .. })).count();
    assert_eq!(told, 6);

    for (place, row) in rows.iter().enumerate() {
        let maps: Vec<&ExplainedImage> = by_class.iter().map(|images| &images[place]).collect();
        for (class, map) in maps.iter().enumerate() {
            assert_eq!((map.id, &map.class), (row.image_id, &world.manifest.classes[class]));
            assert_eq!((map.side, map.values.len(), &map.predicted), (4, 16, &predicted[place].predicted));
            assert!(map.values.iter().all(|value| *value >= 0.0));
        }
        assert!((maps.iter().map(|map| map.probability).sum::<f32>() - 1.0).abs() < 1e-4);
        assert!(maps[0].values != maps[1].values || maps[1].values != maps[2].values, "{maps:?}");
        let said = &predicted[place];
        assert_eq!(said.class, said.predicted);
        let same = maps.iter().find(|map| map.class == said.class).unwrap();
        assert!(
            same.values.iter().zip(&said.values).all(|(one, other)| (one - other).abs() < 1e-4),
            "{same:?}\n{said:?}"
        );

        let key = Key::Heatmap { task: uuid::Uuid::from_u128(21), attempt: 2, image: row.image_id };
        assert_eq!(said.overlay.key, key.to_string());
        let digest: Digest = said.overlay.sha256.parse().unwrap();
        let picture = world.runtime.block_on(world.storage.get_verified(&key, &digest)).unwrap();
        assert_eq!(picture.len() as u64, said.overlay.bytes);
        let picture = image::load_from_memory(&picture).unwrap();
        assert_eq!((picture.width(), picture.height()), (128, 128));
    }
}

#[test]
fn a_map_that_is_too_coarse_is_remarked_on_and_what_cannot_be_explained_named() {
    let world = World::new();
    let model = trained(&world, 32);
    let rows = &world.manifest.rows[..1];
    let (images, events) = explained(&world.explanation(&model, rows, None));
    assert_eq!((images[0].side, images[0].values.len()), (1, 1));
    assert!(warns(&events, "1×1 places, too few"), "{events:?}");

    let refused = |order: &ExplanationOrder| {
        let (events, code) = Trainer::start_explanation(order).finish();
        let (class, message) = failed(&events);
        assert_eq!((class, code), (ErrorClass::Fatal, 1), "{message}");
        message.to_owned()
    };
    let unknown = refused(&world.explanation(&model, rows, Some("ultraviolet")));
    assert!(unknown.contains("does not know \"ultraviolet\"") && unknown.contains("colour 2"), "{unknown}");
    let missing = Digest::of(b"no model").to_string();
    assert!(refused(&world.explanation(&missing, rows, None)).contains(&missing));
    world.scribble_over(&rows[0]);
    let spoilt = refused(&world.explanation(&model, rows, None));
    assert!(spoilt.contains(&format!("image {}", rows[0].image_id)), "{spoilt}");
}
