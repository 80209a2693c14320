//! Weights to start from: a file's, the web's, which are kept for the next run on this machine, or a model's of ours. They
//! are proven by their SHA-256.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use ursa_domain::ErrorClass;
use ursa_domain::recipe::PretrainedWeights;
use ursa_domain::run::RunOrder;
use ursa_fetch::{FetchPolicy, Fetcher, Network};
use ursa_storage::{Digest, Key, ModelFile, Storage};

use crate::events;
use crate::failure::Failure;

/// The largest published weights of the networks we know are a tenth of this.
const MAX_BYTES: u64 = 1 << 30;
/// What a location begins with that is the digest of a model.
const MODEL: &str = "model:";
const TIMEOUT: Duration = Duration::from_mins(10);

/// Reads the weights and checks that they are the ones meant.
pub(crate) async fn load(weights: &PretrainedWeights, storage: &Storage, order: &RunOrder) -> Result<Bytes, Failure> {
    let expected: Digest =
        weights.sha256.parse().map_err(|error| Failure::fatal(format!("pretrained weights: {error}")))?;
    if let Some(model) = weights.location.strip_prefix(MODEL) {
        let digest = model.parse().map_err(|error| Failure::fatal(format!("the model to go on from: {error}")))?;
        let key = Key::ModelFile { digest, file: ModelFile::Weights };
        return Ok(storage.get_verified(&key, &expected).await?);
    }
    if !is_url(&weights.location) {
        let bytes = tokio::fs::read(&weights.location).await;
        let bytes = bytes.map_err(|error| {
            Failure::fatal(format!("cannot read the pretrained weights {}: {error}", weights.location))
        })?;
        return check(bytes.into(), &expected, &weights.location);
    }
    let cached = Path::new(&order.cache_dir).join("pretrained").join(format!("{expected}.safetensors"));
    if let Some(bytes) = read_cached(&cached, &expected).await {
        return Ok(bytes);
    }
    events::log("info", format!("downloading pretrained weights from {}", weights.location));
    let bytes = check(download(&weights.location, &order.allowed_networks).await?, &expected, &weights.location)?;
    if let Err(error) = keep(&cached, &bytes).await {
        // The run has what it needs; the next one will download again.
        tracing::warn!(%error, path = %cached.display(), "cannot keep the downloaded weights");
    }
    Ok(bytes)
}

fn is_url(location: &str) -> bool {
    location.starts_with("http://") || location.starts_with("https://")
}

fn check(bytes: Bytes, expected: &Digest, location: &str) -> Result<Bytes, Failure> {
    let found = Digest::of(&bytes);
    if found == *expected {
        return Ok(bytes);
    }
    Err(Failure::fatal(format!(
        "the pretrained weights at {location} have SHA-256 {found}, the recipe says {expected}; \
         they are not the ones that were meant"
    )))
}

async fn download(location: &str, allowed_networks: &[String]) -> Result<Bytes, Failure> {
    let allowed_networks: Vec<Network> = allowed_networks
        .iter()
        .map(|network| network.parse().map_err(|error| Failure::fatal(format!("allowed network {network}: {error}"))))
        .collect::<Result<_, _>>()?;
    let policy = FetchPolicy { timeout: TIMEOUT, max_bytes: MAX_BYTES, allowed_networks, ..FetchPolicy::default() };
    let fetcher = Fetcher::new(policy).map_err(|error| Failure::fatal(format!("cannot download: {error}")))?;
    let response = fetcher.fetch(location).await.map_err(|failure| {
        let class = if failure.error.is_retryable() { ErrorClass::Retryable } else { ErrorClass::Fatal };
        Failure::new(class, format!("cannot download the pretrained weights from {location}: {failure}"))
    })?;
    Ok(response.bytes)
}

async fn read_cached(path: &Path, expected: &Digest) -> Option<Bytes> {
    let bytes = Bytes::from(tokio::fs::read(path).await.ok()?);
    (Digest::of(&bytes) == *expected).then_some(bytes)
}

/// Written beside its place and renamed, so that no other run reads half of it.
async fn keep(path: &Path, bytes: &Bytes) -> std::io::Result<()> {
    let beside: PathBuf = path.with_extension(format!("part-{}", std::process::id()));
    if let Some(folder) = path.parent() {
        tokio::fs::create_dir_all(folder).await?;
    }
    tokio::fs::write(&beside, bytes).await?;
    tokio::fs::rename(&beside, path).await
}
