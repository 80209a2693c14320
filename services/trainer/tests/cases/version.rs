//! Which code a model was trained by, also where it was more than one.

use ursa_domain::run::{CheckpointInfo, RunOrder, TrainerEvent};
use ursa_storage::Key;
use ursa_storage::package::Lineage;
use uuid::Uuid;

use crate::process::Trainer;
use crate::snapshot::World;
use crate::{checkpoints, finished, package};

/// As long as the version here, so that it can take its place in a checkpoint.
fn other_version() -> String {
    ursa_version::NAME.replace(ursa_version::CODE, "another-version!")
}

/// The same checkpoint, as the other version would have written it.
fn by_other_version(world: &World, checkpoint: &CheckpointInfo) -> CheckpointInfo {
    let version = ursa_version::NAME.as_bytes();
    let mut bytes = world.runtime.block_on(world.storage.get(&checkpoint.key.parse().unwrap())).unwrap().to_vec();
    let place = bytes.windows(version.len()).position(|found| found == version).unwrap();
    bytes[place..place + version.len()].copy_from_slice(other_version().as_bytes());
    let CheckpointInfo { epoch, step, .. } = *checkpoint;
    let key = Key::Checkpoint { task: Uuid::from_u128(7), attempt: 1, epoch, step };
    let sha256 = world.runtime.block_on(world.storage.put(&key, bytes.into())).unwrap().to_string();
    CheckpointInfo { key: key.to_string(), sha256, ..checkpoint.clone() }
}

fn versions(lineage: &Lineage) -> Vec<&str> {
    lineage.conditions.iter().map(|conditions| conditions.version.as_str()).collect()
}

/// What a run says of what it does not have from an unbroken one.
fn warning(events: &[TrainerEvent]) -> Option<&str> {
    events.iter().find_map(|event| match event {
        TrainerEvent::Log { message, .. } if message.contains("not bit for bit") => Some(message.as_str()),
        _ => None,
    })
}

#[test]
fn a_model_that_was_trained_by_other_code_says_so() {
    let world = World::new();
    let order = world.order(2);
    let (first, _) = Trainer::start(&order).finish();
    let lineage = package(&world, finished(&first)).manifest.lineage;
    assert_eq!((lineage.code_version.as_str(), versions(&lineage)), (ursa_version::NAME, vec![ursa_version::NAME]));

    let checkpoint = checkpoints(&first)[0];
    let resume = |attempt, checkpoint| {
        Trainer::start(&RunOrder { attempt, resume: Some(checkpoint), ..order.clone() }).finish().0
    };
    let same = resume(2, checkpoint.clone());
    assert_eq!(warning(&same), None);
    assert_eq!(versions(&package(&world, finished(&same)).manifest.lineage), [ursa_version::NAME]);

    let other = other_version();
    let mixed = resume(3, by_other_version(&world, checkpoint));
    let told = warning(&mixed).unwrap();
    assert!(told.contains(&format!("version {} in place of {other}", ursa_version::NAME)), "{told}");
    let lineage = package(&world, finished(&mixed)).manifest.lineage;
    assert_eq!(
        (lineage.code_version.as_str(), versions(&lineage)),
        (ursa_version::NAME, vec![other.as_str(), ursa_version::NAME])
    );
}
