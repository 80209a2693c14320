//! From a snapshot in the object store to prepared pictures on this machine, ready for the network.
//!
//! Shards are read and prepared several at a time; what is kept of each is its prepared pictures only. Those of the whole
//! snapshot are kept, whatever share of it a run learns from: the runs of a learning curve prepare them once.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use ursa_domain::run::{EvaluationOrder, RunOrder, TrainerEvent};
use ursa_domain::split::Side;
use ursa_learner::{Dataset, Examples};
use ursa_storage::manifest::{Manifest, ManifestRow};
use ursa_storage::{Digest, Key, Storage};
use ursa_vision::{Limits, Preprocessing};
use uuid::Uuid;

use crate::events;
use crate::failure::Failure;
use crate::input::Supervisor;
use crate::pixel_cache::{PixelCache, Turn};

/// How often a run looks whether another one is done with the pictures that both want.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Which pictures are wanted, in which form, and what this machine has for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// Digest of the snapshot, hex.
    pub snapshot: &'a str,
    /// Share of its training side, in percent.
    pub train_percent: u32,
    /// How a picture becomes the network's input.
    pub preprocessing: Preprocessing,
    /// The folder for prepared pictures.
    pub cache_dir: &'a str,
    /// Shards that are read and prepared at a time.
    pub threads: u32,
}

impl<'a> Wanted<'a> {
    /// What a run learns from and is measured on.
    pub(crate) fn of(order: &'a RunOrder) -> Self {
        Self {
            snapshot: &order.snapshot.digest,
            train_percent: order.train_percent,
            preprocessing: Preprocessing::imagenet(order.recipe.image_size),
            cache_dir: &order.cache_dir,
            threads: order.threads,
        }
    }

    /// What a model that wants its pictures so is asked about: all there is.
    pub(crate) fn by(order: &'a EvaluationOrder, preprocessing: Preprocessing) -> Self {
        let EvaluationOrder { snapshot, cache_dir, threads, .. } = order;
        Self { snapshot: &snapshot.digest, train_percent: 100, preprocessing, cache_dir, threads: *threads }
    }
}

/// A snapshot's manifest, proven to be the one that is wanted.
pub(crate) async fn manifest(storage: &Storage, wanted: &Wanted<'_>) -> Result<Manifest, Failure> {
    let digest = wanted.snapshot.parse();
    let digest: Digest = digest.map_err(|error| Failure::fatal(format!("the snapshot: {error}")))?;
    let bytes = storage.get_verified(&Key::Manifest { digest }, &digest).await?;
    Ok(Manifest::from_parquet(bytes)?)
}

/// The same with `percent` of each class's training pictures, one at least. A larger share holds all of a smaller one, so
/// that a learning curve adds pictures and exchanges none.
pub(crate) fn share(mut manifest: Manifest, percent: u32) -> Manifest {
    if percent >= 100 {
        return manifest;
    }
    let mut classes: BTreeMap<u32, Vec<(Digest, Uuid)>> = BTreeMap::new();
    for row in manifest.rows.iter().filter(|row| row.side == Side::Train) {
        // In an order that has nothing to do with when or from where they came.
        let place = Digest::of(row.sha256.as_bytes());
        classes.entry(row.class_index).or_default().push((place, row.image_id));
    }
    let mut kept = HashSet::new();
    for mut images in classes.into_values() {
        images.sort_unstable();
        let count = (images.len() * percent as usize).div_ceil(100).max(1);
        kept.extend(images.into_iter().take(count).map(|(_, id)| id));
    }
    manifest.rows.retain(|row| row.side == Side::Valid || kept.contains(&row.image_id));
    manifest
}

/// The pictures that are wanted of a snapshot with that manifest, prepared: mapped from this machine's cache, which is filled
/// where it is not.
pub(crate) async fn load(
    storage: &Storage,
    manifest: &Manifest,
    wanted: &Wanted<'_>,
    supervisor: &Supervisor,
) -> Result<Dataset, Failure> {
    let Some(file) = keep(storage, manifest, wanted, supervisor).await? else {
        // Memory need not hold what is not wanted.
        return in_memory(storage, &share(manifest.clone(), wanted.train_percent), wanted, supervisor).await;
    };
    let data = Layout::of(manifest, wanted.preprocessing.size).map(manifest, &file)?;
    if wanted.train_percent >= 100 {
        return Ok(data);
    }
    let chosen = Told::of(&share(manifest.clone(), wanted.train_percent), Side::Train).ids;
    let chosen: HashSet<u128> = chosen.into_iter().collect();
    let places: Vec<usize> = (0..data.train.len()).filter(|&place| chosen.contains(&data.train.ids()[place])).collect();
    Ok(Dataset { train: data.train.subset(&places), ..data })
}

/// The file with every picture of the snapshot, made where it is not there; `None` where there can be none.
async fn keep(
    storage: &Storage,
    manifest: &Manifest,
    wanted: &Wanted<'_>,
    supervisor: &Supervisor,
) -> Result<Option<PathBuf>, Failure> {
    let layout = Layout::of(manifest, wanted.preprocessing.size);
    let cache = PixelCache::of(wanted);
    let not_kept = |error: io::Error| {
        events::log("warn", format!("pictures are not kept for the next run: {error}"));
        Ok(None)
    };
    let turn = match turn(&cache, manifest.rows.len() as u64, supervisor).await? {
        Ok(turn) => turn,
        Err(error) => return not_kept(error),
    };
    if let Some(file) = cache.find(layout.bytes()) {
        events::log("info", format!("pictures are mapped from {}", file.display()));
        return Ok(Some(file));
    }
    let draft = match cache.begin(layout.bytes()) {
        Ok(draft) => draft,
        Err(error) => return not_kept(error),
    };
    let broken = |error: io::Error| Failure::retryable(format!("cannot keep pictures: {error}"));
    let mut done = 0;
    let write = |offset, pixels: &[u8]| {
        done += 1;
        turn.tell(done);
        draft.write(offset, pixels).map_err(broken)
    };
    prepare_all(storage, manifest, wanted, supervisor, &layout, write).await?;
    draft.finish().map(Some).map_err(broken)
}

/// Waits until no other run of this machine makes the same file; until the value is dropped none does. As long as the other one
/// gets on with those `pictures`, this one does.
async fn turn(cache: &PixelCache, pictures: u64, supervisor: &Supervisor) -> Result<io::Result<Turn>, Failure> {
    let mut seen = None;
    loop {
        match cache.turn() {
            Ok(Some(turn)) => return Ok(Ok(turn)),
            Ok(None) => supervisor.check()?,
            Err(error) => return Ok(Err(error)),
        }
        if seen.is_none() {
            events::log("info", "another run of this machine is preparing the same pictures: waiting for it");
        }
        let done = cache.prepared();
        if seen.replace(done) != Some(done) {
            events::emit(&TrainerEvent::Progress {
                done,
                total: pictures,
                unit: "pictures".into(),
                message: "waiting for another run to prepare pictures".into(),
            });
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Every picture of the manifest, for this run alone.
async fn in_memory(
    storage: &Storage,
    manifest: &Manifest,
    wanted: &Wanted<'_>,
    supervisor: &Supervisor,
) -> Result<Dataset, Failure> {
    let layout = Layout::of(manifest, wanted.preprocessing.size);
    let mut pixels = vec![0; layout.bytes() as usize];
    let write = |offset, prepared: &[u8]| {
        pixels[offset as usize..][..prepared.len()].copy_from_slice(prepared);
        Ok(())
    };
    prepare_all(storage, manifest, wanted, supervisor, &layout, write).await?;
    layout.split(manifest, &pixels)
}

/// Reads and prepares every picture and hands each to `write` with its place.
async fn prepare_all(
    storage: &Storage,
    manifest: &Manifest,
    wanted: &Wanted<'_>,
    supervisor: &Supervisor,
    layout: &Layout,
    mut write: impl FnMut(u64, &[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut done = 0;
    let mut shards = stream::iter(by_shard(manifest))
        .map(|(shard, rows)| prepare_shard(storage, shard, rows, wanted.preprocessing))
        .buffer_unordered(wanted.threads.max(1) as usize);
    while let Some(pictures) = shards.try_next().await? {
        supervisor.check()?;
        done += pictures.len() as u64;
        for (row, pixels) in pictures {
            write(layout.offset(row), &pixels)?;
        }
        events::emit(&TrainerEvent::Progress {
            done,
            total: manifest.rows.len() as u64,
            unit: "pictures".into(),
            message: "preparing pictures".into(),
        });
    }
    Ok(())
}

/// Where each picture lies: those of the training side first, each side in the order of the manifest.
#[derive(Debug)]
struct Layout {
    size: u32,
    /// Place of each row of the manifest.
    places: Vec<u64>,
    train: usize,
}

impl Layout {
    fn of(manifest: &Manifest, size: u32) -> Self {
        let train = manifest.rows.iter().filter(|row| row.side == Side::Train).count();
        let (mut next_train, mut next_valid) = (0, train as u64);
        let place = |row: &ManifestRow| {
            let next = if row.side == Side::Train { &mut next_train } else { &mut next_valid };
            *next += 1;
            *next - 1
        };
        Self { size, places: manifest.rows.iter().map(place).collect(), train }
    }

    fn picture_bytes(&self) -> u64 {
        u64::from(self.size) * u64::from(self.size) * 3
    }

    fn bytes(&self) -> u64 {
        self.places.len() as u64 * self.picture_bytes()
    }

    fn offset(&self, row: usize) -> u64 {
        self.places[row] * self.picture_bytes()
    }

    fn map(&self, manifest: &Manifest, file: &Path) -> Result<Dataset, Failure> {
        let sides = [Side::Train, Side::Valid].map(|side| Told::of(manifest, side));
        let [train_keys, valid_keys] = [&sides[0], &sides[1]].map(|side| side.keys.clone());
        let [train, valid] = Examples::map(file, self.size, sides.map(|side| (side.labels, side.ids)))?;
        let (train, valid) = (train.with_keys(train_keys)?, valid.with_keys(valid_keys)?);
        Ok(Dataset { classes: manifest.classes.clone(), train, valid })
    }

    fn split(&self, manifest: &Manifest, pixels: &[u8]) -> Result<Dataset, Failure> {
        let (train, valid) = pixels.split_at(self.train * self.picture_bytes() as usize);
        let examples = |side, pixels| {
            let Told { labels, ids, keys } = Told::of(manifest, side);
            Examples::new(self.size, pixels, labels, ids)?.with_keys(keys)
        };
        let (train, valid) = (examples(Side::Train, train)?, examples(Side::Valid, valid)?);
        Ok(Dataset { classes: manifest.classes.clone(), train, valid })
    }
}

/// What a manifest tells of the pictures of one side.
#[derive(Debug, Default)]
struct Told {
    labels: Vec<u32>,
    ids: Vec<u128>,
    /// What is drawn for a picture derives from its content: who collects the same ones again trains the same model.
    keys: Vec<u128>,
}

impl Told {
    fn of(manifest: &Manifest, side: Side) -> Self {
        let mut told = Self::default();
        for row in manifest.rows.iter().filter(|row| row.side == side) {
            told.labels.push(row.class_index);
            told.ids.push(row.image_id.as_u128());
            told.keys.push(key(row));
        }
        told
    }
}

fn key(row: &ManifestRow) -> u128 {
    let mut head = [0; 16];
    head.copy_from_slice(&Digest::of(row.sha256.as_bytes()).as_bytes()[..16]);
    u128::from_be_bytes(head)
}

/// One picture file as it lies in its shard.
pub(crate) async fn read_picture(storage: &Storage, shard: &str, offset: u64, length: u64) -> Result<Bytes, Failure> {
    Ok(storage.get_range(&shard.parse()?, offset..offset.saturating_add(length)).await?)
}

/// One picture file as the network sees it.
pub(crate) fn prepare(
    preprocessing: &Preprocessing,
    image: Uuid,
    shard: &str,
    file: &[u8],
) -> Result<Vec<u8>, Failure> {
    // It was judged when it was verified, by rules that may be laxer than the usual ones.
    let limits = Limits { min_side: 1, ..Limits::default() };
    preprocessing
        .prepare(file, &limits)
        .map_err(|refusal| Failure::fatal(format!("image {image} in {shard} cannot be used: {refusal}")))
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
    let prepare_one = move |row: &ManifestRow| prepare(&preprocessing, row.image_id, &row.shard, picture(&bytes, row)?);
    let prepare_all = move || rows.iter().map(|(index, row)| Ok((*index, prepare_one(row)?))).collect();
    tokio::task::spawn_blocking(prepare_all)
        .await
        .map_err(|error| Failure::retryable(format!("preparing {shard} failed: {error}")))?
}

fn picture<'a>(shard: &'a [u8], row: &ManifestRow) -> Result<&'a [u8], Failure> {
    let start = row.offset as usize;
    let outside = || Failure::fatal(format!("image {} lies outside its shard {}", row.image_id, row.shard));
    shard.get(start..start.saturating_add(row.length as usize)).ok_or_else(outside)
}
