//! Fetching, and sending to addresses that a user named.

use std::collections::HashSet;
use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use reqwest::header::{CONTENT_TYPE, HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{Client, ClientBuilder, Response};
use sha2::{Digest, Sha256};
use url::Url;

use crate::resolve::{Guard, PinnedResolver, pinned};
use crate::{FetchError, FetchFailure, FetchPolicy};

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
    guard: Guard,
    policy: Arc<FetchPolicy>,
}

impl Fetcher {
    /// A client that follows `policy`.
    ///
    /// A machine without CA certificates gets one that fetches http and fails on https with [`FetchError::Tls`].
    ///
    /// # Errors
    /// When the policy's user agent is no header value.
    pub fn new(policy: FetchPolicy) -> Result<Self, FetchError> {
        // A second installation is refused, which is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = builder(&policy).build().or_else(|error| {
            let error: &dyn Error = error.source().unwrap_or(&error);
            tracing::warn!(error, "this machine has no usable CA certificates: only http can be fetched, https cannot");
            without_roots(&policy)
        })?;
        Ok(Self { client, guard: Guard::new(policy.allowed_networks.clone()), policy: Arc::new(policy) })
    }

    /// Fetches a URL, trying again what may heal. Each try has the policy's `timeout`; a server's `Retry-After` is
    /// honoured up to five seconds.
    pub async fn fetch(&self, url: &str) -> Result<Fetched, FetchFailure> {
        let begin = Instant::now();
        let mut attempts = 0;
        loop {
            attempts += 1;
            let mut visited = Vec::new();
            let error = match self.in_time(self.follow(url, &mut visited)).await {
                Ok(fetched) => return Ok(Fetched { attempts, elapsed: begin.elapsed(), ..fetched }),
                Err(error) => error,
            };
            if attempts > self.policy.retries || !error.is_retryable() {
                return Err(FetchFailure { error, final_url: visited.pop(), attempts, elapsed: begin.elapsed() });
            }
            tokio::time::sleep(wait_before_retry(&error, attempts)).await;
        }
    }

    /// Sends `body` once and returns the status of whatever answered. Redirects are not followed, what the answer says
    /// is not read, and nothing is repeated: whether it may be is the caller's to know. Limited by the policy's
    /// `timeout`.
    pub async fn post(&self, url: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Result<u16, FetchError> {
        let body = body.into();
        let sending = async {
            let url = parse(url)?;
            let addresses = self.guard.addresses(&url).await?;
            let request =
                headers.iter().fold(self.client.post(url), |request, (name, value)| request.header(*name, *value));
            let response = pinned(addresses, request.body(body).send()).await.map_err(|error| self.classify(&error))?;
            Ok(response.status().as_u16())
        };
        self.in_time(sending).await
    }

    /// Whether a request for a URL would be let through, as its name leads now. Limited by the policy's `timeout`.
    pub async fn check(&self, url: &str) -> Result<(), FetchError> {
        let checking = async { self.guard.addresses(&parse(url)?).await.map(drop) };
        self.in_time(checking).await
    }

    async fn in_time<T>(&self, request: impl Future<Output = Result<T, FetchError>>) -> Result<T, FetchError> {
        let limit = self.policy.timeout;
        tokio::time::timeout(limit, request).await.unwrap_or(Err(FetchError::Timeout(limit)))
    }

    /// One try: from hop to hop, each checked like the first.
    async fn follow(&self, url: &str, visited: &mut Vec<Url>) -> Result<Fetched, FetchError> {
        let mut seen = HashSet::new();
        let mut next = Url::parse(url.trim()).map_err(|error| FetchError::InvalidUrl(error.to_string()))?;
        loop {
            // A fragment is never sent, so it makes no other page.
            next.set_fragment(None);
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
        let addresses = self.guard.addresses(url).await?;
        // The name is not looked up again: what was checked is what is connected to.
        pinned(addresses, self.client.get(url.clone()).send()).await.map_err(|error| self.classify(&error))
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
        let text = causes(error).last().map_or_else(|| error.to_string(), ToString::to_string);
        if error.is_timeout() {
            // What takes longer than the whole request may never gets here.
            FetchError::Timeout(self.policy.connect_timeout)
        } else if causes(error).any(is_tls) {
            FetchError::Tls(text)
        } else if error.is_connect() {
            FetchError::Connect(text)
        } else if causes(error).any(is_cut) {
            FetchError::Truncated
        } else {
            FetchError::Protocol(text)
        }
    }
}

type Cause<'a> = &'a (dyn Error + 'static);

/// An error and what lies beneath it: the outer ones only repeat the URL.
fn causes(error: &reqwest::Error) -> impl Iterator<Item = Cause<'_>> {
    let first: Cause<'_> = error;
    std::iter::successors(Some(first), |error| beneath(*error))
}

fn beneath<'a>(error: Cause<'a>) -> Option<Cause<'a>> {
    match error.downcast_ref::<io::Error>() {
        // `source` of an I/O error skips the error it wraps.
        Some(io) => io.get_ref().map(|inner| inner as Cause<'a>),
        None => error.source(),
    }
}

fn is_tls(error: Cause<'_>) -> bool {
    error.is::<rustls::Error>()
}

fn is_cut(error: Cause<'_>) -> bool {
    error.is::<io::Error>()
        || error.downcast_ref::<hyper::Error>().is_some_and(|error| error.is_incomplete_message() || error.is_closed())
}

fn builder(policy: &FetchPolicy) -> ClientBuilder {
    Client::builder()
        .user_agent(&policy.user_agent)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .referer(false)
        // Bytes are hashed as they come, and a small answer must not grow into a large one.
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate()
        .connect_timeout(policy.connect_timeout)
        .dns_resolver(Arc::new(PinnedResolver))
}

/// A client that trusts nobody's certificate.
fn without_roots(policy: &FetchPolicy) -> Result<Client, FetchError> {
    builder(policy).tls_certs_only([]).build().map_err(|error| FetchError::Protocol(error.to_string()))
}

/// A URL that may be asked for.
fn parse(url: &str) -> Result<Url, FetchError> {
    let url = Url::parse(url.trim()).map_err(|error| FetchError::InvalidUrl(error.to_string()))?;
    check_url(&url)?;
    Ok(url)
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

#[cfg(test)]
mod tests;
