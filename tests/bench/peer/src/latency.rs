//! From just before a job is added to the start of its handler, in a worker that has nothing else to do.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use graphile_worker::JobSpec;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::Arguments;
use crate::job::Nothing;
use crate::options::Options;
use crate::peer::Peer;

/// Jobs that come first and do not count: each connection prepares its statements once.
const WARM_UP: usize = 50;

pub(crate) async fn measure(arguments: &Arguments, options: &Options) -> anyhow::Result<Value> {
    let jobs = WARM_UP + arguments.jobs.get();
    let peer = Peer::prepare(arguments, options, jobs).await?;
    peer.vacuum().await?;
    let mut running = peer.run();
    let added = add(&peer, jobs, arguments.rate).await?;
    running.until_started().await?;
    let mut waits = added
        .into_iter()
        .filter(|(place, _)| *place >= WARM_UP)
        .map(|(place, begin)| Some(peer.starts().at(place)?.duration_since(begin)))
        .collect::<Option<Vec<_>>>()
        .context("some jobs did not start")?;
    running.stop().await?;
    waits.sort_unstable();
    // To the microsecond.
    let at = |share: f64| waits[((waits.len() - 1) as f64 * share).round() as usize].as_micros() as f64 / 1000.0;
    Ok(json!({"rate": arguments.rate, "p50_ms": at(0.5), "p90_ms": at(0.9), "p99_ms": at(0.99), "max_ms": at(1.0)}))
}

/// Adds `jobs` at `rate` per second, whether or not the ones before have been answered, and tells when each began.
async fn add(peer: &Peer, jobs: usize, rate: f64) -> anyhow::Result<Vec<(usize, Instant)>> {
    let mut interval = tokio::time::interval(Duration::from_secs_f64(1.0 / rate));
    let mut adding = JoinSet::new();
    for place in 0..jobs {
        interval.tick().await;
        let client = peer.client();
        adding.spawn(async move {
            let begin = Instant::now();
            client.add_job(Nothing { place }, JobSpec::default()).await?;
            anyhow::Ok((place, begin))
        });
    }
    adding.join_all().await.into_iter().collect()
}
