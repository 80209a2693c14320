//! What every service does the same way at its edges: logging, stopping on a signal, and ending with a sensible exit code.
//!
//! Logs go to standard error; standard output belongs to the program's results.

use std::future::Future;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Which log lines are wanted, in the syntax of `RUST_LOG`.
pub const LOG_VARIABLE: &str = "URSA_LOG";
/// `json` for one JSON object per line; anything else for people.
pub const LOG_FORMAT_VARIABLE: &str = "URSA_LOG_FORMAT";

/// Starts logging to standard error. Later calls do nothing.
pub fn init_logging() {
    init_logging_at("info");
}

/// As [`init_logging`], with another level where [`LOG_VARIABLE`] is not set.
pub fn init_logging_at(default_level: &str) {
    let filter = EnvFilter::try_from_env(LOG_VARIABLE).unwrap_or_else(|_| EnvFilter::new(default_level));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let json = std::env::var(LOG_FORMAT_VARIABLE).is_ok_and(|format| format == "json");
    // A second subscriber is refused, which is what "later calls do nothing" means.
    let _ = if json { builder.json().try_init() } else { builder.with_ansi(false).try_init() };
    std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "a thread panicked; this is a bug in Ursa")));
}

/// Runs a service until it ends by itself or is told to stop by SIGINT or SIGTERM, through the token it is given.
///
/// Ends with exit code 0 after an orderly stop and 1 after an error, which is logged with its causes.
pub async fn run<F, Fut>(service: F) -> ExitCode
where
    F: FnOnce(CancellationToken) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    init_logging();
    let stop = match stop_on_signal() {
        Ok(stop) => stop,
        Err(error) => {
            tracing::error!(%error, "cannot listen for signals");
            return ExitCode::FAILURE;
        }
    };
    match service(stop).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A token that is cancelled by the first SIGINT or SIGTERM; a second one ends the process at once with code 130.
pub fn stop_on_signal() -> std::io::Result<CancellationToken> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = CancellationToken::new();
    let token = stop.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            if token.is_cancelled() {
                std::process::exit(130);
            }
            token.cancel();
        }
    });
    Ok(stop)
}
