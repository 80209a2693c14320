//! Who may change something, and what browsers are told.

use std::net::SocketAddr;

use tokio_util::sync::CancellationToken;
use ursa_dashboard::Config;

use crate::data::{bears, dead_task, id, job_id};
use crate::setup::{Page, start};

#[tokio::test]
async fn jobs_are_cancelled_and_retried_from_own_pages() {
    let (dashboard, fake) = start(bears()).await;
    let job = job_id(4);
    for what in ["cancel", "retry"] {
        let page = dashboard.post(&format!("/jobs/{job}/{what}"), "").await;
        assert_eq!((page.status, page.header("location")), (303, format!("/jobs/{job}").as_str()));
    }
    assert_eq!(fake.asked(), [format!("cancel {job}"), format!("retry {job}")]);
}

#[tokio::test]
async fn failed_sources_are_fetched_again_by_choice_or_all() {
    let (dashboard, fake) = start(bears()).await;
    let (one, two) = (id(6, 1), id(6, 2));
    let page = dashboard.post("/datasets/bears/retry", &format!("source={one}&source={two}")).await;
    assert_eq!((page.status, page.header("location")), (303, format!("/pipelines/{}", id(1, 1)).as_str()));
    assert_eq!(dashboard.post("/datasets/bears/retry", "all=1").await.status, 303);
    assert_eq!(dashboard.post("/datasets/bears/retry", "").await.status, 400);
    assert_eq!(fake.asked(), [format!("retry sources of bears: {one} {two}"), "retry sources of bears: ".into()]);
}

/// What each button asks for, where it leads, and what the coordinator hears.
fn buttons() -> Vec<(String, &'static str, String)> {
    let (worker, webhook) = (id(9, 1), format!("/webhooks/{}", id(10, 1)));
    vec![
        ("/projects/zoo/pause".into(), "/queues", "project zoo paused=true".into()),
        ("/projects/zoo/resume".into(), "/queues", "project zoo paused=false".into()),
        ("/queues/train/pause".into(), "/queues", "queue train paused=true".into()),
        ("/queues/train/resume".into(), "/queues", "queue train paused=false".into()),
        ("/schedules/nightly-1/pause".into(), "/schedules", "schedule nightly-1 paused=true".into()),
        ("/schedules/nightly-1/resume".into(), "/schedules", "schedule nightly-1 paused=false".into()),
        (format!("/workers/{worker}/drain"), "/workers", format!("worker {worker} drain=true")),
        (format!("/workers/{worker}/resume"), "/workers", format!("worker {worker} drain=false")),
        ("/deliveries/3/redeliver".into(), webhook.leak(), "redeliver 3".into()),
    ]
}

#[tokio::test]
async fn buttons_ask_for_what_they_say_and_come_back() {
    let (dashboard, fake) = start(bears()).await;
    for (path, back, _) in buttons() {
        let page = dashboard.post(&path, "").await;
        assert_eq!((page.status, page.header("location")), (303, back), "{path}");
    }
    let heard: Vec<_> = buttons().into_iter().map(|(.., heard)| heard).collect();
    assert_eq!(fake.asked(), heard);
}

#[tokio::test]
async fn dead_tasks_are_replayed_one_by_one_or_all() {
    let mut script = bears();
    script.tasks = (0..1200).map(dead_task).collect();
    let (dashboard, fake) = start(script).await;
    let job = job_id(4);
    let path = format!("/jobs/{job}/replay");
    for body in [format!("task={}", id(4, 7)), "all=1".into()] {
        let page = dashboard.post(&path, &body).await;
        assert_eq!((page.status, page.header("location")), (303, format!("/jobs/{job}").as_str()));
    }
    let asked =
        [(1, 7), (1000, 1), (200, 1001)].map(|(count, first)| format!("retry {count} tasks from {}", id(4, first)));
    assert_eq!(fake.asked(), asked);
    assert_eq!(dashboard.post(&path, "").await.status, 400, "nothing chosen does not mean all");
    assert_eq!(dashboard.post(&path, "task=x").await.status, 404);
    assert_eq!(fake.asked().len(), 3);
}

#[tokio::test]
async fn another_site_changes_nothing() {
    let (dashboard, fake) = start(bears()).await;
    let job = job_id(4);
    let jobs = ["cancel", "retry", "replay"].map(|what| format!("/jobs/{job}/{what}"));
    let paths = jobs.into_iter().chain(buttons().into_iter().map(|(path, ..)| path));
    for path in paths.chain(["/datasets/bears/retry".into(), "/try".into()]) {
        for (name, value) in [("origin", "http://evil.example"), ("origin", "null"), ("sec-fetch-site", "cross-site")] {
            let request = dashboard.http.post(dashboard.url(&path)).header(name, value).body("all=1");
            let page = Page::from(request.send().await.unwrap()).await;
            assert_eq!(page.status, 403, "{path} {name}: {value}");
        }
    }
    assert!(fake.asked().is_empty(), "{:?}", fake.asked());
}

#[tokio::test]
async fn a_name_that_was_rebound_to_this_machine_is_refused() {
    let (dashboard, _fake) = start(bears()).await;
    let request = dashboard.http.get(dashboard.url("/jobs")).header("host", "evil.example");
    let page = Page::from(request.send().await.unwrap()).await;
    assert_eq!(page.status, 403);
    page.lacks("scrape");
}

#[tokio::test]
async fn browsers_may_load_and_run_nothing_but_our_own() {
    let (dashboard, _fake) = start(bears()).await;
    for path in ["/", "/nowhere", "/try"] {
        let page = dashboard.get(path).await;
        let policy = page.header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self';"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(page.header("x-content-type-options"), "nosniff");
        assert_eq!(page.body.matches("<script").count(), 1, "the one script is a file:\n{}", page.body);
    }
}

#[tokio::test]
async fn an_address_beyond_loopback_is_refused() {
    let listen = SocketAddr::from(([0, 0, 0, 0], 0));
    let config = Config { coordinator: "http://127.0.0.1:1".into(), listen };
    let error = ursa_dashboard::run(config, CancellationToken::new(), |_| panic!("must not listen")).await.unwrap_err();
    assert!(error.to_string().contains("only loopback"), "{error}");
}
