//! The dashboard: server-rendered pages over the gRPC API, live through server-sent events.
//!
//! It has no private door: what it shows, any client of the API can ask for. It keeps no state of its own, so it may be
//! started, stopped and copied at will.

mod app;
mod assets;
mod config;
mod error;
mod events;
mod guard;
mod pages;
mod view;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use config::Config;

/// How long requests in flight may take after the stop.
const DRAIN: Duration = Duration::from_secs(2);

/// Runs a dashboard until told to stop. `listening` hears the address once requests are answered.
///
/// # Errors
/// An address that is not loopback or is taken, or a coordinator's address that is none. An absent coordinator is
/// waited for.
pub async fn run(config: Config, stop: CancellationToken, listening: impl FnOnce(SocketAddr)) -> anyhow::Result<()> {
    refuse_open_doors(config.listen)?;
    let app = app::App::new(&config.coordinator, stop.clone())?;
    let listener =
        TcpListener::bind(config.listen).await.with_context(|| format!("cannot listen on {}", config.listen))?;
    let address = listener.local_addr()?;
    tracing::info!(%address, coordinator = config.coordinator, "the dashboard is ready");
    listening(address);
    let listener = listener.tap_io(|stream| {
        // Small events would wait for the browser's word that it has the one before.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "what happens may show late on this connection");
        }
    });
    let serving = axum::serve(listener, pages::router(app)).with_graceful_shutdown(stop.clone().cancelled_owned());
    tokio::select! {
        outcome = serving.into_future() => Ok(outcome?),
        // A browser that keeps its connection open does not keep the dashboard from stopping.
        () = async { stop.cancelled().await; tokio::time::sleep(DRAIN).await } => Ok(()),
    }
}

/// Closed by default: without TLS and tokens nobody beyond this machine may reach a service.
fn refuse_open_doors(listen: SocketAddr) -> anyhow::Result<()> {
    if listen.ip().is_loopback() {
        return Ok(());
    }
    anyhow::bail!("refusing to listen on {listen}: without TLS and tokens only loopback addresses are allowed")
}
