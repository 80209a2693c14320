//! One store, several backends: a local directory, memory, or anything that speaks S3.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path as ObjectPath;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ClientOptions, ObjectMeta, ObjectStore, ObjectStoreExt, RetryConfig};
use url::Url;
use uuid::Uuid;

use crate::{Digest, Key, StorageError};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const REQUEST_TIMEOUT: Duration = Duration::from_mins(1);
const RETRY_FOR: Duration = Duration::from_secs(10);

/// A place for objects. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Storage {
    store: Arc<dyn ObjectStore>,
    location: Arc<str>,
}

impl Storage {
    /// Opens `/folder`, `file:///folder` or `s3://bucket/prefix`; S3 takes credentials, endpoint and region from the
    /// usual `AWS_*` environment variables. A folder is made if need be.
    pub fn open(location: &str) -> Result<Self, StorageError> {
        // Not `vars`, which panics at a variable that is not UTF-8, whoever set it.
        let variables =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self::open_with(location, variables.filter(|(name, _)| name.starts_with("AWS_")))
    }

    /// As [`Storage::open`], with other `AWS_*` settings than the environment's.
    pub fn open_with(
        location: &str,
        settings: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, StorageError> {
        let invalid = |reason: String| StorageError::InvalidLocation { location: location.to_owned(), reason };
        let store: Arc<dyn ObjectStore> = if location.starts_with('/') {
            Arc::new(open_folder(Path::new(location)).map_err(invalid)?)
        } else {
            let url = Url::parse(location).map_err(|error| invalid(error.to_string()))?;
            match url.scheme() {
                "file" => {
                    let folder = url.to_file_path().map_err(|()| invalid("it names no absolute folder".into()))?;
                    Arc::new(open_folder(&folder).map_err(invalid)?)
                }
                "s3" => open_s3(&url, settings).map_err(invalid)?,
                scheme => return Err(invalid(format!("there is no store for {scheme}://"))),
            }
        };
        Ok(Self { store, location: location.into() })
    }

    /// A store that forgets everything with its last clone.
    pub fn in_memory() -> Self {
        Self { store: Arc::new(InMemory::new()), location: "memory".into() }
    }

    /// As opened.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// Stores an object, whole or not at all, and returns its digest.
    pub async fn put(&self, key: &Key, bytes: Bytes) -> Result<Digest, StorageError> {
        let digest = Digest::of(&bytes);
        let path = path_of(key);
        self.store.put(&path, bytes.into()).await.map_err(|error| self.failed(key, &error))?;
        Ok(digest)
    }

    /// Reads an object.
    pub async fn get(&self, key: &Key) -> Result<Bytes, StorageError> {
        let found = self.store.get(&path_of(key)).await.map_err(|error| self.failed(key, &error))?;
        found.bytes().await.map_err(|error| self.failed(key, &error))
    }

    /// Reads an object whose digest is known.
    pub async fn get_verified(&self, key: &Key, expected: &Digest) -> Result<Bytes, StorageError> {
        let bytes = self.get(key).await?;
        let found = Digest::of(&bytes);
        if found == *expected {
            return Ok(bytes);
        }
        Err(StorageError::Corrupt { key: key.to_string(), expected: *expected, found })
    }

    /// Reads a part of an object, in bytes; all of it, or [`StorageError::TooShort`].
    pub async fn get_range(&self, key: &Key, range: Range<u64>) -> Result<Bytes, StorageError> {
        let read = self.store.get_range(&path_of(key), range.clone()).await;
        match read {
            Ok(bytes) if bytes.len() as u64 == range.end - range.start => return Ok(bytes),
            Err(error @ object_store::Error::NotFound { .. }) => return Err(self.failed(key, &error)),
            _ => {}
        }
        // Backends cut a range at the object's end, or fail in words of their own when nothing is left: ask for the size.
        let length = match (self.store.head(&path_of(key)).await, &read) {
            (Ok(found), _) => found.size,
            // What failed first says more: the answer to the second question has no body.
            (Err(_), Err(error)) => return Err(self.failed(key, error)),
            (Err(error), Ok(_)) => return Err(self.failed(key, &error)),
        };
        match read {
            _ if length < range.end => Err(StorageError::TooShort { key: key.to_string(), length, end: range.end }),
            _ if range.is_empty() => Ok(Bytes::new()),
            Ok(_) => {
                Err(StorageError::Unavailable { key: key.to_string(), reason: "it changed while it was read".into() })
            }
            Err(error) => Err(self.failed(key, &error)),
        }
    }

    /// Whether an object is there.
    pub async fn exists(&self, key: &Key) -> Result<bool, StorageError> {
        match self.store.head(&path_of(key)).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(self.failed(key, &error)),
        }
    }

    /// Removes an object; one that is not there is no error.
    pub async fn delete(&self, key: &Key) -> Result<(), StorageError> {
        match self.store.delete(&path_of(key)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed(key, &error)),
        }
    }

    /// Every object that an attempt has uploaded so far, whether it counts or not, in no order; of model packages the claims.
    pub async fn uploads(&self, task: Uuid, attempt: u32) -> Result<Vec<Key>, StorageError> {
        let mut uploads = Vec::new();
        for folder in Key::folders(task, attempt) {
            let objects = self.store.list(Some(&ObjectPath::from(folder.as_str())));
            let objects: Vec<ObjectMeta> =
                objects.try_collect().await.map_err(|error| StorageError::from_store(&folder, &error))?;
            let keys = objects.iter().filter_map(|object| object.location.as_ref().parse::<Key>().ok());
            uploads.extend(keys.filter(|key| key.attempt() == Some((task, attempt))));
        }
        Ok(uploads)
    }

    /// Writes, reads and removes a small object: what a service asks once, at its start.
    pub async fn check(&self) -> Result<(), StorageError> {
        let key = Key::Probe { id: Uuid::new_v4() };
        let digest = self.put(&key, Bytes::from_static(b"ursa")).await?;
        self.get_verified(&key, &digest).await?;
        self.delete(&key).await
    }

    #[expect(clippy::unused_self, reason = "reads better at the call sites")]
    fn failed(&self, key: &Key, error: &object_store::Error) -> StorageError {
        StorageError::from_store(&key.to_string(), error)
    }
}

fn path_of(key: &Key) -> ObjectPath {
    ObjectPath::from(key.to_string())
}

fn open_folder(folder: &Path) -> Result<LocalFileSystem, String> {
    std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    let store = LocalFileSystem::new_with_prefix(folder).map_err(|error| error.to_string())?;
    // Rows that point at an object are committed after it is put: it must survive a power cut no less than they do.
    Ok(store.with_fsync(true))
}

fn open_s3(url: &Url, settings: impl IntoIterator<Item = (String, String)>) -> Result<Arc<dyn ObjectStore>, String> {
    // The HTTP client comes without a TLS provider of its own; a second installation is refused, which is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let bucket = url.host_str().ok_or("it names no bucket")?;
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_client_options(ClientOptions::new().with_connect_timeout(CONNECT_TIMEOUT).with_timeout(REQUEST_TIMEOUT))
        .with_retry(RetryConfig { backoff: BackoffConfig::default(), max_retries: 5, retry_timeout: RETRY_FOR });
    for (name, value) in settings {
        if let Ok(option) = name.to_ascii_lowercase().parse() {
            builder = builder.with_config(option, value);
        }
    }
    let store = builder.build().map_err(|error| error.to_string())?;
    Ok(Arc::new(PrefixStore::new(store, url.path().trim_matches('/'))))
}
