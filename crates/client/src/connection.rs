//! The way to the coordinator: one connection at a time, to one of the addresses where coordinators of the same system
//! answer.
//!
//! It begins with any of them, so that peers spread over the coordinators, and stays while that one can be reached. Who
//! notices that it does not answer turns to the next one.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};
use ursa_proto::ApiError;

use crate::DEFAULT_COORDINATOR;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// See the module. Cheap to clone; clones turn together.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    addresses: Arc<[Address]>,
    line: Arc<Mutex<Line>>,
}

/// Where a coordinator answers.
#[derive(Debug)]
struct Address {
    /// As given, for instance `http://127.0.0.1:7400`.
    url: String,
    endpoint: Endpoint,
    /// What is dialled, for instance `127.0.0.1:7400`.
    host_and_port: String,
}

/// A channel, and which address it leads to or tries first.
#[derive(Debug, Clone)]
struct Line {
    channel: Channel,
    at: Arc<AtomicUsize>,
}

impl Connection {
    /// To any of `urls`. Does not connect yet.
    ///
    /// # Errors
    /// `InvalidArgument` when there is none, or one that is not an http URL.
    pub(crate) fn new<'a>(urls: impl IntoIterator<Item = &'a str>) -> Result<Self, ApiError> {
        let addresses: Arc<[Address]> = urls.into_iter().map(Address::parse).collect::<Result<_, _>>()?;
        if addresses.is_empty() {
            return Err(ApiError::invalid(format!("no coordinator's address; one looks like {DEFAULT_COORDINATOR}")));
        }
        let line = Line::new(&addresses, rand::random_range(0..addresses.len()));
        Ok(Self { line: Arc::new(Mutex::new(line)), addresses })
    }

    /// Connects when first used, and again whenever the connection breaks.
    pub(crate) fn channel(&self) -> Channel {
        self.line().channel
    }

    /// Where it leads, or tries first.
    pub(crate) fn address(&self) -> &str {
        &self.addresses[self.line().at.load(Ordering::Relaxed)].url
    }

    /// Leaves this coordinator for the next one, if there is another. Calls under way are not interrupted.
    pub(crate) fn turn(&self) {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        if self.addresses.len() > 1 {
            let next = (line.at.load(Ordering::Relaxed) + 1) % self.addresses.len();
            *line = Line::new(&self.addresses, next);
        }
    }

    fn line(&self) -> Line {
        // It is whole at every moment.
        self.line.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Address {
    fn parse(url: &str) -> Result<Self, ApiError> {
        let parsed = || {
            let endpoint = Endpoint::from_shared(url.to_owned()).ok()?;
            let uri = endpoint.uri();
            uri.scheme_str().filter(|scheme| scheme.starts_with("http"))?;
            let host_and_port = format!("{}:{}", uri.host()?, uri.port_u16().unwrap_or(80));
            let endpoint = endpoint
                .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
                .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
                .keep_alive_while_idle(true);
            Some(Self { url: url.to_owned(), endpoint, host_and_port })
        };
        parsed().ok_or_else(|| {
            ApiError::invalid(format!("{url:?} is not a coordinator's address; it looks like {DEFAULT_COORDINATOR}"))
        })
    }

    async fn dial(&self) -> io::Result<TcpStream> {
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "it does not answer");
        let stream =
            tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(&self.host_and_port)).await.map_err(late)??;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

impl Line {
    fn new(addresses: &Arc<[Address]>, first: usize) -> Self {
        let at = Arc::new(AtomicUsize::new(first));
        let dialler = tower::service_fn({
            let (addresses, at) = (addresses.clone(), at.clone());
            move |_| dial(addresses.clone(), at.clone())
        });
        Self { channel: addresses[first].endpoint.connect_with_connector_lazy(dialler), at }
    }
}

/// Dials one address after the other, and notes which of them answered.
async fn dial(addresses: Arc<[Address]>, at: Arc<AtomicUsize>) -> io::Result<TokioIo<TcpStream>> {
    let first = at.load(Ordering::Relaxed);
    let mut failures = Vec::new();
    for index in (0..addresses.len()).map(|step| (first + step) % addresses.len()) {
        match addresses[index].dial().await {
            Ok(stream) => {
                at.store(index, Ordering::Relaxed);
                return Ok(TokioIo::new(stream));
            }
            Err(error) => failures.push(format!("{}: {error}", addresses[index].url)),
        }
    }
    Err(io::Error::new(io::ErrorKind::NotConnected, failures.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_no_address_is_refused_by_name() {
        for url in ["nowhere", "ftp://host:1", "http://"] {
            let refused = Connection::new([DEFAULT_COORDINATOR, url]).unwrap_err();
            assert!(refused.message.contains(url), "{refused:?}");
        }
        assert!(Connection::new([]).unwrap_err().message.contains(DEFAULT_COORDINATOR));
    }

    #[tokio::test]
    async fn peers_begin_with_any_of_the_coordinators() {
        let urls = ["http://127.0.0.1:1", "http://127.0.0.1:2"];
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..64 {
            seen.insert(Connection::new(urls).unwrap().address().to_owned());
        }
        assert_eq!(seen.len(), 2);
    }

    #[tokio::test]
    async fn turning_goes_round_and_one_address_stays() {
        let connection = Connection::new(["http://127.0.0.1:1", "http://127.0.0.1:2"]).unwrap();
        let first = connection.address().to_owned();
        connection.clone().turn();
        assert_ne!(connection.address(), first);
        connection.turn();
        assert_eq!(connection.address(), first);
        let only = Connection::new(["http://127.0.0.1:1"]).unwrap();
        only.turn();
        assert_eq!(only.address(), "http://127.0.0.1:1");
    }
    #[tokio::test]
    async fn the_first_that_answers_is_taken_and_stays_the_first_to_try() {
        let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let urls = [format!("http://{closed}"), format!("http://{}", listener.local_addr().unwrap())];
        let addresses: Arc<[Address]> = urls.iter().map(|url| Address::parse(url).unwrap()).collect();
        let at = Arc::new(AtomicUsize::new(0));
        dial(addresses.clone(), at.clone()).await.unwrap();
        assert_eq!(at.load(Ordering::Relaxed), 1);
        drop(listener);
        let failed = dial(addresses, at).await.unwrap_err().to_string();
        assert!(urls.iter().all(|url| failed.contains(url)), "{failed}");
    }
}
