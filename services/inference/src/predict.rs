//! From a request to class probabilities: the way that HTTP and gRPC share. Knows nothing of either.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures::future::try_join_all;
use tokio::sync::{Semaphore, watch};
use ursa_fetch::{FetchError, FetchPolicy, Fetcher, Network};
use ursa_vision::{Limits, Preprocessing};

use crate::catalog::Catalog;
use crate::error::{MAX_PICTURE_BYTES, ServeError};
use crate::metrics::Metrics;
use crate::model::Model;

/// Most pictures in one request.
pub(crate) const MAX_PICTURES: usize = 64;

/// What shall be classified.
#[derive(Debug)]
pub(crate) enum Pictures {
    /// Picture files.
    Encoded(Vec<Bytes>),
    /// Pixels `[pictures, 3, size, size]`, normalised as the model's preprocessing says, row-major.
    Normalised { shape: [usize; 4], values: Vec<f32> },
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) endpoint: String,
    pub(crate) model: Arc<Model>,
    /// A row per picture, a column per class.
    pub(crate) probabilities: Vec<Vec<f32>>,
}

/// Everything a request needs.
#[derive(Debug)]
pub(crate) struct Predictor {
    catalog: watch::Receiver<Catalog>,
    decoding: Semaphore,
    fetcher: Fetcher,
    pub(crate) metrics: Arc<Metrics>,
}

impl Predictor {
    /// Decodes on `cores` threads at most; fetches from private networks only where `allowed`.
    pub(crate) fn new(
        catalog: watch::Receiver<Catalog>,
        cores: usize,
        allowed: Vec<Network>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, FetchError> {
        let policy = FetchPolicy {
            allowed_networks: allowed,
            max_bytes: MAX_PICTURE_BYTES as u64,
            retries: 0, // a person waits
            ..FetchPolicy::default()
        };
        Ok(Self { catalog, decoding: Semaphore::new(cores.max(1)), fetcher: Fetcher::new(policy)?, metrics })
    }

    /// What is served at this moment.
    pub(crate) fn catalog(&self) -> watch::Ref<'_, Catalog> {
        self.catalog.borrow()
    }

    /// The model that answers for an endpoint: the one named or the only one, in the version asked for or any.
    pub(crate) fn model(&self, name: Option<&str>, version: Option<&str>) -> Result<(String, Arc<Model>), ServeError> {
        let catalog = self.catalog();
        let (endpoint, model) = catalog.find(name)?;
        match version {
            Some(asked) if asked != model.digest() => Err(ServeError::UnknownVersion {
                endpoint: endpoint.to_owned(),
                serving: model.digest().to_owned(),
                asked: asked.to_owned(),
            }),
            _ => Ok((endpoint.to_owned(), model.clone())),
        }
    }

    /// Classifies pictures. A swap meanwhile changes nothing: the request keeps the model it began with.
    pub(crate) async fn classify(
        &self,
        name: Option<&str>,
        version: Option<&str>,
        pictures: Pictures,
    ) -> Result<Answer, ServeError> {
        let (endpoint, model) = self.model(name, version)?;
        let prepared = match pictures {
            Pictures::Encoded(files) => self.prepare(files, *model.preprocessing()).await?,
            Pictures::Normalised { shape, values } => pixels(shape, &values, model.preprocessing())?,
        };
        check_count(prepared.len())?;
        let probabilities = model.probabilities(prepared).await?;
        Ok(Answer { endpoint, model, probabilities })
    }

    /// Gets a picture from the web, under the rules of scraping.
    pub(crate) async fn fetch(&self, url: &str) -> Result<Bytes, ServeError> {
        let fetched = self.fetcher.fetch(url).await.map_err(|failure| ServeError::NotFetched {
            url: url.chars().take(200).collect(),
            class: failure.error.class(),
            reason: failure.error.to_string(),
            is_request: !is_the_other_side(&failure.error),
        })?;
        Ok(fetched.bytes)
    }

    /// Counts a request once it is over.
    pub(crate) fn note<T>(&self, name: Option<&str>, outcome: &Result<T, ServeError>, started: Instant) {
        let label = self.catalog().label(name).to_owned();
        let status = outcome.as_ref().map_or_else(ServeError::code, |_| "ok");
        self.metrics.request(&label, status, started.elapsed());
    }

    async fn prepare(&self, files: Vec<Bytes>, preprocessing: Preprocessing) -> Result<Vec<Vec<u8>>, ServeError> {
        check_count(files.len())?;
        let several = files.len() > 1;
        try_join_all(files.into_iter().enumerate().map(|(index, file)| async move {
            let which = if several { format!("picture {index}") } else { "the picture".to_owned() };
            self.prepare_one(file, preprocessing, which).await
        }))
        .await
    }

    /// Decodes a picture and prepares it for a model; `which` names it where it is refused.
    pub(crate) async fn prepare_one(
        &self,
        file: Bytes,
        preprocessing: Preprocessing,
        which: String,
    ) -> Result<Vec<u8>, ServeError> {
        // Decoding takes cores and memory; the semaphore is never closed.
        let _turn = self.decoding.acquire().await.map_err(|error| ServeError::Internal(error.to_string()))?;
        tokio::task::spawn_blocking(move || preprocessing.prepare(&file, &limits()))
            .await
            .map_err(|error| ServeError::Internal(error.to_string()))?
            .map_err(|refusal| ServeError::Refused { which, refusal })
    }
}

fn limits() -> Limits {
    Limits { max_bytes: MAX_PICTURE_BYTES as u64, ..Limits::default() }
}

fn check_count(pictures: usize) -> Result<(), ServeError> {
    match pictures {
        0 => Err(ServeError::Invalid("there is no picture in the request".into())),
        1..=MAX_PICTURES => Ok(()),
        _ => Err(ServeError::Invalid(format!(
            "there are {pictures} pictures in the request, at most {MAX_PICTURES} are taken at once"
        ))),
    }
}

/// Whether the fault is with the server that was asked, not with what was asked for.
fn is_the_other_side(error: &FetchError) -> bool {
    error.is_retryable()
}

/// Normalised pixels back to the 8-bit pictures that models learned from; exact for what the preprocessing makes of one.
fn pixels(shape: [usize; 4], values: &[f32], preprocessing: &Preprocessing) -> Result<Vec<Vec<u8>>, ServeError> {
    let [count, channels, height, width] = shape;
    let side = preprocessing.size as usize;
    if (channels, height, width) != (3, side, side) {
        let message = format!("pixels must have the shape [n, 3, {side}, {side}], not {shape:?}");
        return Err(ServeError::Invalid(message));
    }
    check_count(count)?;
    let plane = side * side;
    let byte = |channel: usize, value: f32| {
        let level = (value * preprocessing.std[channel] + preprocessing.mean[channel]) * 255.0;
        if (-0.5..=255.5).contains(&level) {
            return Ok(level.round().clamp(0.0, 255.0) as u8);
        }
        Err(ServeError::Invalid(format!(
            "pixels hold {value}, which is no colour once normalised with mean {:?} and standard deviation {:?}",
            preprocessing.mean, preprocessing.std
        )))
    };
    values
        .chunks_exact(3 * plane)
        .map(|picture| (0..3 * plane).map(|place| byte(place % 3, picture[(place % 3) * plane + place / 3])).collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalised_pixels_come_back_as_the_picture_they_were() {
        let preprocessing = Preprocessing::imagenet(32);
        let picture: Vec<u8> = (0..32 * 32 * 3).map(|place| (place * 7 % 256) as u8).collect();
        let mut values = Vec::new();
        preprocessing.to_chw(&picture, &mut values);
        assert_eq!(pixels([1, 3, 32, 32], &values, &preprocessing).unwrap(), [picture]);
    }

    #[test]
    fn pixels_that_are_not_normalised_or_misshapen_are_refused() {
        let preprocessing = Preprocessing::imagenet(32);
        let refused = |shape: [usize; 4], value: f32| {
            let values = vec![value; shape.iter().product()];
            pixels(shape, &values, &preprocessing).unwrap_err().to_string()
        };
        assert!(refused([1, 3, 32, 32], 200.0).contains("no colour"));
        assert!(refused([1, 3, 32, 32], f32::NAN).contains("no colour"));
        assert!(refused([1, 3, 64, 64], 0.0).contains("[n, 3, 32, 32]"));
    }

    #[test]
    fn requests_without_pictures_and_with_too_many_are_refused() {
        assert!(check_count(0).is_err());
        assert!(check_count(MAX_PICTURES).is_ok());
        assert!(check_count(MAX_PICTURES + 1).unwrap_err().to_string().contains("65 pictures"));
    }
}
