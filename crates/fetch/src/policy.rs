//! What a fetch may do.

use std::time::Duration;

use crate::Network;

/// Limits of one request and its repetitions.
#[derive(Debug, Clone)]
pub struct FetchPolicy {
    /// One try as a whole: name, connection, redirects, body.
    pub timeout: Duration,
    /// A connection alone.
    pub connect_timeout: Duration,
    /// Largest body, in bytes.
    pub max_bytes: u64,
    /// Most redirects.
    pub max_redirects: u32,
    /// Private networks that may be reached all the same.
    pub allowed_networks: Vec<Network>,
    /// How we introduce ourselves: as what we are.
    pub user_agent: String,
    /// Further tries after a failure that may heal.
    pub retries: u32,
}

impl Default for FetchPolicy {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(4),
            max_bytes: 32 << 20,
            max_redirects: 5,
            allowed_networks: Vec::new(),
            user_agent: format!("ursa/{} (+image collection; contact the operator)", env!("CARGO_PKG_VERSION")),
            retries: 2,
        }
    }
}
