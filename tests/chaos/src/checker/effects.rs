//! What attempts left behind: each of it once, by who had the right to.

use std::collections::{HashMap, HashSet};

use ursa_storage::Key;
use uuid::Uuid;

use super::index::{Index, grouped};
use crate::history::Shard;

pub(super) fn effects_of_winners(index: &Index<'_>) -> Vec<String> {
    let mut broken = Vec::new();
    let mut made = HashSet::new();
    for shard in &index.history.shards {
        let what = format!("{} of {}", shard.key, index.name(shard.task));
        if index.winner(shard.task) != Some(shard.attempt) {
            broken.push(format!("{what} counts, but attempt {} did not succeed", shard.attempt));
        }
        if shard.key != key_of(shard) {
            broken.push(format!("{what} is not where attempt {} writes", shard.attempt));
        }
        if !made.insert((shard.task, &shard.kind)) {
            broken.push(format!("{what} is one too many"));
        }
    }
    for model in &index.history.models {
        if index.winner(model.task) != Some(model.attempt) {
            let (digest, name) = (&model.digest, index.name(model.task));
            broken.push(format!("model {digest} of {name} counts, but attempt {} did not succeed", model.attempt));
        }
    }
    let twice = grouped(&index.history.snapshots, |snapshot| Some(snapshot.job));
    for (job, snapshots) in twice.into_iter().filter(|(_, snapshots)| snapshots.len() > 1) {
        broken.push(format!("job {job} made {} snapshots", snapshots.len()));
    }
    broken
}

fn key_of(shard: &Shard) -> String {
    format!("shards/{}/{}/{}.tar", shard.kind, shard.task, shard.attempt)
}

pub(super) fn images_once(index: &Index<'_>) -> Vec<String> {
    let mut broken = Vec::new();
    let shards: HashMap<&str, &Shard> = index.history.shards.iter().map(|shard| (shard.key.as_str(), shard)).collect();
    let task_of = |key: &str| shards.get(key).map(|shard| shard.task);
    let mut seen: HashSet<Uuid> = HashSet::new();
    for image in &index.history.images {
        let what = format!("image {}", image.id);
        if !seen.insert(image.id) {
            broken.push(format!("{what} is there twice"));
        }
        let source = index.sources.get(&image.id).filter(|source| source.outcome == "fetched");
        match source {
            None => broken.push(format!("{what} was never fetched")),
            Some(source) if source.task.is_none() || source.task != task_of(&image.raw_shard) => {
                broken.push(format!("{what} lies in {}, which another task made", image.raw_shard));
            }
            Some(_) => {}
        }
        let is_verified = shards.get(image.raw_shard.as_str()).is_some_and(|shard| shard.verified);
        let normal = image.normal_shard.as_deref();
        let is_whole = match image.verdict.as_str() {
            "kept" => normal.is_some_and(|key| shards.get(key).is_some_and(|shard| shard.kind == "normal")),
            "refused" => !image.reason.is_empty(),
            _ => false,
        };
        // Nobody verifies what was fetched for a job that was cancelled.
        let is_given_up = source.is_some_and(|source| index.was_cancelled(source.job));
        let is_right = is_given_up || (is_verified && is_whole);
        if !is_right {
            broken.push(format!("{what} is {} ({:?}), normalised in {normal:?}", image.verdict, image.reason));
        }
    }
    for source in index.history.sources.iter().filter(|source| source.outcome == "fetched") {
        if !seen.contains(&source.id) {
            broken.push(format!("{} was fetched, and its image {} is lost", source.url, source.id));
        }
    }
    broken
}

pub(super) fn work_goes_on(index: &Index<'_>) -> Vec<String> {
    let mut broken = Vec::new();
    for pair in index.history.checkpoints.windows(2) {
        let (one, next) = (&pair[0], &pair[1]);
        if one.task == next.task && next.epoch <= one.epoch {
            let name = index.name(one.task);
            let (first, second) = (one.attempt, next.attempt);
            let (from, to) = (one.epoch, next.epoch);
            broken.push(format!("{name}: epoch {from} by attempt {first}, then epoch {to} by attempt {second}"));
        }
    }
    broken
}

pub(super) fn objects_whole(index: &Index<'_>) -> Vec<String> {
    let history = index.history;
    let shards = history.shards.iter().map(|shard| (shard.key.clone(), &shard.sha256));
    let checkpoints = history.checkpoints.iter().map(|checkpoint| (checkpoint.key.clone(), &checkpoint.sha256));
    let manifests = history.snapshots.iter().map(|it| (format!("snapshots/{}.parquet", it.digest), &it.digest));
    let models = history.models.iter().flat_map(|model| model.files.iter().map(|(key, sha256)| (key.clone(), sha256)));
    let counted = shards.chain(checkpoints).chain(manifests).chain(models);
    counted
        .filter_map(|(key, sha256)| match history.objects.get(&key) {
            None => Some(format!("{key} is gone")),
            Some(found) if found != sha256 => Some(format!("{key} is {found}, not {sha256}")),
            Some(_) => None,
        })
        .collect()
}

pub(super) fn nothing_is_left(index: &Index<'_>) -> Vec<String> {
    let history = index.history;
    let shards = history.shards.iter().map(|shard| shard.key.as_str());
    let named: HashSet<&str> = shards.chain(history.checkpoints.iter().map(|it| it.key.as_str())).collect();
    let models: HashSet<&str> = history.models.iter().map(|model| model.digest.as_str()).collect();
    let counts = |key: &Key| match key {
        Key::PackageClaim { digest, .. } => models.contains(digest.to_string().as_str()),
        key => named.contains(key.to_string().as_str()),
    };
    let uploads = history.stored.iter().filter(|key| key.attempt().is_some());
    uploads.filter(|&key| !counts(key)).map(|key| format!("{key} is there, and no row names it")).collect()
}
