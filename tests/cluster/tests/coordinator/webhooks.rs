//! Events on their way to receivers of the tests' own.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use ursa_cluster::{Worker, until};
use ursa_proto::{ApiError, ErrorCode, v1};
use uuid::Uuid;

use crate::fixture::{Fixture, after, answered, job, probe, scrape, snapshot, train, trained, verify};
use crate::receiver::{Answer, Received, Receiver};

const ALLOWED: &str = "--allow-network=127.0.0.0/8";
const QUICK: &str = "--webhook-first-wait=100ms";

/// Jobs that wait for a worker: two events each, that they wait and that they run.
fn probes(count: usize) -> Vec<v1::JobDefinition> {
    let spec = || v1::job_definition::Spec::Probe(v1::ProbeSpec::default());
    (0..count).map(|number| job(&format!("probe-{number}"), spec())).collect()
}

impl Fixture {
    /// A coordinator that may reach this machine and does not wait long.
    async fn open() -> Self {
        Self::start_with(&[ALLOWED, QUICK]).await
    }

    async fn create(&self, request: v1::CreateWebhookRequest) -> Result<v1::CreateWebhookResponse, ApiError> {
        Ok(self.client().webhooks().create_webhook(request).await?.into_inner())
    }

    /// A webhook for these kinds of every project's events; its id and its secret.
    async fn webhook(&self, url: &str, kinds: &[&str]) -> (String, String) {
        let kinds = kinds.iter().map(|kind| (*kind).to_owned()).collect();
        let request = v1::CreateWebhookRequest { url: url.into(), project: String::new(), kinds };
        let created = self.create(request).await.unwrap();
        (created.webhook.unwrap().id, created.secret)
    }

    async fn deliveries(&self, webhook: &str) -> Vec<v1::Delivery> {
        let page = Some(v1::PageRequest { size: 1000, token: String::new() });
        let request = v1::ListDeliveriesRequest { page, webhook_id: webhook.into() };
        self.client().webhooks().list_deliveries(request).await.unwrap().into_inner().deliveries
    }

    /// Waits until a webhook's deliveries are `count`, all of them in `state`.
    async fn all_in(&self, webhook: &str, state: &str, count: usize) -> Vec<v1::Delivery> {
        let fits = |all: &Vec<v1::Delivery>| all.len() == count && all.iter().all(|delivery| delivery.state == state);
        until(&format!("{count} deliveries to be {state}"), || self.deliveries(webhook), fits).await
    }

    /// Waits until the one delivery of a webhook was tried without success, and returns it.
    async fn in_vain(&self, webhook: &str) -> v1::Delivery {
        let tried = |all: &Vec<v1::Delivery>| all.first().is_some_and(|delivery| !delivery.error.is_empty());
        let delivery = until("a try that does not work", || self.deliveries(webhook), tried).await.remove(0);
        assert_eq!(delivery.state, "pending", "{delivery:?}");
        assert!(delivery.next_at.is_some(), "{delivery:?}");
        delivery
    }

    /// A webhook as no request makes it.
    async fn webhook_by_hand(&self, url: &str) -> String {
        let id = Uuid::new_v4().to_string();
        self.sql(&format!(
            "insert into webhooks (id, url, secret, kinds) values ('{id}', '{url}', 's', '{{job.running}}')"
        ))
        .await;
        id
    }
}

#[tokio::test]
async fn a_webhook_hears_of_jobs_and_models_in_signed_events() {
    let fixture = Fixture::open().await;
    let receiver = Receiver::start(|_| Answer::Status(204)).await;
    let (webhook, secret) = fixture.webhook(&receiver.url(), &[]).await;
    let jobs = vec![scrape(30), after(verify(), &["scrape"]), after(snapshot(), &["verify"]), train()];
    let pipeline = fixture.submit_pipeline(jobs).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    fixture.prepare_images(&mut worker).await;
    let order = worker.next_task().await.unwrap();
    worker.complete(order.lease.as_ref().unwrap(), trained()).await.unwrap();
    let train = pipeline.jobs[3].id.as_str();
    fixture.job_in(train, "succeeded").await;
    // Each of the four jobs waits, runs and succeeds.
    fixture.all_in(&webhook, "delivered", 13).await;
    let requests = receiver.received();
    for request in &requests {
        assert_eq!(request.line, "POST /hook HTTP/1.1");
        assert_eq!(request.headers["content-type"], "application/cloudevents+json");
        assert!(request.headers["user-agent"].starts_with("ursa/"), "{request:?}");
        assert!(request.is_signed_with(&secret) && !request.is_signed_with("guessed"), "{request:?}");
        let event = request.event();
        assert_eq!((&event["specversion"], &event["datacontenttype"]), (&"1.0".into(), &"application/json".into()));
        assert_eq!(event["source"], format!("/ursa/jobs/{}", event["data"]["job_id"].as_str().unwrap()));
        assert_eq!(request.kind(), format!("dev.ursa.{}", event["data"]["kind"].as_str().unwrap()));
        assert!(event["time"].as_str().unwrap().ends_with('Z'), "{event}");
        assert_eq!(event["data"]["pipeline_id"], pipeline.id);
        assert_eq!(event["data"]["project"], "default");
    }
    let of_train = |kind: &str| {
        let is = |request: &&Received| request.kind() == kind && request.event()["data"]["job_id"] == train;
        requests.iter().find(is).unwrap_or_else(|| panic!("no {kind}: {requests:#?}")).event()
    };
    let (succeeded, created) = (of_train("dev.ursa.job.succeeded"), of_train("dev.ursa.model.created"));
    let digest = &succeeded["data"]["output"]["model_digest"];
    assert_eq!(digest.as_str().unwrap().len(), 64);
    assert_eq!((&created["data"]["model_digest"], &created["subject"]), (digest, digest));
    assert_eq!(succeeded["subject"], "train");
    assert!(of_train("dev.ursa.job.running")["data"].get("output").is_none());
    let events = fixture.events(train, 0).await;
    let kinds: Vec<_> = events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == "model.created").count(), 1, "{kinds:?}");
}

#[tokio::test]
async fn a_receiver_that_fails_twice_gets_the_event_in_the_end() {
    let fixture = Fixture::open().await;
    let receiver = Receiver::start(|before| Answer::Status([503, 404, 200][before.min(2)])).await;
    let (webhook, secret) = fixture.webhook(&receiver.url(), &["job.running"]).await;
    fixture.submit(probes(1)).await;
    let delivery = fixture.all_in(&webhook, "delivered", 1).await.remove(0);
    assert_eq!((delivery.attempts, delivery.http_status, delivery.error.as_str()), (3, 200, ""));
    assert!(delivery.delivered_at.is_some() && delivery.next_at.is_none());
    let requests = receiver.received();
    assert_eq!(requests.len(), 3);
    assert!(requests.iter().all(|request| request.body == requests[0].body), "the same event every time");
    assert!(requests.iter().all(|request| request.is_signed_with(&secret)));
    assert_eq!(requests[0].event()["id"], delivery.event_id.to_string());
}

#[tokio::test]
async fn what_no_try_brings_home_within_its_day_has_failed_and_can_be_sent_again() {
    let fixture = Fixture::open().await;
    let receiver = Receiver::start(|before| Answer::Status(if before == 0 { 500 } else { 200 })).await;
    let webhook = fixture.webhook_by_hand(&receiver.url()).await;
    // As if the event were of yesterday when it is first tried.
    fixture.sql("alter table deliveries alter give_up_at set default now()").await;
    fixture.submit(probes(1)).await;
    let failed = fixture.all_in(&webhook, "failed", 1).await.remove(0);
    assert_eq!((failed.attempts, failed.http_status, failed.next_at), (1, 500, None));
    assert_eq!(failed.error, "the receiver answered 500");
    for tries in 2..4 {
        let again = v1::RedeliverEventRequest { id: failed.id };
        let again = fixture.client().webhooks().redeliver_event(again).await.unwrap().into_inner();
        assert_eq!((again.state.as_str(), again.attempts, again.delivered_at), ("pending", 0, None));
        let delivered = fixture.all_in(&webhook, "delivered", 1).await.remove(0);
        assert_eq!((delivered.id, delivered.attempts), (failed.id, 1));
        assert_eq!(receiver.received().len(), tries);
    }
    let unknown = fixture.client().webhooks().redeliver_event(v1::RedeliverEventRequest { id: 0 }).await.unwrap_err();
    assert_eq!(ApiError::from(unknown).code, ErrorCode::NotFound);
}

#[tokio::test]
async fn a_redirect_to_a_private_address_is_not_followed() {
    let fixture = Fixture::open().await;
    let inside = Receiver::start(|_| Answer::Status(200)).await;
    let target = inside.url();
    let receiver = Receiver::start(move |_| Answer::Redirect(target.clone())).await;
    let (webhook, _) = fixture.webhook(&receiver.url(), &["job.running"]).await;
    fixture.submit(probes(1)).await;
    let tried = fixture.in_vain(&webhook).await;
    assert_eq!(tried.http_status, 307);
    assert!(tried.error.contains("redirects are not followed"), "{tried:?}");
    assert!(inside.received().is_empty());
}

#[tokio::test]
async fn a_private_address_is_refused_unless_it_is_allowed() {
    let fixture = Fixture::start_with(&[QUICK]).await;
    let receiver = Receiver::start(|_| Answer::Status(200)).await;
    let request = v1::CreateWebhookRequest { url: receiver.url(), ..v1::CreateWebhookRequest::default() };
    let error = fixture.create(request).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidArgument);
    assert!(error.message.contains("127.0.0.1") && error.message.contains("not a public address"), "{error}");
    // A name may lead inside only later: every try is checked.
    let webhook = fixture.webhook_by_hand(&receiver.url()).await;
    fixture.submit(probes(1)).await;
    let tried = fixture.in_vain(&webhook).await;
    assert!(tried.error.contains("not a public address"), "{tried:?}");
    assert_eq!(tried.http_status, 0);
    assert!(receiver.received().is_empty());
}

#[tokio::test]
async fn a_receiver_that_says_nothing_holds_up_no_other() {
    let fixture = Fixture::open().await;
    let (silent, quick) = (Receiver::start(|_| Answer::Silence).await, Receiver::start(|_| Answer::Status(200)).await);
    // The silent one's deliveries are due first, and are more than may be under way at all.
    fixture.webhook(&silent.url(), &["job."]).await;
    let (webhook, _) = fixture.webhook(&quick.url(), &["job."]).await;
    let begin = Instant::now();
    fixture.submit(probes(100)).await;
    fixture.all_in(&webhook, "delivered", 200).await;
    // Each of its four requests at a time takes ten seconds.
    let (asked, share) = (silent.received().len(), 4 * (1 + begin.elapsed().as_secs() as usize / 10));
    assert!((1..=share).contains(&asked), "it has its share and no more: {asked} of {share}");
}

#[tokio::test]
async fn an_event_is_delivered_once_though_the_coordinator_goes_away_meanwhile() {
    let mut fixture = Fixture::open().await;
    let is_open = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&is_open);
    let answer = move |_| Answer::Status(if gate.load(Ordering::SeqCst) { 200 } else { 503 });
    let receiver = Receiver::start(answer).await;
    let (webhook, _) = fixture.webhook(&receiver.url(), &["job.running"]).await;
    fixture.submit(probes(1)).await;
    fixture.in_vain(&webhook).await;
    fixture.coordinator.crash().await;
    is_open.store(true, Ordering::SeqCst);
    fixture.coordinator.resume().await.unwrap();
    fixture.all_in(&webhook, "delivered", 1).await;
    let taken: Vec<_> = receiver.received().into_iter().filter(|request| request.status == 200).collect();
    assert_eq!(taken.len(), 1, "{taken:#?}");
}

#[tokio::test]
async fn two_coordinators_deliver_once() {
    let fixture = Fixture::open().await;
    let _other = fixture.coordinator.start_beside(&[ALLOWED]).await.unwrap();
    let receiver = Receiver::start(|_| Answer::Status(200)).await;
    let (webhook, _) = fixture.webhook(&receiver.url(), &["job."]).await;
    fixture.submit(probes(50)).await;
    let delivered = fixture.all_in(&webhook, "delivered", 100).await;
    assert!(delivered.iter().all(|delivery| delivery.attempts == 1));
    assert_eq!(receiver.received().len(), 100);
}

#[tokio::test]
async fn a_webhook_hears_only_what_it_asked_for() {
    let fixture = Fixture::open().await;
    let receiver = Receiver::start(|_| Answer::Status(200)).await;
    let put = v1::PutProjectRequest { name: "zoo".into(), ..v1::PutProjectRequest::default() };
    fixture.client().queues().put_project(put).await.unwrap();
    let request =
        v1::CreateWebhookRequest { url: receiver.url(), project: "zoo".into(), kinds: vec!["job.run".into()] };
    let webhook = fixture.create(request).await.unwrap().webhook.unwrap();
    let (all, _) = fixture.webhook(&receiver.url(), &["job.run"]).await;
    fixture.submit(probes(3)).await;
    let pipeline = Some(v1::PipelineSpec { name: "p".into(), project: "zoo".into(), jobs: probes(2), reuse: false });
    let request = v1::SubmitPipelineRequest { pipeline, idempotency_key: String::new() };
    fixture.client().jobs().submit_pipeline(request).await.unwrap();
    fixture.all_in(&all, "delivered", 5).await;
    let heard = fixture.all_in(&webhook.id, "delivered", 2).await;
    assert!(heard.iter().all(|delivery| delivery.kind == "job.running"), "{heard:?}");
    let list =
        fixture.client().webhooks().list_webhooks(v1::ListWebhooksRequest::default()).await.unwrap().into_inner();
    assert_eq!(list.webhooks[0], webhook);
    assert_eq!(list.webhooks.len(), 2);
}

#[tokio::test]
async fn who_asks_for_events_of_tasks_hears_of_many_at_once_and_which_they_are() {
    const TASKS: usize = 50;
    let fixture = Fixture::open().await;
    let (of_all, of_one_kind) =
        (Receiver::start(|_| Answer::Status(200)).await, Receiver::start(|_| Answer::Status(200)).await);
    let (all, _) = fixture.webhook(&of_all.url(), &["task."]).await;
    let (one_kind, _) = fixture.webhook(&of_one_kind.url(), &["task.succeeded", "task.deadline"]).await;
    fixture.submit(vec![probe(TASKS as u32)]).await;
    let mut worker = Worker::attach(fixture.client(), "roomy", TASKS as u32).await.unwrap();
    while worker.report.running.len() < TASKS {
        worker.say().await.unwrap();
    }
    let leases = worker.report.running.iter().filter_map(|running| running.lease.as_ref());
    let tasks: HashSet<String> = leases.map(|lease| lease.task_id.clone()).collect();
    worker.complete_all(answered).await.unwrap();

    fixture.all_in(&all, "delivered", 2).await;
    fixture.all_in(&one_kind, "delivered", 1).await;
    let mut received = of_all.received();
    received.sort_by_key(Received::kind);
    let kinds: Vec<String> = received.iter().map(Received::kind).collect();
    assert_eq!(kinds, ["dev.ursa.tasks.leased", "dev.ursa.tasks.succeeded"]);
    received.extend(of_one_kind.received());
    assert_eq!(received[2].body, received[1].body);
    for event in received.iter().map(Received::event) {
        let named = event["data"]["tasks"].as_array().unwrap();
        assert!(named.iter().all(|task| task["attempt"] == 1), "{event}");
        let named: HashSet<String> = named.iter().map(|task| task["task_id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(named, tasks, "{event}");
        assert_eq!(event["data"].get("task_id"), None);
    }
}

#[tokio::test]
async fn deliveries_are_listed_page_by_page_and_go_with_their_webhook() {
    let fixture = Fixture::open().await;
    let receiver = Receiver::start(|_| Answer::Status(200)).await;
    let (webhook, _) = fixture.webhook(&receiver.url(), &["job."]).await;
    fixture.submit(probes(2)).await;
    let all: Vec<i64> = fixture.all_in(&webhook, "delivered", 4).await.iter().map(|delivery| delivery.id).collect();
    assert!(all.is_sorted_by(|a, b| a > b), "newest first: {all:?}");
    let (mut paged, mut token) = (Vec::new(), String::new());
    loop {
        let page = Some(v1::PageRequest { size: 3, token });
        let request = v1::ListDeliveriesRequest { page, webhook_id: webhook.clone() };
        let list = fixture.client().webhooks().list_deliveries(request).await.unwrap().into_inner();
        paged.extend(list.deliveries.iter().map(|delivery| delivery.id));
        token = list.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(paged, all);
    let delete = v1::DeleteWebhookRequest { id: webhook.clone() };
    fixture.client().webhooks().delete_webhook(delete.clone()).await.unwrap();
    assert_eq!(fixture.ask("select count(*) from deliveries").await, "0");
    let again = fixture.client().webhooks().delete_webhook(delete).await.unwrap_err();
    assert_eq!(ApiError::from(again).code, ErrorCode::NotFound);
    let request = v1::ListDeliveriesRequest { page: None, webhook_id: webhook };
    let gone = fixture.client().webhooks().list_deliveries(request).await.unwrap_err();
    assert_eq!(ApiError::from(gone).code, ErrorCode::NotFound);
    fixture.submit(probes(1)).await;
    assert_eq!(fixture.ask("select count(*) from deliveries").await, "0", "nobody asked");
}

type Spoil = fn(&mut v1::CreateWebhookRequest);

#[tokio::test]
async fn a_webhook_that_cannot_work_is_refused_with_a_reason() {
    let fixture = Fixture::open().await;
    let spoils: [(ErrorCode, &str, Spoil); 6] = [
        (ErrorCode::InvalidArgument, "it is not a URL", |request| request.url = "somewhere".into()),
        (ErrorCode::InvalidArgument, "only http and https", |request| request.url = "ftp://127.0.0.1/".into()),
        (ErrorCode::InvalidArgument, "at most 2000", |request| request.url = "http://127.0.0.1/".repeat(200)),
        (ErrorCode::InvalidArgument, "they begin with job., model.", |request| request.kinds = vec!["jobs.".into()]),
        (ErrorCode::InvalidArgument, "is not a name", |request| request.project = "a/b".into()),
        (ErrorCode::NotFound, "there is no project zoo", |request| request.project = "zoo".into()),
    ];
    for (code, expected, spoil) in spoils {
        let mut request = v1::CreateWebhookRequest { url: "http://127.0.0.1:1/".into(), ..Default::default() };
        spoil(&mut request);
        let error = fixture.create(request).await.unwrap_err();
        assert_eq!(error.code, code, "{error}");
        assert!(error.message.contains(expected), "{expected}: {error}");
    }
}
