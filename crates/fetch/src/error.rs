//! What can become of a fetch that does not work.

use std::net::IpAddr;
use std::time::Duration;

use url::Url;

/// Why a URL could not be fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// Not a URL.
    #[error("it is not a URL: {0}")]
    InvalidUrl(String),
    /// Neither http nor https.
    #[error("{0:?} addresses are not fetched, only http and https are")]
    UnsupportedScheme(String),
    /// An address that is not public and not allowed.
    #[error("{host} is at {address}, which is not a public address; the operator can allow its network")]
    BlockedAddress {
        /// As named in the URL.
        host: String,
        /// Where it would lead.
        address: IpAddr,
    },
    /// The name has no address.
    #[error("{host} has no address: {reason}")]
    Dns {
        /// The name.
        host: String,
        /// What the resolver said.
        reason: String,
    },
    /// No connection.
    #[error("no connection: {0}")]
    Connect(String),
    /// A connection, but not one to be trusted.
    #[error("no secure connection: {0}")]
    Tls(String),
    /// The deadline passed.
    #[error("it took longer than {0:?}")]
    Timeout(Duration),
    /// The body is larger than allowed.
    #[error("the body is larger than {0} bytes")]
    TooLarge(u64),
    /// Too many hops.
    #[error("more than {0} redirects")]
    TooManyRedirects(u32),
    /// A hop back to where it has been.
    #[error("the redirects go in a circle")]
    RedirectLoop,
    /// An answer that is no success.
    #[error("the server answered {status}")]
    HttpStatus {
        /// The status.
        status: u16,
        /// How long the server asks us to wait.
        retry_after: Option<Duration>,
    },
    /// The connection ended before the body did.
    #[error("the connection ended before the body did")]
    Truncated,
    /// Not HTTP as we know it.
    #[error("the answer makes no sense: {0}")]
    Protocol(String),
}

impl FetchError {
    /// The stable name of the class, stored with the source.
    pub fn class(&self) -> &'static str {
        match self {
            Self::InvalidUrl(_) => "invalid-url",
            Self::UnsupportedScheme(_) => "unsupported-scheme",
            Self::BlockedAddress { .. } => "blocked-address",
            Self::Dns { .. } => "dns",
            Self::Connect(_) => "connect",
            Self::Tls(_) => "tls",
            Self::Timeout(_) => "timeout",
            Self::TooLarge(_) => "too-large",
            Self::TooManyRedirects(_) => "too-many-redirects",
            Self::RedirectLoop => "redirect-loop",
            Self::HttpStatus { .. } => "http-status",
            Self::Truncated => "body-truncated",
            Self::Protocol(_) => "protocol",
        }
    }

    /// Whether trying again soon may work.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::HttpStatus { status, .. } => *status >= 500 || *status == 429 || *status == 408,
            Self::Dns { .. } | Self::Connect(_) | Self::Timeout(_) | Self::Truncated | Self::Protocol(_) => true,
            _ => false,
        }
    }

    /// The HTTP status, where there was one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::HttpStatus { status, .. } => Some(*status),
            _ => None,
        }
    }
}

/// A fetch that did not work, after all its tries.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{error}")]
pub struct FetchFailure {
    /// The last try's error.
    pub error: FetchError,
    /// Where the last try ended, if it got that far.
    pub final_url: Option<Url>,
    /// Tries made.
    pub attempts: u32,
    /// Over all tries.
    pub elapsed: Duration,
}
