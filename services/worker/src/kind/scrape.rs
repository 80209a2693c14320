//! Scraping: URLs in, one shard of what came and an outcome for every URL out.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use serde::Serialize;
use ursa_fetch::{FetchFailure, FetchPolicy, Fetched, Fetcher};
use ursa_proto::v1;
use ursa_storage::shard::ShardWriter;
use ursa_storage::{Key, StorageError};
use ursa_vision::Format;
use uuid::Uuid;

use super::put;
use crate::attempt::Attempt;
use crate::error::WorkError;
use crate::text::cut;
use crate::tools::Tools;

/// A shard is made in memory: what comes after this many bytes is left for another attempt at its URL.
const MAX_SHARD_BYTES: u64 = 256 << 20;
const SHARD_IS_FULL: &str = "shard-full";
/// Of texts that strangers' servers choose.
const MAX_TEXT: usize = 2048;
/// Of files that begin like no picture; verification will say what they are.
const UNKNOWN_EXTENSION: &str = "bin";

/// What the shard says of a picture, beside it.
#[derive(Debug, Serialize)]
struct Sidecar<'a> {
    class: &'a str,
    url: &'a str,
    final_url: &'a str,
    content_type: Option<&'a str>,
    sha256: &'a str,
    fetched_at: String,
}

/// Fetches every URL of the task.
pub(crate) async fn work(
    tools: &Tools,
    attempt: &Attempt,
    task: v1::ScrapeTask,
) -> Result<v1::ScrapeResult, WorkError> {
    let fetcher = fetcher(tools, &task)?;
    let total = task.sources.len() as u64;
    let mut shard = ShardWriter::new();
    let mut outcomes = Vec::with_capacity(task.sources.len());
    let mut room = MAX_SHARD_BYTES;
    let mut arrivals = stream::iter(task.sources)
        .map(|source| async { (fetcher.fetch(&source.url).await, source) })
        .buffer_unordered(task.concurrency.max(1) as usize);
    attempt.progress(0, total, "urls", "fetching");
    while let Some((fetched, source)) = arrivals.next().await {
        outcomes.push(take(&mut shard, &mut room, &source, fetched)?);
        attempt.progress(outcomes.len() as u64, total, "urls", "fetching");
    }
    drop(arrivals);
    attempt.log("info", summary(&outcomes));
    let shard = if shard.images() == 0 { None } else { Some(store(tools, attempt, shard).await?) };
    Ok(v1::ScrapeResult { shard, outcomes })
}

fn fetcher(tools: &Tools, task: &v1::ScrapeTask) -> Result<Fetcher, WorkError> {
    let policy = FetchPolicy {
        timeout: Duration::from_millis(u64::from(task.timeout_ms)),
        max_bytes: task.max_bytes,
        allowed_networks: tools.allow_networks.clone(),
        ..FetchPolicy::default()
    };
    Fetcher::new(policy).map_err(|error| WorkError::fatal(format!("cannot fetch anything: {error}")))
}

/// Puts what came into the shard, and says what became of the URL.
fn take(
    shard: &mut ShardWriter,
    room: &mut u64,
    source: &v1::ScrapeSource,
    fetched: Result<Fetched, FetchFailure>,
) -> Result<v1::FetchOutcome, WorkError> {
    let outcome = match fetched {
        Err(failure) => failed(&failure),
        Ok(fetched) if fetched.bytes.len() as u64 > *room => v1::FetchOutcome {
            error_class: SHARD_IS_FULL.to_owned(),
            error: "there was no room left in the shard of its task; retry it".to_owned(),
            ..v1::FetchOutcome::default()
        },
        Ok(fetched) => {
            *room -= fetched.bytes.len() as u64;
            push(shard, source, &fetched)?
        }
    };
    let fetched_at = Some(ursa_proto::timestamp(chrono::Utc::now()));
    Ok(v1::FetchOutcome { source_id: source.id.clone(), fetched_at, ..outcome })
}

fn failed(failure: &FetchFailure) -> v1::FetchOutcome {
    v1::FetchOutcome {
        error_class: failure.error.class().to_owned(),
        error: cut(failure.error.to_string(), MAX_TEXT),
        http_status: failure.error.status().unwrap_or_default().into(),
        final_url: failure.final_url.as_ref().map(|url| cut(url.to_string(), MAX_TEXT)).unwrap_or_default(),
        duration_ms: failure.elapsed.as_millis() as u32,
        ..v1::FetchOutcome::default()
    }
}

fn push(shard: &mut ShardWriter, source: &v1::ScrapeSource, fetched: &Fetched) -> Result<v1::FetchOutcome, WorkError> {
    let id = Uuid::try_parse(&source.id).map_err(|error| WorkError::fatal(format!("source {}: {error}", source.id)))?;
    let extension = Format::sniff(&fetched.bytes).map_or(UNKNOWN_EXTENSION, Format::extension);
    let final_url = cut(fetched.final_url.to_string(), MAX_TEXT);
    let sha256 = hex::encode(fetched.sha256);
    let sidecar = Sidecar {
        class: &source.class,
        url: &source.url,
        final_url: &final_url,
        content_type: fetched.content_type.as_deref(),
        sha256: &sha256,
        fetched_at: chrono::Utc::now().to_rfc3339(),
    };
    let entry = shard.push(id, extension, &fetched.bytes, &sidecar)?;
    Ok(v1::FetchOutcome {
        http_status: fetched.status.into(),
        bytes: fetched.bytes.len() as u64,
        sha256,
        final_url,
        duration_ms: fetched.elapsed.as_millis() as u32,
        shard_offset: entry.offset,
        shard_length: entry.length,
        ..v1::FetchOutcome::default()
    })
}

async fn store(tools: &Tools, attempt: &Attempt, shard: ShardWriter) -> Result<v1::Shard, StorageError> {
    let key = Key::RawShard { task: attempt.task_id(), attempt: attempt.number() };
    put(tools, key, shard.finish()).await
}

fn summary(outcomes: &[v1::FetchOutcome]) -> String {
    let mut failures: BTreeMap<&str, u32> = BTreeMap::new();
    for outcome in outcomes.iter().filter(|outcome| !outcome.error_class.is_empty()) {
        *failures.entry(&outcome.error_class).or_default() += 1;
    }
    let fetched = outcomes.len() as u32 - failures.values().sum::<u32>();
    let mut summary = format!("fetched {fetched} of {} URLs", outcomes.len());
    for (class, count) in failures {
        let _ = write!(summary, ", {class} {count}");
    }
    summary
}

#[cfg(test)]
mod tests {
    use ursa_fetch::FetchError;

    use bytes::Bytes;

    use super::*;

    fn source(number: u128) -> v1::ScrapeSource {
        let id = Uuid::from_u128(number).to_string();
        v1::ScrapeSource { id, url: "http://web.test/1.jpg".into(), class: "teddy".into() }
    }

    fn fetched(bytes: &'static [u8]) -> Fetched {
        Fetched {
            bytes: Bytes::from_static(bytes),
            sha256: [7; 32],
            final_url: "http://web.test/2.jpg".parse().unwrap(),
            status: 200,
            content_type: None,
            redirects: 1,
            attempts: 1,
            elapsed: Duration::from_millis(5),
        }
    }

    #[test]
    fn what_came_lies_in_the_shard_where_the_outcome_says() {
        let (mut shard, mut room) = (ShardWriter::new(), MAX_SHARD_BYTES);
        let outcome = take(&mut shard, &mut room, &source(1), Ok(fetched(b"GIF89a and so on"))).unwrap();
        assert_eq!((outcome.error_class.as_str(), outcome.final_url.as_str()), ("", "http://web.test/2.jpg"));
        let bytes = shard.finish();
        let range = outcome.shard_offset as usize..(outcome.shard_offset + outcome.shard_length) as usize;
        assert_eq!(&bytes[range], b"GIF89a and so on");
        let images = ursa_storage::shard::read(&bytes).unwrap();
        assert_eq!((images[0].extension.as_str(), &images[0].sidecar["class"]), ("gif", &"teddy".into()));
    }

    #[test]
    fn a_picture_that_finds_no_room_is_left_for_another_time() {
        let (mut shard, mut room) = (ShardWriter::new(), 10);
        let outcome = take(&mut shard, &mut room, &source(1), Ok(fetched(b"eleven byte"))).unwrap();
        assert_eq!((outcome.error_class.as_str(), shard.images(), room), (SHARD_IS_FULL, 0, 10));
        assert_eq!(take(&mut shard, &mut room, &source(2), Ok(fetched(b"ten bytes!"))).unwrap().error_class, "");
    }

    #[test]
    fn a_failure_keeps_its_class_and_status() {
        let error = FetchError::HttpStatus { status: 404, retry_after: None };
        let failure = FetchFailure { error, final_url: None, attempts: 1, elapsed: Duration::ZERO };
        let outcome = take(&mut ShardWriter::new(), &mut 1, &source(1), Err(failure)).unwrap();
        assert_eq!((outcome.error_class.as_str(), outcome.http_status), ("http-status", 404));
        assert_eq!(summary(&[outcome]), "fetched 0 of 1 URLs, http-status 1");
    }
}
