//! The demo web against the real fetcher and the real decoder: what it says of its URLs must come true.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod lists;
mod outcomes;
mod serving;

use std::time::Duration;

use ursa_demo_web::{DemoWeb, DemoWebConfig};
use ursa_fetch::{FetchPolicy, Fetcher};

/// A web so dirty that every kind of dirt and oddity is in it.
async fn dirty_web() -> DemoWeb {
    web(12, 100).await
}

async fn web(per_class: u32, dirt_percent: u32) -> DemoWeb {
    DemoWeb::start(DemoWebConfig { per_class, dirt_percent, ..DemoWebConfig::default() }).await.unwrap()
}

/// As a worker fetches, only less patient.
fn fetcher(web: &DemoWeb) -> Fetcher {
    let policy = FetchPolicy {
        timeout: Duration::from_millis(2500),
        allowed_networks: vec![format!("{}/32:{}", web.address().ip(), web.address().port()).parse().unwrap()],
        ..FetchPolicy::default()
    };
    Fetcher::new(policy).unwrap()
}
