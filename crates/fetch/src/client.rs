//! Fetching.

use std::collections::HashSet;
use std::error::Error as _;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_TYPE, HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{Client, Response};
use sha2::{Digest, Sha256};
use url::{Host, Url};

use crate::address::is_public;
use crate::{FetchError, FetchFailure, FetchPolicy, Network};

/// The wait before the second try; doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_millis(300);
/// However long a server asks for.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// What was fetched.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The body.
    pub bytes: Bytes,
    /// Of the body.
    pub sha256: [u8; 32],
    /// Where redirects led.
    pub final_url: Url,
    /// HTTP status.
    pub status: u16,
    /// What the server calls it.
    pub content_type: Option<String>,
    /// Hops.
    pub redirects: u32,
    /// Tries made.
    pub attempts: u32,
    /// Over all tries.
    pub elapsed: Duration,
}

/// A client with one policy. Cheap to clone; connections are shared.
#[derive(Debug, Clone)]
pub struct Fetcher {
    client: Client,
    policy: Arc<FetchPolicy>,
}

impl Fetcher {
    /// A client that follows `policy`.
    ///
    /// # Errors
    /// When the machine's TLS roots cannot be read.
    pub fn new(policy: FetchPolicy) -> Result<Self, FetchError> {
        // A second installation is refused, which is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .user_agent(&policy.user_agent)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(policy.connect_timeout)
            .dns_resolver(Arc::new(CheckedResolver))
            .build()
            .map_err(|error| FetchError::Protocol(error.to_string()))?;
        Ok(Self { client, policy: Arc::new(policy) })
    }

    /// Fetches a URL, trying again what may heal.
    pub async fn fetch(&self, url: &str) -> Result<Fetched, FetchFailure> {
        let begin = Instant::now();
        let mut attempts = 0;
        loop {
            attempts += 1;
            let mut visited = Vec::new();
            let tried = tokio::time::timeout(self.policy.timeout, self.follow(url, &mut visited)).await;
            let error = match tried.unwrap_or(Err(FetchError::Timeout(self.policy.timeout))) {
                Ok(fetched) => return Ok(Fetched { attempts, elapsed: begin.elapsed(), ..fetched }),
                Err(error) => error,
            };
            if attempts > self.policy.retries || !error.is_retryable() {
                return Err(FetchFailure { error, final_url: visited.pop(), attempts, elapsed: begin.elapsed() });
            }
            tokio::time::sleep(wait_before_retry(&error, attempts)).await;
        }
    }

    /// One try: from hop to hop, each checked like the first.
    async fn follow(&self, url: &str, visited: &mut Vec<Url>) -> Result<Fetched, FetchError> {
        let mut seen = HashSet::new();
        let mut next = Url::parse(url.trim()).map_err(|error| FetchError::InvalidUrl(error.to_string()))?;
        loop {
            if !seen.insert(next.clone()) {
                return Err(FetchError::RedirectLoop);
            }
            visited.push(next.clone());
            check_url(&next)?;
            let redirects = visited.len() as u32 - 1;
            if redirects > self.policy.max_redirects {
                return Err(FetchError::TooManyRedirects(self.policy.max_redirects));
            }
            let response = self.get(&next).await?;
            match redirect_of(&response, &next)? {
                Some(target) => next = target,
                None => return self.read(response, next, redirects).await,
            }
        }
    }

    async fn get(&self, url: &Url) -> Result<Response, FetchError> {
        let addresses = self.resolve(url).await?;
        // The name is not looked up again: what was checked is what is connected to.
        CHECKED.scope(addresses, self.client.get(url.clone()).send()).await.map_err(|error| self.classify(&error))
    }

    /// Every address of the host, all of them checked.
    async fn resolve(&self, url: &Url) -> Result<Vec<SocketAddr>, FetchError> {
        let port = url.port_or_known_default().unwrap_or(80);
        let host = url.host().ok_or_else(|| FetchError::InvalidUrl("it names no host".into()))?;
        let addresses: Vec<SocketAddr> = match host {
            Host::Ipv4(address) => vec![SocketAddr::from((address, port))],
            Host::Ipv6(address) => vec![SocketAddr::from((address, port))],
            Host::Domain(name) => {
                let dns = |reason: String| FetchError::Dns { host: name.to_owned(), reason };
                let found: Vec<_> =
                    tokio::net::lookup_host((name, port)).await.map_err(|error| dns(error.to_string()))?.collect();
                if found.is_empty() {
                    return Err(dns("the resolver found none".into()));
                }
                found
            }
        };
        match addresses.iter().find(|address| !self.may_reach(address.ip(), port)) {
            None => Ok(addresses),
            Some(blocked) => Err(FetchError::BlockedAddress { host: host.to_string(), address: blocked.ip() }),
        }
    }

    fn may_reach(&self, address: IpAddr, port: u16) -> bool {
        is_public(address)
            || self.policy.allowed_networks.iter().any(|network: &Network| network.contains(address, port))
    }

    async fn read(&self, mut response: Response, final_url: Url, redirects: u32) -> Result<Fetched, FetchError> {
        let status = response.status().as_u16();
        if !response.status().is_success() {
            return Err(FetchError::HttpStatus { status, retry_after: retry_after(response.headers()) });
        }
        let limit = self.policy.max_bytes;
        // A first look; the length is the server's word, the bytes are counted all the same.
        if response.content_length().is_some_and(|length| length > limit) {
            return Err(FetchError::TooLarge(limit));
        }
        let content_type =
            response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.classify(&error))? {
            if (body.len() + chunk.len()) as u64 > limit {
                return Err(FetchError::TooLarge(limit));
            }
            body.extend_from_slice(&chunk);
        }
        let sha256 = Sha256::digest(&body).into();
        let (attempts, elapsed) = (0, Duration::ZERO);
        Ok(Fetched { bytes: body.freeze(), sha256, final_url, status, content_type, redirects, attempts, elapsed })
    }

    fn classify(&self, error: &reqwest::Error) -> FetchError {
        let text = innermost(error);
        if error.is_connect() && !error.is_timeout() {
            FetchError::Connect(text)
        } else if error.is_timeout() {
            FetchError::Timeout(self.policy.connect_timeout)
        } else if error.is_body() || error.is_decode() || error.is_request() {
            if text.contains("invalid") { FetchError::Protocol(text) } else { FetchError::Truncated }
        } else {
            FetchError::Protocol(text)
        }
    }
}

/// The message at the root of an error: the outer ones only repeat the URL.
fn innermost(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = error.to_string();
        cause = error.source();
    }
    text
}

fn check_url(url: &Url) -> Result<(), FetchError> {
    match url.scheme() {
        "http" | "https" => Ok(()),
        scheme => Err(FetchError::UnsupportedScheme(scheme.to_owned())),
    }
}

fn redirect_of(response: &Response, from: &Url) -> Result<Option<Url>, FetchError> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let target = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let target = target.ok_or_else(|| FetchError::Protocol("a redirect without a target".into()))?;
    from.join(target).map(Some).map_err(|error| FetchError::Protocol(format!("a redirect to nowhere: {error}")))
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?;
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = chrono::DateTime::parse_from_rfc2822(value).ok()?;
    (at.to_utc() - chrono::Utc::now()).to_std().ok()
}

fn wait_before_retry(error: &FetchError, attempts: u32) -> Duration {
    match error {
        FetchError::HttpStatus { retry_after: Some(asked), .. } => (*asked).min(LONGEST_WAIT),
        _ => (FIRST_WAIT * 2_u32.saturating_pow(attempts - 1)).min(LONGEST_WAIT),
    }
}

tokio::task_local! {
    /// The checked addresses of the request under way.
    static CHECKED: Vec<SocketAddr>;
}

/// Hands the client the addresses that were checked, whatever the name says by now.
struct CheckedResolver;

impl Resolve for CheckedResolver {
    fn resolve(&self, _: Name) -> Resolving {
        let addresses = CHECKED.try_with(Clone::clone);
        Box::pin(async move {
            let addresses = addresses.map_err(|_| io::Error::other("no address was checked for this request"))?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}
