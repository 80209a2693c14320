//! What pages show.

use crate::data::{self, MODEL, NASTY, bears, id, job_id};
use crate::fake::Script;
use crate::setup::{Dashboard, start};

const ESCAPED: &str = "&lt;script&gt;alert('bears')&lt;/script&gt;";

fn every_page() -> Vec<String> {
    let mut pages: Vec<String> =
        ["/", "/jobs", "/jobs?state=running", "/datasets", "/datasets/bears", "/workers", "/nodes"]
            .iter()
            .chain(&[
                "/datasets/bears/sources",
                "/models",
                "/endpoints",
                "/try",
                "/datasets/bears?verdict=refused&class=black",
            ])
            .map(ToString::to_string)
            .collect();
    pages.extend((1..=5).map(|number| format!("/jobs/{}", job_id(number))));
    pages.extend([format!("/pipelines/{}", id(1, 1)), format!("/models/{MODEL}"), format!("/models/{}", &MODEL[..8])]);
    pages
}

#[tokio::test]
async fn every_page_is_shown_whole_and_escaped() {
    let (dashboard, _fake) = start(bears()).await;
    for path in every_page() {
        let page = dashboard.get(&path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.body);
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8", "{path}");
        page.shows("</html>").lacks(NASTY).lacks("<b>one</b>").lacks(" style=").lacks("NaN");
    }
}

#[tokio::test]
async fn names_that_are_markup_are_text() {
    let (dashboard, _fake) = start(bears()).await;
    for path in ["/datasets", "/datasets/bears", &format!("/models/{MODEL}"), &format!("/jobs/{}", job_id(3))] {
        dashboard.get(path).await.shows(ESCAPED);
    }
    dashboard.get(&format!("/jobs/{}", job_id(4))).await.shows("&lt;b&gt;one&lt;/b&gt;");
}

#[tokio::test]
async fn the_overview_shows_each_pipeline_with_its_jobs_and_errors() {
    let (dashboard, _fake) = start(bears()).await;
    let page = dashboard.get("/").await;
    page.shows("bears-fast").shows("the loss is not a number").shows(&format!("/jobs/{}", job_id(5)));
    page.shows("data-live=\"/fragments/\"").shows("waiting").shows("skipped");
}

#[tokio::test]
async fn an_empty_installation_says_what_to_do_next() {
    let (dashboard, _fake) = start(Script::default()).await;
    dashboard.get("/").await.shows("ursa pipeline run");
    dashboard.get("/jobs").await.shows("ursa pipeline run");
    dashboard.get("/jobs?state=failed").await.shows("No job is failed.");
    dashboard.get("/datasets").await.shows("ursa pipeline run");
    dashboard.get("/models").await.shows("ursa pipeline run");
    dashboard.get("/endpoints").await.shows("ursa endpoints deploy");
    dashboard.get("/workers").await.shows("ursa-worker");
    dashboard.get("/nodes").await.shows("ursa-inference");
    dashboard.get("/try").await.shows("Nothing is served yet.");
}

#[tokio::test]
async fn what_does_not_exist_is_not_found() {
    let (dashboard, _fake) = start(bears()).await;
    let unknown = id(99, 1);
    for path in [
        "/jobs/no-id",
        &format!("/jobs/{unknown}"),
        "/pipelines/no-id",
        &format!("/pipelines/{unknown}"),
        "/datasets/wolves",
        "/datasets/wolves/sources",
        "/models/not-a-digest",
        &format!("/models/{}", "0".repeat(64)),
        &format!("/images/{unknown}"),
        "/images/..%2fsecret",
        &format!("/fragments/jobs/{}/nothing", job_id(1)),
        "/assets/live.js",
        "/nowhere",
    ] {
        let page = dashboard.get(path).await;
        assert_eq!(page.status, 404, "{path}: {}", page.body);
        page.shows("Not found").shows("there is no ");
    }
}

#[tokio::test]
async fn a_training_run_shows_its_curves_attempts_and_log() {
    let (dashboard, _fake) = start(bears()).await;
    let page = dashboard.get(&format!("/jobs/{}", job_id(4))).await;
    page.shows("<polyline class=\"second\"").shows("Error rate").shows("machine or service lost");
    page.shows("the worker has not reported for 10 s")
        .shows("epoch 4 of 5")
        .shows("resuming from checkpoint of epoch 2");
    page.shows("… and 295 more").shows(&format!("action=\"/jobs/{}/cancel\"", job_id(4))).lacks("/retry\"");
}

#[tokio::test]
async fn the_confusion_matrix_of_a_finished_run_names_the_classes() {
    let mut script = bears();
    let job = &mut script.pipelines[0].jobs[3];
    job.state = "succeeded".into();
    job.output_json =
        format!(r#"{{"model_digest":"{MODEL}","error_rates":[0.2,0.021],"confusion":[[47,1,0],[2,43,0],[0,0,48]]}}"#);
    let (dashboard, _fake) = start(script).await;
    let page = dashboard.get(&format!("/fragments/jobs/{}/status", job_id(4))).await;
    page.shows("<th scope=\"col\">teddys</th>").shows("2.1 %").shows(&format!("/models/{MODEL}")).lacks("<html");
}

#[tokio::test]
async fn fragments_are_the_section_alone_and_name_their_own_address() {
    let (dashboard, _fake) = start(bears()).await;
    let page = dashboard.get("/fragments/jobs?state=running").await;
    page.shows("<section data-live=\"/fragments/jobs?state=running\"").lacks("<html").shows("train");
    dashboard.get("/fragments/datasets/bears").await.shows("<section").lacks("thumbnail").lacks("<html");
}

#[tokio::test]
async fn log_lines_are_given_after_the_last_one_seen() {
    let (dashboard, _fake) = start(bears()).await;
    let page = dashboard.get(&format!("/fragments/jobs/{}/logs?after=2", job_id(4))).await;
    page.shows("data-id=\"3\"").shows("data-id=\"4\"").lacks("data-id=\"2\"").lacks("<section");
}

#[tokio::test]
async fn a_long_log_is_shown_from_its_end() {
    let mut script = bears();
    let line =
        |number| ursa_proto::v1::LogLine { id: number, message: format!("line-{number}."), ..Default::default() };
    script.logs = (1..=5000).map(line).collect();
    let (dashboard, _fake) = start(script).await;
    let page = dashboard.get(&format!("/jobs/{}", job_id(4))).await;
    page.shows("line-5000.").shows("data-after=\"5000\"").lacks("line-4700.").shows("line-4701.");
}

#[tokio::test]
async fn long_lists_come_in_pages() {
    let (dashboard, _fake) = start(bears()).await;
    let first = dashboard.get("/datasets/bears").await;
    assert_eq!(first.body.matches("<figure").count(), 60);
    first.shows("/datasets/bears?page=60");
    let second = dashboard.get("/datasets/bears?page=60").await;
    assert_eq!(second.body.matches("<figure").count(), 10);
    second.lacks("Further ones");
}

#[tokio::test]
async fn failed_urls_are_listed_all_or_by_error() {
    let (dashboard, _fake) = start(bears()).await;
    let all = dashboard.get("/datasets/bears/sources").await;
    all.shows("404 Not Found").shows("no answer within 10 s").shows("/datasets/bears/sources?error=timeout");
    dashboard.get("/datasets/bears/sources?error=timeout").await.shows("no answer within 10 s").lacks("404 Not Found");
}

#[tokio::test]
async fn pictures_are_jpeg_whatever_the_coordinator_calls_them() {
    let (dashboard, _fake) = start(bears()).await;
    let page = dashboard.get(&format!("/images/{}", id(5, 1))).await;
    assert_eq!((page.status, page.header("content-type")), (200, "image/jpeg"));
    assert_eq!(page.header("x-content-type-options"), "nosniff");
}

#[tokio::test]
async fn assets_are_kept_for_ever_under_an_address_with_their_hash() {
    let (dashboard, _fake) = start(Script::default()).await;
    let page = dashboard.get("/").await;
    for (start, content_type) in [("/assets/live.", "text/javascript"), ("/assets/style.", "text/css")] {
        let at = page.body.find(start).unwrap();
        let path = page.body[at..].split('"').next().unwrap();
        let asset = dashboard.get(path).await;
        assert!(asset.status == 200 && asset.header("content-type").starts_with(content_type), "{path}");
        assert!(asset.header("cache-control").contains("immutable"));
    }
}

#[tokio::test]
async fn without_a_coordinator_pages_say_so_and_recover() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let dashboard = Dashboard::start(address).await;
    for path in every_page() {
        let page = dashboard.get(&path).await;
        assert_eq!(page.status, 503, "{path}: {}", page.body);
        page.shows("Waiting for the coordinator").shows("data-reload-when-ready").shows("ursa up");
    }
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let _stop = crate::setup::serve(&crate::fake::Fake::new(data::bears()), listener).drop_guard();
    crate::live::eventually(|| async { dashboard.get("/").await.status == 200 }).await;
}
