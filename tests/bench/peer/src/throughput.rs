//! Jobs per second: all are added first, then the worker starts and runs until the last one is done.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Arguments;
use crate::options::Options;
use crate::peer::Peer;

pub(crate) async fn measure(arguments: &Arguments, options: &Options) -> anyhow::Result<Value> {
    let jobs = arguments.jobs.get();
    let peer = Peer::prepare(arguments, options, jobs).await?;
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
