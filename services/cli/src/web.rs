//! HTTP to Ursa's own services.

use std::time::Duration;

/// A client whose connections are made within a few seconds and whose answers come within `patience`.
///
/// Services answer on loopback; a proxy that the environment names has no business between them.
pub(crate) fn client(patience: Duration) -> reqwest::Result<reqwest::Client> {
    // Installed already is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    builder.connect_timeout(Duration::from_secs(5)).timeout(patience).build()
}
