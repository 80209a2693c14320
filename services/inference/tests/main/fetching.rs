//! Pictures by URL, under the same rules as scraping.

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::support::{Node, picture};

/// A small web on loopback: a picture, a page, and nothing else.
async fn web() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let pages = Router::new()
        .route("/bear.png", get(async || picture(5)))
        .route("/page", get(async || "<!doctype html><html></html>"))
        .route("/broken", get(async || StatusCode::INTERNAL_SERVER_ERROR));
    tokio::spawn(async move { axum::serve(listener, pages).await });
    address
}

async fn by_url(node: &Node, url: String) -> (u16, serde_json::Value) {
    node.post("/classify", "application/json", serde_json::json!({ "url": url }).to_string()).await
}

#[tokio::test]
async fn loopback_is_not_fetched_from_unless_allowed() {
    let web = web().await;
    let (node, _) = Node::serving(&[]).await;
    for url in [format!("http://{web}/bear.png"), format!("http://localhost:{}/bear.png", web.port())] {
        let (status, answer) = by_url(&node, url).await;
        assert_eq!((status, answer["error"]["code"].as_str()), (422, Some("blocked-address")), "{answer}");
    }
    for url in ["file:///etc/passwd", "no url"] {
        assert_eq!(by_url(&node, url.into()).await.0, 422, "{url}");
    }
}

#[tokio::test]
async fn an_allowed_url_gives_what_its_bytes_give() {
    let web = web().await;
    let (node, _) = Node::serving(&["--allow-network", &format!("127.0.0.1/32:{}", web.port())]).await;
    let (status, answer) = by_url(&node, format!("http://{web}/bear.png")).await;
    assert_eq!(status, 200, "{answer}");
    let (_, bytes) = node.post("/classify", "image/png", picture(5)).await;
    assert_eq!(answer["predictions"], bytes["predictions"]);
    let (status, answer) = by_url(&node, format!("http://{web}/page")).await;
    assert_eq!((status, answer["error"]["code"].as_str()), (422, Some("not-an-image")));
    assert_eq!(by_url(&node, format!("http://{web}/broken")).await.0, 502);
    assert_eq!(by_url(&node, format!("http://{web}/nothing")).await.0, 422);
}
