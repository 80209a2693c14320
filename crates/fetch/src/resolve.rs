//! From a URL to the addresses that may be connected to. The only place that looks names up.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use crate::address::is_public;
use crate::{FetchError, Network};

/// The answer to a look-up.
pub(crate) type Found = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// Looks a name up: the machine's resolver, or one that a test scripts.
type Lookup = dyn Fn(String, u16) -> Found + Send + Sync;

/// Lets through what may be reached.
#[derive(Clone)]
pub(crate) struct Guard {
    allowed: Arc<[Network]>,
    lookup: Arc<Lookup>,
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard").field("allowed", &self.allowed).finish_non_exhaustive()
    }
}

impl Guard {
    /// Public addresses, and those of the networks `allowed`.
    pub(crate) fn new(allowed: Vec<Network>) -> Self {
        let lookup = |name: String, port: u16| -> Found {
            Box::pin(async move { Ok(tokio::net::lookup_host((name, port)).await?.collect()) })
        };
        Self { allowed: allowed.into(), lookup: Arc::new(lookup) }
    }

    #[cfg(test)]
    pub(crate) fn with_lookup(self, lookup: impl Fn(String, u16) -> Found + Send + Sync + 'static) -> Self {
        Self { lookup: Arc::new(lookup), ..self }
    }

    /// Every address of a URL's host. One that may not be reached spoils them all: a name that also leads inside is not
    /// to be trusted.
    pub(crate) async fn addresses(&self, url: &Url) -> Result<Vec<SocketAddr>, FetchError> {
        let port = url.port_or_known_default().unwrap_or(80);
        let host = url.host().ok_or_else(|| FetchError::InvalidUrl("it names no host".into()))?;
        let addresses = match host {
            Host::Ipv4(address) => vec![SocketAddr::from((address, port))],
            Host::Ipv6(address) => vec![SocketAddr::from((address, port))],
            Host::Domain(name) => self.look_up(name, port).await?,
        };
        match addresses.iter().find(|address| !self.may_reach(**address)) {
            None => Ok(addresses),
            Some(blocked) => Err(FetchError::BlockedAddress { host: host.to_string(), address: blocked.ip() }),
        }
    }

    async fn look_up(&self, name: &str, port: u16) -> Result<Vec<SocketAddr>, FetchError> {
        let failed = |reason: String| FetchError::Dns { host: name.to_owned(), reason };
        let mut found = (self.lookup)(name.to_owned(), port).await.map_err(|error| failed(error.to_string()))?;
        if found.is_empty() {
            return Err(failed("the resolver found none".into()));
        }
        // The port that is checked is the one that is connected to.
        for address in &mut found {
            address.set_port(port);
        }
        Ok(found)
    }

    fn may_reach(&self, address: SocketAddr) -> bool {
        let (address, port) = (address.ip(), address.port());
        is_public(address) || self.allowed.iter().any(|network| network.contains(address, port))
    }
}

tokio::task_local! {
    /// The checked addresses of the request under way.
    static CHECKED: Vec<SocketAddr>;
}

/// Runs a request that can connect to these addresses and no others.
pub(crate) async fn pinned<T>(addresses: Vec<SocketAddr>, request: impl Future<Output = T>) -> T {
    CHECKED.scope(addresses, request).await
}

/// Hands the client the addresses that were checked, whatever the name says by now. Outside [`pinned`] nothing resolves.
pub(crate) struct PinnedResolver;

impl Resolve for PinnedResolver {
    fn resolve(&self, _: Name) -> Resolving {
        let addresses = CHECKED.try_with(Clone::clone);
        Box::pin(async move {
            let addresses = addresses.map_err(|_| io::Error::other("no address was checked for this request"))?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}
