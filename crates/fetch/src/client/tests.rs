//! Against servers of our own on 127.0.0.1, which speak HTTP byte by byte so that they can speak it badly.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// What a server does with a request.
enum Reply {
    /// Sends this and closes.
    Send(Vec<u8>),
    /// Sends this and keeps the connection open for ever.
    Hang(Vec<u8>),
    /// Sends this again and again until the client has had enough.
    Flood(Vec<u8>),
}

fn answer(head: &str, body: &[u8]) -> Reply {
    Reply::Send([head.as_bytes(), b"\r\nConnection: close\r\n\r\n", body].concat())
}

fn ok(body: &[u8]) -> Reply {
    answer(&format!("HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: {}", body.len()), body)
}

fn redirect(to: &str) -> Reply {
    answer(&format!("HTTP/1.1 302 Found\r\nContent-Length: 0\r\nSet-Cookie: a=b\r\nLocation: {to}"), b"")
}

fn status(status: &str) -> Reply {
    answer(&format!("HTTP/1.1 {status}\r\nContent-Length: 0"), b"")
}

struct Web {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Web {
    /// A server whose answer depends on the path and on how many requests came before.
    async fn start(reply: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let web = Self { address: listener.local_addr().unwrap(), requests: Arc::default() };
        let requests = Arc::clone(&web.requests);
        let reply = Arc::new(reply);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(talk(stream, Arc::clone(&requests), Arc::clone(&reply)));
            }
        });
        web
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn talk(
    mut stream: TcpStream,
    requests: Arc<Mutex<Vec<String>>>,
    reply: Arc<impl Fn(&str, usize) -> Reply + Send + Sync>,
) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let mut head = String::from_utf8_lossy(&head).into_owned();
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await?;
    head.push_str(&String::from_utf8_lossy(&body));
    let before = requests.lock().unwrap().len();
    requests.lock().unwrap().push(head.clone());
    match reply(head.split(' ').nth(1).unwrap_or_default(), before) {
        Reply::Send(bytes) => stream.write_all(&bytes).await,
        Reply::Hang(bytes) => {
            stream.write_all(&bytes).await?;
            std::future::pending().await
        }
        Reply::Flood(bytes) => loop {
            stream.write_all(&bytes).await?;
        },
    }
}

/// Allows the loopback network, tries once.
fn policy() -> FetchPolicy {
    FetchPolicy { allowed_networks: vec!["127.0.0.1/32".parse().unwrap()], retries: 0, ..FetchPolicy::default() }
}

async fn fetch(policy: FetchPolicy, url: &str) -> Result<Fetched, FetchFailure> {
    Fetcher::new(policy).unwrap().fetch(url).await
}

/// The class of the error that a single try ends with.
async fn class(url: &str) -> &'static str {
    fetch(policy(), url).await.unwrap_err().error.class()
}

#[tokio::test]
async fn a_body_comes_with_its_hash_and_where_it_came_from() {
    let web = Web::start(|path, _| if path == "/old" { redirect("/new#part") } else { ok(b"picture") }).await;
    let fetched = fetch(policy(), &web.url("/old")).await.unwrap();
    assert_eq!((&fetched.bytes[..], fetched.status, fetched.redirects, fetched.attempts), (&b"picture"[..], 200, 1, 1));
    assert_eq!(fetched.sha256, <[u8; 32]>::from(Sha256::digest(b"picture")));
    assert_eq!(fetched.content_type.as_deref(), Some("image/png"));
    assert_eq!(fetched.final_url.as_str(), web.url("/new"));
}

#[tokio::test]
async fn requests_are_honest_and_carry_no_cookies() {
    let web = Web::start(|path, _| if path == "/old" { redirect("/new") } else { ok(b"x") }).await;
    fetch(policy(), &web.url("/old")).await.unwrap();
    let requests = web.requests();
    assert_eq!(requests.len(), 2);
    for request in requests {
        let request = request.to_ascii_lowercase();
        assert!(request.contains("user-agent: ursa/"), "{request}");
        for unwanted in ["cookie:", "referer:", "accept-encoding:", "authorization:"] {
            assert!(!request.contains(unwanted), "{request}");
        }
    }
}

#[tokio::test]
async fn nothing_is_decompressed() {
    let web =
        Web::start(|_, _| answer("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 9", b"not \x1f\x8bgz!"))
            .await;
    assert_eq!(&fetch(policy(), &web.url("/")).await.unwrap().bytes[..], b"not \x1f\x8bgz!");
}

#[tokio::test]
async fn what_is_no_web_address_is_refused_without_a_retry() {
    for (url, expected) in [
        ("bears", "invalid-url"),
        ("http://", "invalid-url"),
        ("ftp://example.com/bear.jpg", "unsupported-scheme"),
        ("file:///etc/passwd", "unsupported-scheme"),
        ("data:image/png;base64,AAAA", "unsupported-scheme"),
    ] {
        let failure = fetch(FetchPolicy::default(), url).await.unwrap_err();
        assert_eq!((failure.error.class(), failure.attempts), (expected, 1), "{url}");
    }
}

#[tokio::test]
async fn private_addresses_are_refused_in_every_spelling() {
    let web = Web::start(|_, _| ok(b"secret")).await;
    let port = web.address.port();
    for host in ["127.0.0.1", "127.1", "2130706433", "0x7f.0.0.1", "0177.0.0.1", "localhost", "0.0.0.0", "[::1]"]
        .into_iter()
        .chain(["[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]"])
    {
        let failure = fetch(FetchPolicy::default(), &format!("http://{host}:{port}/")).await.unwrap_err();
        assert_eq!((failure.error.class(), failure.attempts), ("blocked-address", 1), "{host}: {failure}");
    }
    assert!(web.requests().is_empty());
}

#[tokio::test]
async fn an_allowed_port_allows_no_other() {
    let (allowed, other) = (Web::start(|_, _| ok(b"x")).await, Web::start(|_, _| ok(b"secret")).await);
    let network = format!("127.0.0.1/32:{}", allowed.address.port()).parse().unwrap();
    let fetcher = Fetcher::new(FetchPolicy { allowed_networks: vec![network], ..policy() }).unwrap();
    fetcher.fetch(&allowed.url("/")).await.unwrap();
    assert_eq!(fetcher.fetch(&other.url("/")).await.unwrap_err().error.class(), "blocked-address");
    assert!(other.requests().is_empty());
}

#[tokio::test]
async fn a_redirect_is_checked_like_the_first_address() {
    let inside = Web::start(|_, _| ok(b"secret")).await;
    let target = inside.url("/");
    let web = Web::start(move |path, _| match path {
        "/inside" => redirect(&target),
        "/metadata" => redirect("http://169.254.169.254/latest/meta-data/"),
        _ => redirect("file:///etc/passwd"),
    })
    .await;
    let network = format!("127.0.0.1/32:{}", web.address.port()).parse().unwrap();
    let fetcher = Fetcher::new(FetchPolicy { allowed_networks: vec![network], ..policy() }).unwrap();
    for (path, expected) in
        [("/inside", "blocked-address"), ("/metadata", "blocked-address"), ("/file", "unsupported-scheme")]
    {
        let failure = fetcher.fetch(&web.url(path)).await.unwrap_err();
        assert_eq!(failure.error.class(), expected);
        assert_ne!(failure.final_url.unwrap().as_str(), web.url(path), "it names the hop that was refused");
    }
    assert!(inside.requests().is_empty());
}

/// A fetcher whose names lead, look-up by look-up, to these addresses, the last of them for ever.
fn with_names(policy: FetchPolicy, answers: Vec<Vec<&'static str>>) -> (Fetcher, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let mut fetcher = Fetcher::new(policy).unwrap();
    fetcher.guard = fetcher.guard.with_lookup(move |_, port| {
        let turn = count.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1);
        let found = answers[turn].iter().map(|address| SocketAddr::new(address.parse().unwrap(), port)).collect();
        Box::pin(async move { Ok(found) })
    });
    (fetcher, asked)
}

#[tokio::test]
async fn a_name_that_changes_its_mind_is_not_asked_again_for_the_connection() {
    let web = Web::start(|_, _| ok(b"x")).await;
    let url = format!("http://bears.example:{}/", web.address.port());
    let (fetcher, asked) = with_names(policy(), vec![vec!["127.0.0.1"], vec!["127.0.0.2"]]);
    fetcher.fetch(&url).await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 1, "one look-up, which was the checked one");
    assert_eq!(fetcher.fetch(&url).await.unwrap_err().error.class(), "blocked-address");
}

#[tokio::test]
async fn one_private_address_spoils_a_name() {
    let (fetcher, _) = with_names(FetchPolicy::default(), vec![vec!["1.1.1.1", "10.0.0.1"]]);
    let failure = fetcher.fetch("http://bears.example/").await.unwrap_err();
    let address = "10.0.0.1".parse().unwrap();
    assert_eq!(failure.error, FetchError::BlockedAddress { host: "bears.example".into(), address });
}

#[tokio::test]
async fn a_name_without_an_address_is_a_dns_error() {
    let (fetcher, _) = with_names(policy(), vec![vec![]]);
    assert_eq!(fetcher.fetch("http://bears.example/").await.unwrap_err().error.class(), "dns");
}

#[tokio::test]
async fn a_closed_port_is_a_connection_error() {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
    assert_eq!(class(&format!("http://{free}/")).await, "connect");
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_a_tls_error() {
    let web = Web::start(|_, _| ok(b"x")).await;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    assert_eq!(class(&format!("https://{address}/")).await, "tls");
    drop(web);
}

#[tokio::test]
async fn without_ca_certificates_plain_http_still_works() {
    let web = Web::start(|_, _| ok(b"x")).await;
    let mut fetcher = Fetcher::new(policy()).unwrap();
    fetcher.client = without_roots(&policy()).unwrap();
    fetcher.fetch(&web.url("/")).await.unwrap();
}

#[tokio::test]
async fn statuses_are_kept_and_only_the_healing_kind_is_retried() {
    let web = Web::start(|path, _| if path == "/gone" { status("404 Not Found") } else { status("503 Busy") }).await;
    let patient = FetchPolicy { retries: 1, ..policy() };
    let gone = fetch(patient.clone(), &web.url("/gone")).await.unwrap_err();
    assert_eq!((gone.error.class(), gone.error.status(), gone.attempts), ("http-status", Some(404), 1));
    let busy = fetch(patient, &web.url("/busy")).await.unwrap_err();
    assert_eq!((busy.error.class(), busy.error.status(), busy.attempts), ("http-status", Some(503), 2));
}

#[tokio::test]
async fn a_failure_that_heals_is_a_success_with_two_attempts() {
    let web = Web::start(|_, before| if before == 0 { status("500 Oops") } else { ok(b"x") }).await;
    let fetched = fetch(FetchPolicy { retries: 2, ..policy() }, &web.url("/")).await.unwrap();
    assert_eq!((fetched.attempts, web.requests().len()), (2, 2));
}

#[tokio::test]
async fn a_server_that_asks_for_time_gets_it() {
    let web = Web::start(|_, before| match before {
        0 => answer("HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\nRetry-After: 1", b""),
        _ => ok(b"x"),
    })
    .await;
    let fetched = fetch(FetchPolicy { retries: 1, ..policy() }, &web.url("/")).await.unwrap();
    assert!(fetched.elapsed >= Duration::from_secs(1), "{:?}", fetched.elapsed);
}

#[test]
fn no_server_makes_us_wait_longer_than_the_cap() {
    let asked = |seconds| FetchError::HttpStatus { status: 429, retry_after: Some(Duration::from_secs(seconds)) };
    assert_eq!(wait_before_retry(&asked(2), 1), Duration::from_secs(2));
    assert_eq!(wait_before_retry(&asked(86_400), 1), LONGEST_WAIT);
    let waits: Vec<_> = (1..=3).map(|attempts| wait_before_retry(&FetchError::Truncated, attempts)).collect();
    assert_eq!(waits, [FIRST_WAIT, FIRST_WAIT * 2, FIRST_WAIT * 4]);
    assert_eq!(wait_before_retry(&FetchError::Truncated, 1000), LONGEST_WAIT);
}

#[test]
fn retry_after_is_read_in_both_its_forms() {
    let read = |value: &str| retry_after(&HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]));
    assert_eq!(read("7"), Some(Duration::from_secs(7)));
    assert_eq!(read("Wed, 21 Oct 2015 07:28:00 GMT"), None, "that is over");
    let later = chrono::Utc::now() + chrono::TimeDelta::minutes(10);
    let wait = read(&later.format("%a, %d %b %Y %H:%M:%S GMT").to_string()).unwrap();
    assert!((590..=600).contains(&wait.as_secs()), "{wait:?}");
    assert_eq!(read("soon"), None);
}

#[tokio::test]
async fn a_slow_answer_meets_the_deadline_wherever_it_stops() {
    let web = Web::start(|path, _| match path {
        "/head" => Reply::Hang(Vec::new()),
        _ => Reply::Hang(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nslow".to_vec()),
    })
    .await;
    for path in ["/head", "/body"] {
        let hasty = FetchPolicy { timeout: Duration::from_millis(200), ..policy() };
        let failure = fetch(hasty, &web.url(path)).await.unwrap_err();
        assert_eq!(failure.error, FetchError::Timeout(Duration::from_millis(200)), "{path}");
        assert!(failure.elapsed < Duration::from_secs(5), "{:?}", failure.elapsed);
    }
}

#[tokio::test]
async fn a_body_is_capped_whether_it_states_its_length_or_not() {
    let web = Web::start(|path, _| match path {
        "/stated" => Reply::Hang(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n".to_vec()),
        "/exact" => ok(&[7; 1000]),
        _ => Reply::Flood(b"HTTP/1.1 200 OK\r\n\r\n".repeat(500)),
    })
    .await;
    let small = || FetchPolicy { max_bytes: 1000, ..policy() };
    for path in ["/stated", "/flood"] {
        assert_eq!(fetch(small(), &web.url(path)).await.unwrap_err().error, FetchError::TooLarge(1000), "{path}");
    }
    assert_eq!(fetch(small(), &web.url("/exact")).await.unwrap().bytes.len(), 1000);
}

#[tokio::test]
async fn a_connection_that_ends_early_is_truncated() {
    let web = Web::start(|path, _| match path {
        "/length" => answer("HTTP/1.1 200 OK\r\nContent-Length: 100", b"only this"),
        "/chunked" => answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", b"ff\r\nonly this"),
        _ => Reply::Send(Vec::new()),
    })
    .await;
    for path in ["/length", "/chunked", "/nothing"] {
        assert_eq!(class(&web.url(path)).await, "body-truncated", "{path}");
    }
}

#[tokio::test]
async fn what_is_no_http_is_a_protocol_error() {
    let web = Web::start(|path, _| match path {
        "/ssh" => Reply::Send(b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec()),
        "/nowhere" => answer("HTTP/1.1 302 Found\r\nContent-Length: 0", b""),
        _ => answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", b"what?\r\n"),
    })
    .await;
    assert_eq!(class(&web.url("/ssh")).await, "protocol");
    assert_eq!(class(&web.url("/nowhere")).await, "protocol");
}

#[tokio::test]
async fn redirects_end() {
    let web = Web::start(|path, _| match path {
        "/a" => redirect("/b"),
        "/b" => redirect("/a#again"),
        _ => redirect(&format!("{path}0")),
    })
    .await;
    assert_eq!(class(&web.url("/a")).await, "redirect-loop");
    let before = web.requests().len();
    assert_eq!(class(&web.url("/1")).await, "too-many-redirects");
    assert_eq!(web.requests().len() - before, 6, "the first and five hops");
}

#[tokio::test]
async fn what_is_sent_arrives_and_the_status_comes_back() {
    let web = Web::start(|path, _| if path == "/busy" { status("503 Busy") } else { ok(b"thanks") }).await;
    let fetcher = Fetcher::new(policy()).unwrap();
    let headers = [("Content-Type", "application/json"), ("Ursa-Signature", "t=1,v1=0f")];
    assert_eq!(fetcher.post(&web.url("/"), &headers, "{}").await, Ok(200));
    assert_eq!(fetcher.post(&web.url("/busy"), &[], "{}").await, Ok(503));
    let requests = web.requests();
    assert_eq!(requests.len(), 2, "nothing is repeated");
    let request = requests[0].to_ascii_lowercase();
    assert!(request.starts_with("post / http/1.1\r\n") && request.ends_with("\r\n\r\n{}"), "{request}");
    for header in ["content-type: application/json", "ursa-signature: t=1,v1=0f", "user-agent: ursa/"] {
        assert!(request.contains(header), "{request}");
    }
}

#[tokio::test]
async fn what_is_sent_follows_no_redirect_and_reaches_nothing_private() {
    let inside = Web::start(|_, _| ok(b"secret")).await;
    let target = inside.url("/");
    let web = Web::start(move |_, _| redirect(&target)).await;
    let fetcher = Fetcher::new(policy()).unwrap();
    assert_eq!(fetcher.post(&web.url("/"), &[], "{}").await, Ok(302));
    let closed = Fetcher::new(FetchPolicy::default()).unwrap();
    for url in [inside.url("/"), "http://169.254.169.254/".into(), "file:///etc/passwd".into(), "bears".into()] {
        let sent = closed.post(&url, &[], "{}").await.unwrap_err();
        assert_eq!(closed.check(&url).await.unwrap_err().class(), sent.class(), "{url}");
        assert!(["blocked-address", "unsupported-scheme", "invalid-url"].contains(&sent.class()), "{url}: {sent}");
    }
    assert!(inside.requests().is_empty());
    assert_eq!(fetcher.check(&inside.url("/")).await, Ok(()), "that is let through, and not asked");
    assert!(inside.requests().is_empty());
}

#[tokio::test]
async fn what_is_sent_goes_to_the_address_that_was_checked() {
    let web = Web::start(|_, _| ok(b"x")).await;
    let (fetcher, asked) = with_names(policy(), vec![vec!["127.0.0.1"], vec!["10.0.0.1"]]);
    let url = format!("http://bears.test:{}/", web.address.port());
    assert_eq!(fetcher.post(&url, &[], "{}").await, Ok(200));
    assert_eq!(asked.load(Ordering::SeqCst), 1, "the name was looked up once");
    assert_eq!(fetcher.post(&url, &[], "{}").await.unwrap_err().class(), "blocked-address");
}

#[tokio::test]
async fn a_receiver_that_says_nothing_meets_the_deadline() {
    let web = Web::start(|_, _| Reply::Hang(Vec::new())).await;
    let hasty = Fetcher::new(FetchPolicy { timeout: Duration::from_millis(200), ..policy() }).unwrap();
    let error = hasty.post(&web.url("/"), &[], "{}").await.unwrap_err();
    assert_eq!(error, FetchError::Timeout(Duration::from_millis(200)));
}
