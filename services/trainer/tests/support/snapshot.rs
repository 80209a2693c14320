//! A store with one snapshot: discs of one colour per class, anywhere, on noise.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::ops::Range;
use std::path::PathBuf;

use image::{ImageFormat, Rgb, RgbImage};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use ursa_domain::recipe::{Architecture, Rate, Recipe, Stage};
use ursa_domain::run::{EvaluationOrder, ExplanationOrder, ImageToExplain, RunOrder, SnapshotInfo};
use ursa_domain::split::Side;
use ursa_storage::manifest::{Manifest, ManifestRow};
use ursa_storage::shard::ShardWriter;
use ursa_storage::{Digest, Key, Storage};
use uuid::Uuid;

const COLOURS: [[u8; 3]; 3] = [[220, 40, 40], [40, 200, 60], [50, 60, 220]];
const TRAIN: u32 = 24;
const VALID: u32 = 9;
const SIDE: u32 = 40;

pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) storage: Storage,
    pub(crate) runtime: Runtime,
    pub(crate) manifest: Manifest,
    digest: Digest,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::of_classes(3)
    }

    pub(crate) fn of_classes(classes: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store");
        std::fs::create_dir_all(&store).unwrap();
        let storage = Storage::open(store.to_str().unwrap()).unwrap();
        let runtime = Runtime::new().unwrap();
        let mut rows = Vec::new();
        for (side, count) in [(Side::Train, TRAIN), (Side::Valid, VALID)] {
            rows.extend(runtime.block_on(put_shard(&storage, side, count, classes)));
        }
        let classes = (0..classes).map(|class| format!("colour {class}")).collect();
        let manifest = Manifest { dataset: "discs".into(), number: 1, seed: 1, valid_percent: 20, classes, rows };
        let digest = runtime.block_on(put_manifest(&storage, &manifest));
        Self { folder, storage, runtime, manifest, digest }
    }

    pub(crate) fn order(&self, epochs: u32) -> RunOrder {
        RunOrder {
            job_id: Uuid::from_u128(1),
            task_id: Uuid::from_u128(2),
            attempt: 1,
            snapshot: SnapshotInfo {
                id: Uuid::from_u128(3),
                dataset: "discs".into(),
                number: 1,
                digest: self.digest.to_string(),
            },
            recipe: Recipe {
                architecture: Architecture::ResNet18,
                stages: vec![Stage::one_cycle(epochs, Rate::Flat(1e-3))],
                batch_size: 8,
                image_size: 32,
                ..Recipe::default()
            },
            train_percent: 100,
            rate_test: None,
            rung: None,
            resume: None,
            earlier: Vec::new(),
            start: None,
            object_store: self.storage.location().to_owned(),
            cache_dir: self.folder.path().join("cache").display().to_string(),
            threads: 2,
            allowed_networks: Vec::new(),
            processes: 1,
            checkpoint_seconds: 60,
            gpus: 0,
        }
    }

    /// Asks the model about another snapshot.
    pub(crate) fn evaluation(&self, model_digest: &str, manifest: &Manifest) -> EvaluationOrder {
        let order = self.order(1);
        let digest = self.runtime.block_on(put_manifest(&self.storage, manifest));
        EvaluationOrder {
            task_id: Uuid::from_u128(20),
            attempt: 3,
            snapshot: SnapshotInfo { number: manifest.number, digest: digest.to_string(), ..order.snapshot },
            model_digest: model_digest.to_owned(),
            object_store: order.object_store,
            cache_dir: order.cache_dir,
            threads: order.threads,
        }
    }

    /// Has the model explain the images of these rows: for `class`, or for what it takes each for.
    pub(crate) fn explanation(
        &self,
        model_digest: &str,
        rows: &[ManifestRow],
        class: Option<&str>,
    ) -> ExplanationOrder {
        let order = self.order(1);
        let image = |row: &ManifestRow| ImageToExplain {
            id: row.image_id,
            shard: row.shard.clone(),
            offset: row.offset,
            length: row.length,
            class: class.map(str::to_owned),
        };
        ExplanationOrder {
            task_id: Uuid::from_u128(21),
            attempt: 2,
            model_digest: model_digest.to_owned(),
            images: rows.iter().map(image).collect(),
            object_store: order.object_store,
            threads: order.threads,
        }
    }

    /// Puts a file where checkpoints would lie: none can be stored until it is removed.
    pub(crate) fn refuse_checkpoints(&self) -> PathBuf {
        let file = self.folder.path().join("store/checkpoints");
        std::fs::write(&file, b"no folder").unwrap();
        file
    }

    pub(crate) fn delete(&self, key: &str) {
        self.runtime.block_on(self.storage.delete(&key.parse().unwrap())).unwrap();
    }

    /// Replaces the bytes of one picture in its shard.
    pub(crate) fn scribble_over(&self, row: &ManifestRow) {
        self.damage(&row.shard, row.offset as usize..(row.offset + row.length) as usize);
    }

    /// Replaces some bytes of an object.
    pub(crate) fn damage(&self, key: &str, bytes: Range<usize>) {
        let key = key.parse().unwrap();
        self.runtime.block_on(async {
            let mut object = self.storage.get(&key).await.unwrap().to_vec();
            object[bytes].fill(b'x');
            // Objects are immutable: what is there must go before something else can take its place.
            self.storage.delete(&key).await.unwrap();
            self.storage.put(&key, object.into()).await.unwrap();
        });
    }
}

async fn put_manifest(storage: &Storage, manifest: &Manifest) -> Digest {
    let bytes = manifest.to_parquet().unwrap();
    let digest = Digest::of(&bytes);
    storage.put(&Key::Manifest { digest }, bytes).await.unwrap();
    digest
}

async fn put_shard(storage: &Storage, side: Side, count: u32, classes: u32) -> Vec<ManifestRow> {
    let key = Key::NormalShard { task: Uuid::from_u128(side as u128 + 10), attempt: 1 };
    let mut writer = ShardWriter::new();
    let mut rows = Vec::new();
    for index in 0..count {
        let id = Uuid::from_u128(u128::from(index) + side as u128 * 1000 + 100);
        let class_index = index % classes;
        let file = disc(index * 31 + side as u32 * 7, COLOURS[class_index as usize]);
        let entry = writer.push(id, "png", &file, &BTreeMap::from([("index", index)])).unwrap();
        rows.push(ManifestRow {
            image_id: id,
            class_index,
            side,
            content_id: id.to_string(),
            shard: key.to_string(),
            offset: entry.offset,
            length: entry.length,
            width: SIDE,
            height: SIDE,
            sha256: Digest::of(&file).to_string(),
            source_url: format!("http://example.org/{id}.png"),
            licence: if index.is_multiple_of(3) { String::new() } else { "CC-BY-4.0".into() },
        });
    }
    storage.put(&key, writer.finish()).await.unwrap();
    rows
}

fn disc(seed: u32, colour: [u8; 3]) -> Vec<u8> {
    let (x0, y0, radius) = (10 + seed * 13 % 20, 10 + seed * 29 % 20, 6 + seed % 5);
    let picture = RgbImage::from_fn(SIDE, SIDE, |x, y| {
        let noise = ((x * 7 + y * 13 + seed * 17).wrapping_mul(2_654_435_761) >> 24) as u8 / 4;
        let inside = x.abs_diff(x0).pow(2) + y.abs_diff(y0).pow(2) <= radius * radius;
        if inside { Rgb(colour.map(|value| value.saturating_sub(noise / 2))) } else { Rgb([90 + noise; 3]) }
    });
    let mut file = Cursor::new(Vec::new());
    picture.write_to(&mut file, ImageFormat::Png).unwrap();
    file.into_inner()
}
