//! Every class of failure, against a server that misbehaves as told.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use ursa_fetch::{FetchError, FetchFailure, FetchPolicy, Fetched, Fetcher};

/// A server that answers each path with the bytes `answer` gives, and closes.
struct Web {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

type Answer = fn(path: &str, nth: usize, address: SocketAddr) -> Reply;

enum Reply {
    Bytes(Vec<u8>),
    /// Sends these, then one byte every 50 ms for ever.
    Drip(Vec<u8>),
    Silence,
}

fn ok(body: &[u8]) -> Reply {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: image/jpeg\r\ncontent-length: {}\r\n\r\n", body.len());
    Reply::Bytes([head.as_bytes(), body].concat())
}

fn status(line: &str, headers: &str) -> Reply {
    Reply::Bytes(format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\n{headers}\r\n").into_bytes())
}

impl Web {
    async fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let count = requests.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, answer, count.clone(), address));
            }
        });
        Self { address, requests }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn policy(&self) -> FetchPolicy {
        FetchPolicy {
            timeout: Duration::from_millis(700),
            max_bytes: 1000,
            allowed_networks: vec![format!("127.0.0.1/32:{}", self.address.port()).parse().unwrap()],
            retries: 0,
            ..FetchPolicy::default()
        }
    }

    async fn fetch(&self, path: &str) -> Result<Fetched, FetchFailure> {
        Fetcher::new(self.policy()).unwrap().fetch(&self.url(path)).await
    }

    async fn error(&self, path: &str) -> FetchError {
        self.fetch(path).await.unwrap_err().error
    }
}

async fn serve(stream: TcpStream, answer: Answer, count: Arc<AtomicUsize>, address: SocketAddr) {
    let mut stream = BufReader::new(stream);
    let mut request = String::new();
    while stream.read_line(&mut request).await.is_ok_and(|read| read > 2) {}
    let nth = count.fetch_add(1, Ordering::SeqCst) + 1;
    let path = request.split(' ').nth(1).unwrap_or_default();
    match answer(path, nth, address) {
        Reply::Bytes(bytes) => drop(stream.write_all(&bytes).await),
        Reply::Drip(bytes) => {
            let _ = stream.write_all(&bytes).await;
            while stream.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Reply::Silence => tokio::time::sleep(Duration::from_secs(30)).await,
    }
}

#[tokio::test]
async fn a_body_comes_with_everything_worth_recording() {
    let web = Web::start(|_, _, _| ok(b"picture")).await;
    let fetched = web.fetch("/a.jpg").await.unwrap();
    assert_eq!((fetched.bytes.as_ref(), fetched.status, fetched.attempts), (&b"picture"[..], 200, 1));
    assert_eq!(fetched.content_type.as_deref(), Some("image/jpeg"));
    assert_eq!(fetched.final_url.as_str(), web.url("/a.jpg"));
}

#[tokio::test]
async fn redirects_are_followed_and_counted() {
    let web = Web::start(|path, _, _| match path {
        "/a" => status("301 Moved Permanently", "location: /b\r\n"),
        "/b" => status("302 Found", "location: c\r\n"),
        _ => ok(b"picture"),
    })
    .await;
    let fetched = web.fetch("/a").await.unwrap();
    assert_eq!((fetched.redirects, fetched.final_url.path()), (2, "/c"));
}

#[tokio::test]
async fn redirects_that_lead_nowhere_are_refused() {
    let web = Web::start(|path, nth, _| match path {
        "/loop" => status("302 Found", "location: /loop\r\n"),
        "/private" => status("302 Found", "location: http://10.0.0.1/\r\n"),
        "/metadata" => status("302 Found", "location: http://169.254.169.254/latest\r\n"),
        "/mapped" => status("302 Found", "location: http://[::ffff:127.0.0.1]:1/\r\n"),
        "/file" => status("302 Found", "location: file:///etc/passwd\r\n"),
        _ => Reply::Bytes(format!("HTTP/1.1 302 Found\r\nlocation: /{nth}\r\ncontent-length: 0\r\n\r\n").into_bytes()),
    })
    .await;
    assert_eq!(web.error("/loop").await, FetchError::RedirectLoop);
    assert_eq!(web.error("/endless").await, FetchError::TooManyRedirects(5));
    for path in ["/private", "/metadata", "/mapped"] {
        let error = web.error(path).await;
        assert!(matches!(error, FetchError::BlockedAddress { .. }), "{path}: {error:?}");
    }
    assert_eq!(web.error("/file").await, FetchError::UnsupportedScheme("file".into()));
}

#[tokio::test]
async fn private_addresses_are_refused_without_a_connection() {
    let web = Web::start(|_, _, _| ok(b"secret")).await;
    let closed = Fetcher::new(FetchPolicy { allowed_networks: Vec::new(), ..web.policy() }).unwrap();
    let port = web.address.port();
    for host in ["127.0.0.1", "localhost", "[::ffff:7f00:1]", "0.0.0.0", "2130706433", "0x7f.1", "127.1"] {
        let error = closed.fetch(&format!("http://{host}:{port}/")).await.unwrap_err().error;
        assert!(matches!(error, FetchError::BlockedAddress { .. }), "{host}: {error:?}");
    }
    assert_eq!(web.requests.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn the_operator_may_allow_one_port() {
    let web = Web::start(|_, _, _| ok(b"picture")).await;
    let other = Web::start(|_, _, _| ok(b"secret")).await;
    let fetcher = Fetcher::new(web.policy()).unwrap();
    assert_eq!(fetcher.fetch(&web.url("/")).await.unwrap().bytes.as_ref(), b"picture");
    let error = fetcher.fetch(&other.url("/")).await.unwrap_err().error;
    assert!(matches!(error, FetchError::BlockedAddress { .. }), "{error:?}");
}

#[tokio::test]
async fn a_failure_that_heals_is_tried_again() {
    let web =
        Web::start(|_, nth, _| if nth < 3 { status("503 Service Unavailable", "") } else { ok(b"picture") }).await;
    let fetcher = Fetcher::new(FetchPolicy { retries: 2, ..web.policy() }).unwrap();
    assert_eq!(fetcher.fetch(&web.url("/")).await.unwrap().attempts, 3);
}

#[tokio::test]
async fn the_server_says_how_long_to_wait() {
    let web =
        Web::start(|_, nth, _| if nth < 2 { status("429 Too Many Requests", "retry-after: 1\r\n") } else { ok(b"x") })
            .await;
    let fetcher = Fetcher::new(FetchPolicy { retries: 1, ..web.policy() }).unwrap();
    let begin = Instant::now();
    fetcher.fetch(&web.url("/")).await.unwrap();
    assert!(begin.elapsed() >= Duration::from_secs(1), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_failure_that_stays_is_not_tried_again() {
    let web = Web::start(|_, _, _| status("404 Not Found", "")).await;
    let fetcher = Fetcher::new(FetchPolicy { retries: 3, ..web.policy() }).unwrap();
    let failure = fetcher.fetch(&web.url("/")).await.unwrap_err();
    assert_eq!((failure.error.status(), failure.attempts, failure.error.class()), (Some(404), 1, "http-status"));
}

#[tokio::test]
async fn time_and_size_are_bounded() {
    let web = Web::start(|path, _, _| match path {
        "/silent" => Reply::Silence,
        "/drip" => Reply::Drip(b"HTTP/1.1 200 OK\r\n\r\n".to_vec()),
        "/declared" => Reply::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 5000000\r\n\r\n".to_vec()),
        _ => Reply::Bytes([&b"HTTP/1.1 200 OK\r\n\r\n"[..], &[0; 5000]].concat()),
    })
    .await;
    for path in ["/silent", "/drip"] {
        let begin = Instant::now();
        assert!(matches!(web.error(path).await, FetchError::Timeout(_)), "{path}");
        assert!(begin.elapsed() < Duration::from_secs(2), "{path}: {:?}", begin.elapsed());
    }
    assert_eq!(web.error("/declared").await, FetchError::TooLarge(1000));
    assert_eq!(web.error("/undeclared").await, FetchError::TooLarge(1000));
}

#[tokio::test]
async fn a_body_cut_short_is_no_body() {
    let web = Web::start(|_, _, _| Reply::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\nhalf".to_vec())).await;
    assert_eq!(web.error("/").await, FetchError::Truncated);
}

#[tokio::test]
async fn nothing_there_is_said_so() {
    let fetcher = Fetcher::new(FetchPolicy { retries: 0, ..FetchPolicy::default() }).unwrap();
    let error_of = |url: &'static str| {
        let fetcher = fetcher.clone();
        async move { fetcher.fetch(url).await.unwrap_err().error.class() }
    };
    assert_eq!(error_of("not a url").await, "invalid-url");
    assert_eq!(error_of("ftp://example.org/x").await, "unsupported-scheme");
    assert_eq!(error_of("data:image/png;base64,AAAA").await, "unsupported-scheme");
    assert_eq!(error_of("http://no-such-host.invalid/").await, "dns");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let allowed =
        FetchPolicy { allowed_networks: vec!["127.0.0.0/8".parse().unwrap()], retries: 0, ..FetchPolicy::default() };
    let failure = Fetcher::new(allowed).unwrap().fetch(&format!("http://{address}/")).await.unwrap_err();
    assert_eq!(failure.error.class(), "connect", "{failure:?}");
}
