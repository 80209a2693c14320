//! How it is served: pages, fresh pictures, and its end.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use ursa_demo_web::{Class, DemoWeb, DemoWebConfig, Kind};
use ursa_vision::{Limits, decode};

use crate::{dirty_web, fetcher, web};

#[tokio::test]
async fn lists_and_the_front_page_are_served() {
    let web = web(12, 10).await;
    let fetcher = fetcher(&web);
    let front = fetcher.fetch(web.base_url()).await.unwrap();
    let front = String::from_utf8(front.bytes.to_vec()).unwrap();
    for class in Class::ALL {
        let list = fetcher.fetch(&format!("{}/{}", web.base_url(), class.list_name())).await.unwrap();
        assert_eq!(list.bytes, web.url_list(class).as_bytes());
        assert!(front.contains(class.list_name()));
    }
}

#[tokio::test]
async fn fresh_pictures_are_in_no_list_and_the_same_everywhere() {
    let (one, other) = (web(12, 10).await, web(20, 0).await);
    for class in Class::ALL {
        let fetched = fetcher(&one).fetch(&one.fresh_url(class, 1)).await.unwrap();
        assert_eq!(fetched.bytes, fetcher(&other).fetch(&other.fresh_url(class, 1)).await.unwrap().bytes);
        decode(&fetched.bytes, &Limits::default()).unwrap();
    }
    assert_eq!(one.hits("/try/teddy/1.jpg"), 1);
    assert!(fetcher(&one).fetch(&format!("{}/try/panda/1.jpg", one.base_url())).await.is_err());
}

#[tokio::test]
async fn it_stops_at_once_whatever_is_still_waiting() {
    let web = dirty_web().await;
    let mut waiting = Vec::new();
    for kind in [Kind::Hangs, Kind::Dribbles, Kind::HugeUnannounced] {
        let picture = web.expected().into_iter().find(|picture| picture.kind == kind).unwrap();
        let path = picture.url.strip_prefix(web.base_url()).unwrap().to_owned();
        let mut stream = TcpStream::connect(web.address()).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: bears\r\n\r\n").as_bytes()).await.unwrap();
        while web.hits(&path) == 0 {
            tokio::task::yield_now().await;
        }
        waiting.push(stream);
    }
    let (address, begin) = (web.address(), Instant::now());
    web.stop().await;
    for mut stream in waiting {
        // What was sent already may still be read; then comes the end, orderly or not.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn dropping_it_ends_it_too() {
    let web = web(1, 0).await;
    let mut stream = TcpStream::connect(web.address()).await.unwrap();
    drop(web);
    assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn only_this_machine_is_served() {
    let config = DemoWebConfig { listen: ([0, 0, 0, 0], 0).into(), ..DemoWebConfig::default() };
    assert!(DemoWeb::start(config).await.is_err());
}
