//! A proxy in front of one service. It passes bytes on until it is told to misbehave as networks do.
//!
//! What it does to connections it counts, so that a fault can be shown to have hit somebody.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

const PIECE_BYTES: usize = 32 << 10;
const BACKLOG: u32 = 256;

/// Where the service is.
#[derive(Debug, Clone)]
pub enum Upstream {
    /// At an address.
    Tcp(SocketAddr),
    /// At a socket in the file system.
    Unix(PathBuf),
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// How a proxy treats its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Passes everything on.
    Honest,
    /// Refuses new connections; those there are go on.
    Refusing,
    /// Takes connections and bytes, and passes nothing on. Who was silenced is cut off afterwards, for bytes are missing.
    Silent,
    /// Holds up every piece of at most 32 KiB for so long, in both directions.
    Slow(Duration),
}

/// What a proxy has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections there are now.
    pub live: u64,
    /// Connections taken.
    pub taken: u64,
    /// Connections cut.
    pub cut: u64,
    /// Bytes passed on.
    pub passed_bytes: u64,
    /// Bytes swallowed.
    pub swallowed_bytes: u64,
    /// Pieces held up.
    pub held_up: u64,
}

/// See the module. It listens until dropped; its connections end with it.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    control: Arc<Control>,
    serving: JoinHandle<()>,
}

#[derive(Debug)]
struct Control {
    upstream: Upstream,
    manner: watch::Sender<Manner>,
    /// Counts the cuts: whoever is connected when it grows is cut off.
    cuts: watch::Sender<u64>,
    /// The same for those who are abandoned.
    vanishings: watch::Sender<u64>,
    tally: Tally,
}

#[derive(Debug, Default)]
struct Tally {
    live: AtomicU64,
    taken: AtomicU64,
    cut: AtomicU64,
    passed_bytes: AtomicU64,
    swallowed_bytes: AtomicU64,
    held_up: AtomicU64,
}

impl Proxy {
    /// Listens on a free port of this machine. Has to be called within a runtime.
    pub fn start(upstream: Upstream) -> io::Result<Self> {
        // Bound for ever and never listening: while the proxy refuses, nobody else gets its port.
        let placeholder = socket((Ipv4Addr::LOCALHOST, 0).into())?;
        let address = placeholder.local_addr()?;
        let listener = socket(address)?.listen(BACKLOG)?;
        let control = Arc::new(Control {
            upstream,
            manner: watch::Sender::new(Manner::Honest),
            cuts: watch::Sender::new(0),
            vanishings: watch::Sender::new(0),
            tally: Tally::default(),
        });
        let serving = tokio::spawn(serve(control.clone(), placeholder, listener));
        Ok(Self { address, control, serving })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it stands before.
    pub fn upstream(&self) -> &Upstream {
        &self.control.upstream
    }

    /// Changes its manner. Connections that were silenced are cut off.
    pub fn behave(&self, manner: Manner) {
        let before = self.control.manner.send_replace(manner);
        if before == Manner::Silent && manner != Manner::Silent {
            self.cut();
        }
    }

    /// Breaks every connection off with a reset; returns how many there were.
    pub fn cut(&self) -> u64 {
        let live = self.control.tally.live.load(Ordering::SeqCst);
        self.control.cuts.send_modify(|cuts| *cuts += 1);
        live
    }

    /// Whoever is connected hears nothing more for ever, not even an end, and whoever comes is served: as when a machine
    /// vanishes and another takes its place. Returns how many there were.
    pub fn vanish(&self) -> u64 {
        let live = self.control.tally.live.load(Ordering::SeqCst);
        self.control.vanishings.send_modify(|vanishings| *vanishings += 1);
        live
    }

    /// What it has done so far.
    pub fn counts(&self) -> Counts {
        let tally = &self.control.tally;
        let read = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        Counts {
            live: read(&tally.live),
            taken: read(&tally.taken),
            cut: read(&tally.cut),
            passed_bytes: read(&tally.passed_bytes),
            swallowed_bytes: read(&tally.swallowed_bytes),
            held_up: read(&tally.held_up),
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn socket(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Listens, but for the times of refusal.
async fn serve(control: Arc<Control>, placeholder: TcpSocket, listener: TcpListener) {
    let mut manner = control.manner.subscribe();
    let mut connections = JoinSet::new();
    let mut listener = Some(listener);
    loop {
        match (&listener, *manner.borrow_and_update()) {
            (Some(_), Manner::Refusing) => listener = None,
            (None, Manner::Honest | Manner::Silent | Manner::Slow(_)) => {
                listener = placeholder.local_addr().and_then(socket).and_then(|socket| socket.listen(BACKLOG)).ok();
            }
            _ => {}
        }
        tokio::select! {
            changed = manner.changed() => if changed.is_err() { return },
            Some(_) = connections.join_next() => {}
            client = accept(listener.as_ref()) => {
                control.tally.taken.fetch_add(1, Ordering::SeqCst);
                // From here on a cut reaches it.
                let ends = Ends { cut: control.cuts.subscribe(), vanished: control.vanishings.subscribe() };
                connections.spawn(connection(Live::new(control.clone()), ends, client));
            }
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    loop {
        match listener {
            None => std::future::pending().await,
            Some(listener) => match listener.accept().await {
                Ok((client, _)) => return client,
                // Out of file handles, or the client has gone: others will come.
                Err(_) => tokio::task::yield_now().await,
            },
        }
    }
}

/// A connection that counts as one while this lives.
struct Live(Arc<Control>);

impl Live {
    fn new(control: Arc<Control>) -> Self {
        control.tally.live.fetch_add(1, Ordering::SeqCst);
        Self(control)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.tally.live.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What else may end a connection.
struct Ends {
    cut: watch::Receiver<u64>,
    vanished: watch::Receiver<u64>,
}

/// One connection, until both sides have ended it or it is cut.
async fn connection(live: Live, mut ends: Ends, mut client: TcpStream) {
    let control = &live.0;
    // Without it small messages would wait for each other: a delay that nobody has ordered.
    let _ = client.set_nodelay(true);
    let was_cut = tokio::select! {
        joined = join(control, &mut client) => joined.is_err(),
        _ = ends.cut.changed() => {
            control.tally.cut.fetch_add(1, Ordering::SeqCst);
            true
        }
        // The service sees it end. The client does not, as long as it stays.
        _ = ends.vanished.changed() => {
            while hear(control, &mut client).await.is_ok_and(|bytes| bytes > 0) {}
            true
        }
    };
    if was_cut {
        // Closed without a lingering farewell is reset.
        let _ = client.set_zero_linger();
    }
}

async fn join(control: &Control, client: &mut TcpStream) -> io::Result<()> {
    while *control.manner.borrow() == Manner::Silent {
        swallow(control, client).await?;
    }
    match &control.upstream {
        Upstream::Tcp(address) => {
            let mut service = TcpStream::connect(address).await?;
            service.set_nodelay(true)?;
            service.set_zero_linger()?;
            pass_both(control, client, &mut service).await
        }
        Upstream::Unix(path) => pass_both(control, client, &mut UnixStream::connect(path).await?).await,
    }
}

/// Reads what comes from somebody new, who is cut off when the silence ends.
async fn swallow(control: &Control, client: &mut TcpStream) -> io::Result<()> {
    if hear(control, client).await? == 0 {
        // It gave up, and is not answered.
        std::future::pending::<()>().await;
    }
    Ok(())
}

/// Reads what comes, and passes nothing on: so many bytes.
async fn hear(control: &Control, client: &mut TcpStream) -> io::Result<usize> {
    let mut piece = vec![0; PIECE_BYTES];
    let bytes = client.read(&mut piece).await?;
    control.tally.swallowed_bytes.fetch_add(bytes as u64, Ordering::SeqCst);
    Ok(bytes)
}

async fn pass_both<S>(control: &Control, client: &mut TcpStream, service: &mut S) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut from_client, mut to_client) = client.split();
    let (mut from_service, mut to_service) = tokio::io::split(service);
    tokio::try_join!(
        pass(control, &mut from_client, &mut to_service),
        pass(control, &mut from_service, &mut to_client)
    )?;
    Ok(())
}

/// Passes on one direction in the manner of the moment.
async fn pass<R, W>(control: &Control, from: &mut R, to: &mut W) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let bytes = from.read(&mut piece).await?;
        let manner = *control.manner.borrow();
        match manner {
            Manner::Silent if bytes == 0 => std::future::pending().await,
            Manner::Silent => {
                control.tally.swallowed_bytes.fetch_add(bytes as u64, Ordering::SeqCst);
                continue;
            }
            Manner::Slow(delay) => {
                tokio::time::sleep(delay).await;
                control.tally.held_up.fetch_add(1, Ordering::SeqCst);
            }
            Manner::Honest | Manner::Refusing => {}
        }
        if bytes == 0 {
            return to.shutdown().await;
        }
        to.write_all(&piece[..bytes]).await?;
        control.tally.passed_bytes.fetch_add(bytes as u64, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::time::Instant;

    use tokio::net::UnixListener;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    /// A service that says back what it hears.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(say_back(stream));
            }
        });
        address
    }

    async fn say_back(stream: impl AsyncRead + AsyncWrite) {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let _ = tokio::io::copy(&mut reader, &mut writer).await;
        let _ = writer.shutdown().await;
    }

    async fn before_echo() -> Proxy {
        Proxy::start(Upstream::Tcp(echo().await)).unwrap()
    }

    /// Says something and hears what comes back.
    async fn ask(stream: &mut TcpStream, words: &[u8]) -> io::Result<Vec<u8>> {
        stream.write_all(words).await?;
        let mut heard = vec![0; words.len()];
        tokio::time::timeout(PATIENCE, stream.read_exact(&mut heard)).await??;
        Ok(heard)
    }

    async fn connected(proxy: &Proxy) -> TcpStream {
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(ask(&mut stream, b"hello").await.unwrap(), b"hello");
        stream
    }

    async fn until(what: &str, is_so: impl Fn() -> bool) {
        let begin = Instant::now();
        while !is_so() {
            assert!(begin.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
            tokio::task::yield_now().await;
        }
    }

    async fn is_reset(stream: &mut TcpStream) -> bool {
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut [0; 8])).await.unwrap();
        read.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
    }

    #[tokio::test]
    async fn what_is_said_arrives_over_tcp_and_over_a_unix_socket_and_the_end_does_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(say_back(stream));
            }
        });
        for proxy in [before_echo().await, Proxy::start(Upstream::Unix(path)).unwrap()] {
            let mut stream = connected(&proxy).await;
            let long = vec![7; 3 * PIECE_BYTES];
            assert_eq!(ask(&mut stream, &long).await.unwrap(), long);
            stream.shutdown().await.unwrap();
            assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0, "the service has heard the end, and said its own");
            until("the connection to end", || proxy.counts().live == 0).await;
            assert_eq!((proxy.counts().taken, proxy.counts().cut), (1, 0));
            assert_eq!(proxy.counts().passed_bytes, 2 * (5 + long.len() as u64));
        }
    }

    #[tokio::test]
    async fn a_cut_resets_everybody_who_is_there_and_nobody_who_comes() {
        let proxy = before_echo().await;
        let mut all = [connected(&proxy).await, connected(&proxy).await];
        assert_eq!(proxy.cut(), 2);
        for stream in &mut all {
            assert!(is_reset(stream).await);
        }
        connected(&proxy).await;
        assert_eq!(proxy.counts().cut, 2);
    }

    #[tokio::test]
    async fn a_refusing_proxy_keeps_its_port_and_those_it_has() {
        let proxy = before_echo().await;
        let mut old = connected(&proxy).await;
        proxy.behave(Manner::Refusing);
        let begin = Instant::now();
        loop {
            match TcpStream::connect(proxy.address()).await {
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => break,
                _ => assert!(begin.elapsed() < PATIENCE, "it does not refuse"),
            }
        }
        assert_eq!(ask(&mut old, b"still").await.unwrap(), b"still");
        proxy.behave(Manner::Honest);
        while TcpStream::connect(proxy.address()).await.is_err() {
            assert!(begin.elapsed() < PATIENCE, "it goes on refusing");
        }
        connected(&proxy).await;
    }

    #[tokio::test]
    async fn silence_swallows_old_and_new_and_ends_with_a_reset() {
        let proxy = before_echo().await;
        let mut old = connected(&proxy).await;
        proxy.behave(Manner::Silent);
        let mut new = TcpStream::connect(proxy.address()).await.unwrap();
        old.write_all(b"anybody?").await.unwrap();
        new.write_all(b"nobody").await.unwrap();
        until("both to be swallowed", || proxy.counts().swallowed_bytes == 14).await;
        proxy.behave(Manner::Honest);
        assert!(is_reset(&mut old).await && is_reset(&mut new).await);
        connected(&proxy).await;
    }

    #[tokio::test]
    async fn whoever_was_there_when_the_service_vanished_hears_nothing_and_whoever_comes_is_served() {
        let proxy = before_echo().await;
        let mut old = connected(&proxy).await;
        assert_eq!(proxy.vanish(), 1);
        old.write_all(b"anybody?").await.unwrap();
        until("that to be swallowed", || proxy.counts().swallowed_bytes == 8).await;
        connected(&proxy).await;
        let silence = tokio::time::timeout(Duration::from_millis(200), old.read(&mut [0; 8])).await;
        assert!(silence.is_err(), "it heard {silence:?}");
    }

    #[tokio::test]
    async fn a_slow_proxy_holds_up_each_piece_and_loses_none() {
        let proxy = before_echo().await;
        let mut stream = connected(&proxy).await;
        let delay = Duration::from_millis(60);
        proxy.behave(Manner::Slow(delay));
        let begin = Instant::now();
        assert_eq!(ask(&mut stream, b"slowly").await.unwrap(), b"slowly");
        assert!(begin.elapsed() >= 2 * delay, "there and back");
        assert_eq!(proxy.counts().held_up, 2);
    }

    #[tokio::test]
    async fn before_a_service_that_is_away_clients_are_reset() {
        let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let proxy = Proxy::start(Upstream::Tcp(address)).unwrap();
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(is_reset(&mut stream).await);
    }
}
