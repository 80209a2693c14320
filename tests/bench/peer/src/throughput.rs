//! Jobs per second, until the last one is done: all are added first, then the worker starts; or they are added one by one
//! while it works, and that counts.

use std::time::{Duration, Instant};

use graphile_worker::JobSpec;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::Arguments;
use crate::job::Nothing;
use crate::options::Options;
use crate::peer::Peer;

pub(crate) async fn measure(arguments: &Arguments, options: &Options) -> anyhow::Result<Value> {
    let jobs = arguments.jobs.get();
    let peer = Peer::prepare(arguments, options, jobs).await?;
    match arguments.callers {
        None => added_before(&peer, jobs).await,
        Some(callers) => added_meanwhile(&peer, jobs, callers.get()).await,
    }
}

async fn added_before(peer: &Peer, jobs: usize) -> anyhow::Result<Value> {
    let begin = Instant::now();
    peer.add(jobs).await?;
    let adding = begin.elapsed();
    peer.vacuum().await?;

    let begin = Instant::now();
    let mut running = peer.run();
    running.until_done().await?;
    let elapsed = begin.elapsed();
    running.stop().await?;
    let rate = |elapsed: Duration| jobs as f64 / elapsed.as_secs_f64();
    Ok(json!({"jobs_per_second": rate(elapsed), "enqueued_per_second": rate(adding)}))
}

/// Each caller waits for its answer before it adds the next one.
async fn added_meanwhile(peer: &Peer, jobs: usize, callers: usize) -> anyhow::Result<Value> {
    peer.vacuum().await?;
    let mut running = peer.run();
    let begin = Instant::now();
    let mut adding = JoinSet::new();
    for caller in 0..callers {
        let client = peer.client();
        adding.spawn(async move {
            for place in (caller..jobs).step_by(callers) {
                client.add_job(Nothing { place }, JobSpec::default()).await?;
            }
            anyhow::Ok(())
        });
    }
    adding.join_all().await.into_iter().collect::<anyhow::Result<()>>()?;
    running.until_done().await?;
    let elapsed = begin.elapsed();
    running.stop().await?;
    Ok(json!({"jobs_per_second": jobs as f64 / elapsed.as_secs_f64()}))
}
