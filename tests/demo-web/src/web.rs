//! A running demo web: it listens, and it stops at once, whatever its clients are waiting for.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::config::DemoWebConfig;
use crate::server::{Server, answer};
use crate::site::Site;
use crate::{Class, ListedPicture, lists};

/// A demo web that is being served. Dropping it ends it as [`DemoWeb::stop`] does, without waiting.
pub struct DemoWeb {
    address: SocketAddr,
    server: Arc<Server>,
    listening: JoinHandle<()>,
    guard: DropGuard,
}

impl DemoWeb {
    /// Begins to serve.
    ///
    /// # Errors
    /// An address that is taken or beyond loopback.
    pub async fn start(config: DemoWebConfig) -> io::Result<Self> {
        refuse_open_doors(config.listen)?;
        let listener = TcpListener::bind(config.listen).await?;
        let address = listener.local_addr()?;
        let server = Arc::new(Server::new(Site::new(&config), format!("http://{address}")));
        let router = Router::new().fallback(answer).with_state(server.clone());
        let stop = CancellationToken::new();
        let listening = tokio::spawn(listen(listener, router, stop.clone()));
        Ok(Self { address, server, listening, guard: stop.drop_guard() })
    }

    /// Ends it: nobody is answered any more, and every connection is closed, whatever it was waiting for.
    pub async fn stop(self) {
        drop(self.guard);
        // It cannot fail but by a panic, which was reported where it happened.
        let _ = self.listening.await;
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What its URLs begin with: `http://127.0.0.1:PORT`, without a slash.
    pub fn base_url(&self) -> &str {
        &self.server.base
    }

    /// The text of a class's URL list, as served under its [`Class::list_name`].
    pub fn url_list(&self, class: Class) -> String {
        lists::text(self.server.site.list(class), self.base_url())
    }

    /// The truth about every line of the lists that is neither blank nor a repetition.
    pub fn expected(&self) -> Vec<ListedPicture> {
        self.server.site.expected(self.base_url())
    }

    /// A picture for trying a classifier: clean, rightly named, in no list. There is one for every number.
    pub fn fresh_url(&self, class: Class, number: u32) -> String {
        format!("{}/try/{class}/{number}.jpg", self.base_url())
    }

    /// How often a path was asked for; a whole URL of this web will do as well.
    pub fn hits(&self, path: &str) -> u64 {
        self.server.hits(path.strip_prefix(self.base_url()).unwrap_or(path))
    }
}

/// Serves a demo web until told to stop. `listening` hears the address once requests are answered.
///
/// # Errors
/// As [`DemoWeb::start`].
pub async fn run(config: DemoWebConfig, stop: CancellationToken, listening: impl FnOnce(SocketAddr)) -> io::Result<()> {
    let web = DemoWeb::start(config).await?;
    tracing::info!(address = %web.address(), "the demo web is ready");
    listening(web.address());
    stop.cancelled().await;
    web.stop().await;
    Ok(())
}

/// Closed by default: nobody beyond this machine needs a web of drawn bears, least of all one that misbehaves.
fn refuse_open_doors(listen: SocketAddr) -> io::Result<()> {
    if listen.ip().is_loopback() {
        return Ok(());
    }
    Err(io::Error::other(format!("refusing to listen on {listen}: the demo web is for this machine alone")))
}

/// Accepts connections until told to stop; none of them outlives it.
async fn listen(listener: TcpListener, router: Router, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => { connections.spawn(serve(stream, router.clone())); }
                // Out of file handles: those in use will come back.
                Err(_) => tokio::task::yield_now().await,
            },
        }
    }
    connections.shutdown().await;
}

async fn serve(stream: TcpStream, router: Router) {
    let service = TowerToHyperService::new(router);
    // A client that goes away, or a body that breaks off on purpose, is everyday life here.
    let _ = auto::Builder::new(TokioExecutor::new()).http1_only().serve_connection(TokioIo::new(stream), service).await;
}
