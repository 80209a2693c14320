//! What pages show.

use crate::data::{self, EVALUATED, MODEL, NASTY, bears, id, job_id};
use crate::fake::Script;
use crate::setup::{Dashboard, start};

const ESCAPED: &str = "&lt;script&gt;alert('bears')&lt;/script&gt;";

fn every_page() -> Vec<String> {
    let mut pages: Vec<String> = [
        "/",
        "/jobs",
        "/jobs?state=running&kind=train",
        "/queues",
        "/schedules",
        "/webhooks",
        "/datasets",
        "/datasets/bears",
        "/workers",
        "/nodes",
    ]
    .iter()
    .chain(&["/datasets/bears/sources", "/models", "/endpoints", "/try", "/datasets/bears?verdict=refused&class=black"])
    .map(ToString::to_string)
    .collect();
    pages.extend((1..=5).map(|number| format!("/jobs/{}", job_id(number))));
    pages.extend([format!("/webhooks/{}", id(10, 1)), format!("/jobs/{}?state=dead", job_id(4))]);
    pages.extend([
        format!("/pipelines/{}", id(1, 1)),
        format!("/pipelines/{}", id(1, 2)),
        format!("/models/{MODEL}"),
        format!("/models/{}", &MODEL[..8]),
        format!("/models/{MODEL}?side=train"),
        format!("/models/{MODEL}?snapshot={EVALUATED}&side=valid"),
    ]);
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
    for path in [
        "/workers",
        "/schedules",
        "/webhooks",
        "/datasets",
        "/datasets/bears",
        &format!("/models/{MODEL}"),
        &format!("/jobs/{}", job_id(3)),
    ] {
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
    dashboard.get("/?project=den").await.shows("of project den").lacks("bears-fast");
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
    dashboard.get("/schedules").await.shows("ursa schedule put");
    dashboard.get("/webhooks").await.shows("ursa webhook add");
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
        "/webhooks/no-id",
        &format!("/webhooks/{unknown}"),
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
    page.shows("8/141 = 5.7 %").shows("GPU busy").shows("93.0 %").shows("9.5 GiB").shows("memory").shows("2.2 GiB");
    page.shows("the worker has not reported for 10 s")
        .shows("epoch 4 of 5")
        .shows("resuming from checkpoint of epoch 2");
    page.shows("… and 295 more").shows(&format!("action=\"/jobs/{}/cancel\"", job_id(4))).lacks("/retry\"");
}

#[tokio::test]
async fn a_job_that_does_not_run_says_why_and_when_that_is_looked_at_again() {
    let (dashboard, _fake) = start(bears()).await;
    let page = dashboard.get(&format!("/jobs/{}", job_id(5))).await;
    page.shows("Why it does not run:").shows("waits for train").shows("Looked at again").shows("in 30 min");
    page.shows("4 (9 while &lt;script").shows("waits for it)");
    dashboard.get("/jobs").await.shows("waits for train");
    let page = dashboard.get(&format!("/jobs/{}", job_id(4))).await;
    page.shows("Why the rest of it waits:").shows("none has a GPU").lacks("Why it does not run");
}

#[tokio::test]
async fn work_taken_over_from_an_earlier_job_is_said_with_the_job() {
    let (dashboard, _fake) = start(bears()).await;
    let page = dashboard.get(&format!("/jobs/{}", job_id(3))).await;
    page.shows("taken over from job").shows(&format!("/jobs/{}", id(3, 3)));
    dashboard.get("/jobs").await.shows(">cached<");
}

#[tokio::test]
async fn a_running_job_shows_its_pace_its_tasks_and_how_attempts_were_stopped() {
    let (dashboard, _fake) = start(bears()).await;
    let page = dashboard.get(&format!("/jobs/{}", job_id(4))).await;
    page.shows("3.0 epochs/min, 40 s left").shows("1 running").shows("1 dead").shows("How it is worked on");
    page.shows("asked to stop (deadline)")
        .shows("acknowledged after 1.0 s")
        .shows("forced after 12 s")
        .shows("cleaned after 15 s");
    page.shows("took too long").shows("on GPU 0, 2");
}

#[tokio::test]
async fn dead_tasks_stand_out_and_can_be_looked_at_alone() {
    let (dashboard, _fake) = start(bears()).await;
    let all = dashboard.get(&format!("/jobs/{}", job_id(4))).await;
    all.shows("1 task is dead").shows("Replay all dead tasks").shows(&format!("value=\"{}\"", id(4, 2)));
    let dead = dashboard.get(&format!("/fragments/jobs/{}/tasks?state=dead", job_id(4))).await;
    dead.shows("it ran for more than 2 h").lacks("the worker has not reported").lacks("<html");
    dead.shows(&format!("data-live=\"/fragments/jobs/{}/tasks?state=dead\"", job_id(4)));
    dashboard.get(&format!("/jobs/{}?state=cancelled", job_id(4))).await.shows("No task is cancelled.");
}

#[tokio::test]
async fn tasks_beyond_the_first_page_are_reached() {
    let mut script = bears();
    script.tasks = (0..1200).map(data::dead_task).collect();
    script.pipelines[0].jobs[3].tasks =
        Some(ursa_proto::v1::TaskCounts { total: 1200, dead: 1200, ..Default::default() });
    let (dashboard, _fake) = start(script).await;
    let path = format!("/jobs/{}", job_id(4));
    let first = dashboard.get(&path).await;
    assert_eq!(first.body.matches("<ol class=\"attempts\"").count(), 50);
    first.shows(&format!("{path}?page=50"));
    let last = dashboard.get(&format!("{path}?state=dead&page=1150")).await;
    last.shows(">1199<").lacks("Further ones");
}

#[tokio::test]
async fn queues_and_projects_show_what_is_held_up_and_the_way_on() {
    let (dashboard, _fake) = start(bears()).await;
    let page = dashboard.get("/queues").await;
    page.shows("1\u{202f}234").shows("3 min 5 s").shows("action=\"/queues/train/resume\"");
    page.shows("action=\"/queues/scrape/pause\"").shows("action=\"/projects/den/resume\"");
    page.shows("2.5").shows("3 / 10").shows("no quota");
}

#[tokio::test]
async fn schedules_show_their_next_and_last_run_and_what_went_wrong() {
    let (dashboard, _fake) = start(bears()).await;
    let first = dashboard.get("/schedules").await;
    first.shows("0 3 * * *").shows("Europe/Berlin").shows("in 2 h").shows(&format!("/pipelines/{}", id(1, 1)));
    first.shows("epochs is 0").shows("action=\"/schedules/nightly-2/resume\"").shows("/schedules?page=50");
    dashboard.get("/schedules?page=50").await.shows("nightly-60").lacks("Further ones").lacks("nightly-50<");
}

#[tokio::test]
async fn deliveries_show_their_state_and_can_be_sent_again() {
    let (dashboard, _fake) = start(bears()).await;
    let page = dashboard.get(&format!("/webhooks/{}", id(10, 1))).await;
    page.shows("503 Service Unavailable").shows("204").shows("in 30 min").shows("/deliveries/2/redeliver");
    page.lacks("/deliveries/1/redeliver").shows("Further ones");
}

#[tokio::test]
async fn workers_show_what_jobs_can_ask_for_and_whether_they_take_any() {
    let (dashboard, _fake) = start(bears()).await;
    let page = dashboard.get("/workers").await;
    page.shows("61.0 GiB free of 80.0 GiB").shows("37 % at work, driver 550.54.15").shows("<code>ssd</code>");
    page.shows("every kind").shows("scrape, verify").shows("draining");
    page.shows(&format!("/workers/{}/drain", id(9, 1))).shows(&format!("/workers/{}/resume", id(9, 2)));
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
async fn what_a_model_gets_wrong_is_shown_with_the_pictures() {
    let (dashboard, fake) = start(bears()).await;
    let page = dashboard.get(&format!("/models/{MODEL}")).await;
    page.shows("500 unknown, 75 CC-BY-4.0").shows("img.example (500), &lt;script");
    page.shows("What it gets wrong").shows("<td class=\"wrong shade-1\">1</td>").shows("2 / 45").shows("1.2–14.8 %");
    page.shows("taken for <b>black</b>: 2").shows("differ by 3.4 % on average");
    assert_eq!(page.body.matches("<figure title=").count(), 36);
    page.shows(&format!("<img src=\"/images/{}\"", id(5, 1))).shows("52.0 % sure, loss 4.10").shows("margin 4.0 %");
    assert_eq!(page.body.matches("<path class=\"interval\"").count(), 8, "only of bins that hold pictures");
    page.shows("<svg").shows(&format!("/models/{MODEL}?side=train#mistakes")).shows(">its own, bears@1</a>");
    dashboard.get(&format!("/models/{MODEL}?side=train")).await.shows("aria-current=\"true\">it learned from</a>");
    let asked = fake.asked();
    let interpreted: Vec<_> = asked.iter().filter(|one| one.starts_with("interpret")).collect();
    assert_eq!(
        interpreted,
        [
            &format!("interpret 18 of valid of its own by {}", &MODEL[..8]),
            &format!("interpret 18 of train of its own by {}", &MODEL[..8])
        ]
    );
}

#[tokio::test]
async fn what_a_model_gets_wrong_on_another_snapshot_is_one_of_the_choices() {
    let (dashboard, fake) = start(bears()).await;
    let address = format!("/models/{MODEL}?snapshot={EVALUATED}");
    let own = dashboard.get(&format!("/models/{MODEL}")).await;
    own.shows(&format!("{address}#mistakes")).shows("aria-current=\"true\">its own, bears@1</a>");
    own.shows("title=\"9 of 60 pictures are wrong\">bears@2: 15.0 %</a>");
    let page = dashboard.get(&address).await;
    page.shows("aria-current=\"true\" title=\"9 of 60 pictures are wrong\">bears@2: 15.0 %</a>");
    page.shows("aria-current=\"true\">all</a>").shows(&format!("{address}&amp;side=train#mistakes"));
    page.lacks("it learned from");
    page.shows("Highest losses").shows(&format!("href=\"/models/{MODEL}#mistakes\">its own"));
    dashboard.get(&format!("{address}&side=train")).await.shows("aria-current=\"true\">of its train side</a>");
    let asked = fake.asked();
    let interpreted: Vec<_> = asked.iter().filter(|one| one.contains(EVALUATED)).collect();
    let expected = |side: &str| format!("interpret 18 of {side} of {EVALUATED} by {}", &MODEL[..8]);
    assert_eq!(interpreted, [&expected("all"), &expected("train")]);
}

#[tokio::test]
async fn a_snapshot_that_a_model_was_not_evaluated_on_says_so_and_leaves_the_choice() {
    let (dashboard, _fake) = start(bears()).await;
    let page = dashboard.get(&format!("/models/{MODEL}?snapshot={}", "0".repeat(64))).await;
    assert_eq!(page.status, 200);
    page.shows("it was not evaluated on 000").shows("bears@2: 15.0 %").lacks("<table class=\"confusion\"");
    let mut never = bears();
    never.models[0].evaluations.clear();
    let (dashboard, _fake) = start(never).await;
    dashboard.get(&format!("/models/{MODEL}")).await.shows("Highest losses").lacks("aria-label=\"Which snapshot\"");
}

#[tokio::test]
async fn a_model_without_predictions_says_so_and_shows_what_was_counted_in_training() {
    let (dashboard, _fake) = start(Script { interpretation: None, ..bears() }).await;
    let page = dashboard.get(&format!("/models/{MODEL}")).await;
    assert_eq!(page.status, 200);
    page.shows("has no predictions").shows("<table class=\"confusion\"").lacks("Highest losses");
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

/// So many rows like those there are.
fn stretch<T: Clone>(rows: &mut Vec<T>, number: usize) {
    *rows = rows.iter().cycle().take(number).cloned().collect();
}

#[tokio::test]
async fn every_list_leads_to_its_next_page() {
    let mut script = bears();
    stretch(&mut script.workers, 51);
    stretch(&mut script.nodes, 51);
    stretch(&mut script.webhooks, 51);
    stretch(&mut script.datasets, 51);
    stretch(&mut script.endpoints, 51);
    stretch(&mut script.projects, 51);
    let (dashboard, _fake) = start(script).await;
    for path in ["/workers", "/nodes", "/webhooks", "/datasets", "/endpoints", "/queues"] {
        dashboard.get(path).await.shows(&format!("href=\"{path}?page=50\""));
        dashboard.get(&format!("{path}?page=50")).await.lacks("Further ones").lacks("class=\"card empty\"");
    }
}

#[tokio::test]
async fn snapshots_and_pictures_of_a_dataset_are_leafed_through_each_by_itself() {
    let mut script = bears();
    stretch(&mut script.snapshots, 21);
    let (dashboard, _fake) = start(script).await;
    let first = dashboard.get("/datasets/bears?class=black").await;
    first.shows("href=\"/datasets/bears?class=black&amp;snapshots=20\"");
    let second = dashboard.get("/datasets/bears?snapshots=20").await;
    second.shows("href=\"/datasets/bears?snapshots=20&amp;page=60\"").lacks("&amp;snapshots=");
    dashboard.get("/datasets/bears?page=60").await.shows("href=\"/datasets/bears?page=60&amp;snapshots=20\"");
    dashboard.get("/datasets/bears?snapshots=20&page=60").await.lacks("Further ones");
}

#[tokio::test]
async fn an_endpoint_beyond_those_that_can_be_chosen_from_is_chosen_all_the_same() {
    let mut script = bears();
    stretch(&mut script.endpoints, 1001);
    let (dashboard, _fake) = start(script).await;
    dashboard.get("/try?endpoint=wolves").await.shows("<option value=\"wolves\" selected>wolves</option>");
    let (dashboard, _fake) = start(bears()).await;
    dashboard.get("/try?endpoint=wolves").await.lacks("wolves").shows("<option value=\"bears\">bears</option>");
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
