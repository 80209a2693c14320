//! A receiver of webhooks in a test's hands.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// One request that came.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) line: String,
    /// By their names in lower case.
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: String,
    /// What it was answered with; 0 for nothing.
    pub(crate) status: u16,
}

impl Received {
    pub(crate) fn event(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(crate) fn kind(&self) -> String {
        self.event()["type"].as_str().unwrap().to_owned()
    }

    /// Whether the signature is one of the body under `secret`, by the text of the protocol.
    pub(crate) fn is_signed_with(&self, secret: &str) -> bool {
        let (time, signature) = self.headers["ursa-signature"].split_once(',').unwrap();
        let (time, signature) = (time.strip_prefix("t=").unwrap(), signature.strip_prefix("v1=").unwrap());
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(format!("{time}.{}", self.body).as_bytes());
        mac.verify_slice(&hex::decode(signature).unwrap()).is_ok()
    }
}

/// What to answer.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Status(u16),
    Redirect(String),
    /// Never.
    Silence,
}

/// Takes requests on a free port, and remembers them.
#[derive(Debug)]
pub(crate) struct Receiver {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Receiver {
    /// Answers by how many requests came before.
    pub(crate) async fn start(answer: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let (log, answer) = (Arc::clone(&received), Arc::new(answer));
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                // A sender that goes away in the middle is none of ours.
                tokio::spawn(async move { drop(talk(stream, &log, &*answer).await) });
            }
        });
        Self { address, received, serving }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn talk(
    mut stream: TcpStream,
    log: &Mutex<Vec<Received>>,
    answer: &(impl Fn(usize) -> Answer + Sync),
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut lines = head.trim_end().lines();
    let line = lines.next().unwrap_or_default().to_owned();
    let headers: HashMap<_, _> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let mut body = vec![0; headers["content-length"].parse().unwrap()];
    stream.read_exact(&mut body).await?;
    let body = String::from_utf8(body).unwrap();
    let answer = {
        let mut log = log.lock().unwrap();
        let answer = answer(log.len());
        let status = match &answer {
            Answer::Status(status) => *status,
            Answer::Redirect(_) => 307,
            Answer::Silence => 0,
        };
        log.push(Received { line, headers, body, status });
        answer
    };
    match answer {
        Answer::Status(status) => respond(&mut stream, status, "").await,
        Answer::Redirect(to) => respond(&mut stream, 307, &format!("Location: {to}\r\n")).await,
        Answer::Silence => std::future::pending().await,
    }
}

async fn respond(stream: &mut TcpStream, status: u16, headers: &str) -> std::io::Result<()> {
    let response = format!("HTTP/1.1 {status} .\r\n{headers}Content-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(response.as_bytes()).await
}
