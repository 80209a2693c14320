//! Bad input gets a clear error, and nothing is stored.

use std::collections::BTreeSet;

use ursa_cluster::{Worker, until};
use ursa_proto::{ApiError, ErrorCode, SESSION_PROTOCOL_VERSION, v1};
use uuid::Uuid;

use crate::fixture::{Fixture, after, deploy, job, probe, scrape, snapshot, train, verify};

async fn refused(fixture: &Fixture, jobs: Vec<v1::JobDefinition>) -> ApiError {
    let pipeline = Some(v1::PipelineSpec { name: "bad".into(), jobs, ..v1::PipelineSpec::default() });
    let request = v1::SubmitPipelineRequest { pipeline, idempotency_key: String::new() };
    ApiError::from(fixture.client().jobs().submit_pipeline(request).await.unwrap_err())
}

#[tokio::test]
async fn a_pipeline_that_cannot_work_is_refused_whole() {
    let fixture = Fixture::start().await;
    let mut empty_list = scrape(0);
    empty_list.name = "empty".into();
    let no_spec = v1::JobDefinition { name: "nothing".into(), ..v1::JobDefinition::default() };
    let cases = [
        (vec![], "has no jobs"),
        (vec![empty_list], "is empty"),
        (vec![no_spec], "jobs.nothing.spec: is missing"),
        (vec![scrape(1), scrape(1)], "two jobs are called"),
        (vec![scrape(1), after(verify(), &["scarpe"])], "did you mean \"scrape\"?"),
        (
            vec![after(verify(), &["snapshot"]), after(snapshot(), &["verify"])],
            "in a circle: verify → snapshot → verify",
        ),
        (vec![train()], "not in the pipeline"),
        (vec![deploy()], "not in the pipeline"),
    ];
    for (jobs, expected) in cases {
        let error = refused(&fixture, jobs).await;
        assert_eq!(error.code, ErrorCode::InvalidArgument, "{error}");
        assert!(error.message.contains(expected), "{error} lacks {expected:?}");
    }
    let list = fixture.client().jobs().list_jobs(v1::ListJobsRequest::default()).await.unwrap().into_inner();
    assert!(list.jobs.is_empty(), "{list:?}");
}

#[tokio::test]
async fn an_idempotency_key_tells_a_repetition_from_a_conflict() {
    let fixture = Fixture::start().await;
    let request = |urls| v1::SubmitPipelineRequest {
        pipeline: Some(v1::PipelineSpec { name: "p".into(), jobs: vec![scrape(urls)], ..v1::PipelineSpec::default() }),
        idempotency_key: "monday".into(),
    };
    let mut jobs = fixture.client().jobs();
    let first = jobs.submit_pipeline(request(1)).await.unwrap().into_inner();
    let again = jobs.submit_pipeline(request(1)).await.unwrap().into_inner();
    assert_eq!((first.already_existed, again.already_existed), (false, true));
    assert_eq!(first.pipeline.unwrap().id, again.pipeline.unwrap().id);
    let error = ApiError::from(jobs.submit_pipeline(request(2)).await.unwrap_err());
    assert_eq!(error.code, ErrorCode::IdempotencyConflict, "{error}");
}

#[tokio::test]
async fn a_repetition_is_one_however_many_labels_it_asks_for() {
    let fixture = Fixture::start().await;
    let labels = ["a", "b", "c", "d", "e", "f", "g", "h"].map(|name| (name.to_owned(), "cellar".to_owned()));
    let resources = v1::Resources { labels: labels.into(), ..v1::Resources::default() };
    let jobs = vec![v1::JobDefinition { resources: Some(resources), ..scrape(1) }];
    let pipeline = v1::PipelineSpec { name: "p".into(), jobs, ..v1::PipelineSpec::default() };
    let mut ids = BTreeSet::new();
    for _ in 0..10 {
        let request =
            v1::SubmitPipelineRequest { pipeline: Some(pipeline.clone()), idempotency_key: "labelled".into() };
        let answer = fixture.client().jobs().submit_pipeline(request).await.unwrap().into_inner();
        assert_eq!(answer.already_existed, !ids.is_empty());
        ids.insert(answer.pipeline.unwrap().id);
    }
    assert_eq!(ids.len(), 1, "{ids:?}");
    let id = ids.pop_first().unwrap();
    let mut again = BTreeSet::new();
    for _ in 0..10 {
        let request = v1::RerunPipelineRequest {
            id: id.clone(),
            pipeline: Some(pipeline.clone()),
            idempotency_key: "labelled, again".into(),
            ..v1::RerunPipelineRequest::default()
        };
        let answer = fixture.client().jobs().rerun_pipeline(request).await.unwrap().into_inner();
        again.insert(answer.pipeline.unwrap().id);
    }
    assert_eq!(again.len(), 1, "{again:?}");
}

#[tokio::test]
async fn what_does_not_exist_is_said_not_to() {
    let fixture = Fixture::start().await;
    let client = fixture.client();
    let id = Uuid::new_v4().to_string();
    let errors = [
        client.jobs().get_job(v1::GetJobRequest { id: id.clone() }).await.map(drop).unwrap_err(),
        client.jobs().cancel_job(v1::CancelJobRequest { id: id.clone() }).await.map(drop).unwrap_err(),
        client.jobs().get_pipeline(v1::GetPipelineRequest { id: id.clone() }).await.map(drop).unwrap_err(),
        client.datasets().get_dataset(v1::GetDatasetRequest { name: "wolves".into() }).await.map(drop).unwrap_err(),
        client.datasets().get_image(v1::GetImageRequest { id, original: true }).await.map(drop).unwrap_err(),
        client.endpoints().get_endpoint(v1::GetEndpointRequest { name: "wolves".into() }).await.map(drop).unwrap_err(),
        client
            .endpoints()
            .deploy(v1::DeployRequest { endpoint: "bears".into(), model_digest: "0123456789".into() })
            .await
            .map(drop)
            .unwrap_err(),
    ];
    for error in errors.map(ApiError::from) {
        assert_eq!(error.code, ErrorCode::NotFound, "{error}");
    }
    let error = client.jobs().get_job(v1::GetJobRequest { id: "../../etc/passwd".into() }).await.unwrap_err();
    assert_eq!(ApiError::from(error).code, ErrorCode::InvalidArgument);
}

#[tokio::test]
async fn a_job_on_nothing_fails_with_the_cure() {
    let fixture = Fixture::start().await;
    let mut numbered = train();
    let name = v1::SnapshotName { dataset: "wolves".into(), number: 3 };
    let snapshot_name = Some(v1::train_spec::Snapshot::SnapshotName(name));
    numbered.spec =
        Some(v1::job_definition::Spec::Train(v1::TrainSpec { snapshot: snapshot_name, ..v1::TrainSpec::default() }));
    let ids = fixture.submit(vec![snapshot(), numbered]).await;
    for (id, expected) in ids.iter().zip(["there is no dataset bears", "there is no dataset wolves"]) {
        let error = fixture.job_in(id, "failed").await.job.unwrap().error;
        assert_eq!(error, expected);
    }
}

#[tokio::test]
async fn a_worker_of_another_protocol_version_is_told_all_numbers() {
    let fixture = Fixture::start().await;
    let report = v1::WorkerReport {
        worker_id: Uuid::new_v4().to_string(),
        protocol_version: SESSION_PROTOCOL_VERSION + 1,
        ..v1::WorkerReport::default()
    };
    let mut worker = Worker::attach_with(fixture.client(), report).await.unwrap();
    let error = worker.say().await.unwrap_err().downcast::<ApiError>().unwrap();
    assert_eq!(error.code, ErrorCode::ProtocolMismatch);
    assert!(error.message.contains("protocols 1 to 2") && error.message.contains("speaks 3"), "{error}");
}

#[tokio::test]
async fn a_request_beyond_the_limit_is_refused() {
    let fixture = Fixture::start().await;
    let urls = vec!["http://web.test/".to_owned() + &"x".repeat(1000); 17_000];
    let class = v1::ClassUrls { name: "big".into(), list_name: "big.txt".into(), urls };
    let spec = v1::ScrapeSpec { dataset: "big".into(), classes: vec![class], ..v1::ScrapeSpec::default() };
    let error = refused(&fixture, vec![job("scrape", v1::job_definition::Spec::Scrape(spec))]).await;
    assert_eq!(error.code, ErrorCode::TooLarge, "{error}");
}

#[tokio::test]
async fn a_line_that_can_be_no_url_fails_alone() {
    let fixture = Fixture::start().await;
    let urls = vec![format!("data:image/jpeg;base64,{}", "A".repeat(9000)), "http://web.test/a.jpg".into()];
    let class = v1::ClassUrls { name: "teddy".into(), list_name: "urls.txt".into(), urls };
    let spec = v1::ScrapeSpec { dataset: "bears".into(), classes: vec![class], ..v1::ScrapeSpec::default() };
    let ids = fixture.submit(vec![job("scrape", v1::job_definition::Spec::Scrape(spec))]).await;
    fixture.job_in(&ids[0], "running").await;
    let url = fixture.ask("select url from sources where line = 1").await;
    assert!(url.starts_with("(line 1, of 9023 bytes) data:image/jpeg;base64,AAA"), "{url}");
}

#[tokio::test]
async fn text_that_cannot_be_stored_is_refused_as_such() {
    let fixture = Fixture::start().await;
    let mut jobs = fixture.client().jobs();
    let pipeline = Some(v1::PipelineSpec { name: "p".into(), jobs: vec![scrape(1)], ..v1::PipelineSpec::default() });
    let submitted = v1::SubmitPipelineRequest { pipeline, idempotency_key: "mon\0day".into() };
    let filter = Some(v1::JobFilter { name_prefix: "a\0".into(), ..v1::JobFilter::default() });
    let steered = v1::SteerJobsRequest {
        filter,
        action: Some(v1::steer_jobs_request::Action::Cancel(true)),
        ..v1::SteerJobsRequest::default()
    };
    let errors = [
        ApiError::from(jobs.submit_pipeline(submitted).await.unwrap_err()),
        ApiError::from(jobs.steer_jobs(steered).await.unwrap_err()),
    ];
    for error in errors {
        assert_eq!(error.code, ErrorCode::InvalidArgument, "{error}");
    }
}

#[tokio::test]
async fn a_time_that_is_none_finds_no_more_than_one_that_is() {
    let fixture = Fixture::start().await;
    let ids = fixture.submit(vec![scrape(1)]).await;
    let after = Some(prost_types::Timestamp { seconds: 1_700_000_000_000_000, nanos: 0 });
    let request = v1::SteerJobsRequest {
        filter: Some(v1::JobFilter { after, ..v1::JobFilter::default() }),
        action: Some(v1::steer_jobs_request::Action::Cancel(true)),
        ..v1::SteerJobsRequest::default()
    };
    let error = ApiError::from(fixture.client().jobs().steer_jobs(request).await.unwrap_err());
    assert!(error.code == ErrorCode::InvalidArgument && error.message.starts_with("filter.after"), "{error}");
    assert_ne!(fixture.job(&ids[0]).await.job.unwrap().state, "cancelled");
}

/// All reports are renewed together.
#[tokio::test]
async fn a_worker_that_says_what_cannot_be_stored_is_told_and_keeps_nobody_s_lease_from_being_renewed() {
    let fixture = Fixture::start().await;
    let nonsense = v1::WorkerReport {
        worker_id: Uuid::new_v4().to_string(),
        protocol_version: SESSION_PROTOCOL_VERSION,
        name: "bad\0name".into(),
        ..v1::WorkerReport::default()
    };
    let mut bad = Worker::attach_with(fixture.client(), nonsense).await.unwrap();
    let error = bad.say().await.unwrap_err().downcast::<ApiError>().unwrap();
    assert!(error.code == ErrorCode::InvalidArgument && error.message.starts_with("name"), "{error}");

    fixture.submit(vec![probe(1)]).await;
    let mut worker = Worker::attach(fixture.client(), "good", 1).await.unwrap();
    let order = worker.next_task().await.unwrap();
    let progress = v1::Progress { message: "half\0done".into(), ..v1::Progress::default() };
    worker.report.running[0].progress = Some(progress);
    worker.say().await.unwrap();
    let told = || fixture.ask("select progress_message from attempts");
    until("the progress", told, |message| message == "half\u{fffd}done").await;
    worker.fail(order.lease.as_ref().unwrap(), v1::ErrorClass::Fatal, "it\0broke").await.unwrap();
    assert_eq!(fixture.ask("select error from attempts").await, "it\u{fffd}broke");
}
