//! From a snapshot in the object store to pictures in memory, ready for the network.
//!
//! Shards are read and prepared several at a time; what is kept of each is its prepared pictures only.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use ursa_domain::run::{RunOrder, SnapshotInfo, TrainerEvent};
use ursa_domain::split::Side;
use ursa_learner::{Dataset, Examples};
use ursa_storage::manifest::{Manifest, ManifestRow};
use ursa_storage::{Digest, Key, Storage};
use ursa_vision::{Limits, Preprocessing};

use crate::events;
use crate::failure::Failure;
use crate::input::Supervisor;

/// A snapshot's manifest, proven to be the one that was ordered.
pub(crate) async fn manifest(storage: &Storage, snapshot: &SnapshotInfo) -> Result<Manifest, Failure> {
    let digest: Digest = snapshot.digest.parse().map_err(|error| Failure::fatal(format!("the snapshot: {error}")))?;
    let bytes = storage.get_verified(&Key::Manifest { digest }, &digest).await?;
    Ok(Manifest::from_parquet(bytes)?)
}

/// Reads and prepares every picture of the manifest.
pub(crate) async fn load(
    storage: &Storage,
    manifest: &Manifest,
    order: &RunOrder,
    supervisor: &Supervisor,
) -> Result<Dataset, Failure> {
    let preprocessing = Preprocessing::imagenet(order.recipe.image_size);
    let mut prepared: Vec<Vec<u8>> = vec![Vec::new(); manifest.rows.len()];
    let mut done = 0;
    let mut shards = stream::iter(by_shard(manifest))
        .map(|(shard, rows)| prepare_shard(storage, shard, rows, preprocessing))
        .buffer_unordered(order.threads.max(1) as usize);
    while let Some(pictures) = shards.try_next().await? {
        supervisor.check()?;
        done += pictures.len() as u64;
        for (index, pixels) in pictures {
            prepared[index] = pixels;
        }
        events::emit(&TrainerEvent::Progress {
            done,
            total: manifest.rows.len() as u64,
            unit: "pictures".into(),
            message: "preparing pictures".into(),
        });
    }
    drop(shards);
    Ok(Dataset {
        classes: manifest.classes.clone(),
        train: examples(manifest, &mut prepared, Side::Train, preprocessing.size)?,
        valid: examples(manifest, &mut prepared, Side::Valid, preprocessing.size)?,
    })
}

/// One picture file as it lies in its shard.
pub(crate) async fn read_picture(storage: &Storage, row: &ManifestRow) -> Result<Bytes, Failure> {
    Ok(storage.get_range(&row.shard.parse()?, row.offset..row.offset.saturating_add(row.length)).await?)
}

/// One picture file as the network sees it.
pub(crate) fn prepare(preprocessing: &Preprocessing, row: &ManifestRow, file: &[u8]) -> Result<Vec<u8>, Failure> {
    // It was judged when it was verified, by rules that may be laxer than the usual ones.
    let limits = Limits { min_side: 1, ..Limits::default() };
    preprocessing
        .prepare(file, &limits)
        .map_err(|refusal| Failure::fatal(format!("image {} in {} cannot be used: {refusal}", row.image_id, row.shard)))
}

type Rows = Vec<(usize, ManifestRow)>;

fn by_shard(manifest: &Manifest) -> BTreeMap<String, Rows> {
    let mut shards: BTreeMap<String, Rows> = BTreeMap::new();
    for (index, row) in manifest.rows.iter().enumerate() {
        shards.entry(row.shard.clone()).or_default().push((index, row.clone()));
    }
    shards
}

/// The prepared pictures of one shard, each with its row's index.
async fn prepare_shard(
    storage: &Storage,
    shard: String,
    rows: Rows,
    preprocessing: Preprocessing,
) -> Result<Vec<(usize, Vec<u8>)>, Failure> {
    let bytes = storage.get(&shard.parse()?).await?;
    let prepare_all = move || {
        rows.iter().map(|(index, row)| Ok((*index, prepare(&preprocessing, row, picture(&bytes, row)?)?))).collect()
    };
    tokio::task::spawn_blocking(prepare_all)
        .await
        .map_err(|error| Failure::retryable(format!("preparing {shard} failed: {error}")))?
}

fn picture<'a>(shard: &'a [u8], row: &ManifestRow) -> Result<&'a [u8], Failure> {
    let start = row.offset as usize;
    let outside = || Failure::fatal(format!("image {} lies outside its shard {}", row.image_id, row.shard));
    shard.get(start..start.saturating_add(row.length as usize)).ok_or_else(outside)
}

fn examples(manifest: &Manifest, prepared: &mut [Vec<u8>], of: Side, size: u32) -> Result<Examples, Failure> {
    let rows: Vec<(usize, &ManifestRow)> = manifest.rows.iter().enumerate().filter(|(_, row)| row.side == of).collect();
    let mut pixels = Vec::with_capacity(rows.len() * size as usize * size as usize * 3);
    for (index, _) in &rows {
        pixels.append(&mut prepared[*index]);
    }
    let labels = rows.iter().map(|(_, row)| row.class_index).collect();
    let ids = rows.iter().map(|(_, row)| row.image_id.as_u128()).collect();
    Ok(Examples::new(size, &pixels, labels, ids)?)
}
