//! Many jobs at once.

use ursa_cluster::Worker;
use ursa_proto::v1::steer_jobs_request::Action;
use ursa_proto::{ApiError, ErrorCode, v1};

use crate::fixture::{Fixture, probe};

fn named(name: &str) -> v1::JobDefinition {
    v1::JobDefinition { name: name.into(), ..probe(1) }
}

pub(crate) async fn steer(fixture: &Fixture, filter: v1::JobFilter, action: Action) -> (u32, u32) {
    let mut request =
        v1::SteerJobsRequest { filter: Some(filter), action: Some(action), limit: 2, token: String::new() };
    let (mut steered, mut left_alone) = (0, 0);
    loop {
        let answer = fixture.client().jobs().steer_jobs(request.clone()).await.unwrap().into_inner();
        steered += answer.steered;
        left_alone += answer.left_alone;
        if answer.next_token.is_empty() {
            return (steered, left_alone);
        }
        request.token = answer.next_token;
    }
}

#[tokio::test]
async fn jobs_are_cancelled_and_retried_by_what_they_are() {
    let fixture = Fixture::start().await;
    for name in ["night-1", "night-2", "night-3", "day-1"] {
        fixture.submit(vec![named(name)]).await;
    }
    let nights = || v1::JobFilter { name_prefix: "night-".into(), ..v1::JobFilter::default() };
    assert_eq!(steer(&fixture, nights(), Action::Cancel(true)).await, (3, 0));
    let cancelled = || v1::JobFilter { state: "cancelled".into(), kind: "probe".into(), ..v1::JobFilter::default() };
    let count = async || {
        let request = v1::ListJobsRequest { state: "cancelled".into(), ..v1::ListJobsRequest::default() };
        fixture.client().jobs().list_jobs(request).await.unwrap().into_inner().jobs.len()
    };
    ursa_cluster::until("three cancelled jobs", count, |count| *count == 3).await;
    assert_eq!(steer(&fixture, nights(), Action::Cancel(true)).await, (0, 3), "they have ended");
    assert_eq!(steer(&fixture, cancelled(), Action::Retry(true)).await, (3, 0));
}

#[tokio::test]
async fn a_priority_given_later_counts() {
    let fixture = Fixture::start().await;
    let first = fixture.submit(vec![named("first")]).await;
    let second = fixture.submit(vec![named("second")]).await;
    let filter = v1::JobFilter { name_prefix: "second".into(), ..v1::JobFilter::default() };
    assert_eq!(steer(&fixture, filter, Action::Priority(9)).await, (1, 0));
    assert_eq!(fixture.job(&second[0]).await.job.unwrap().priority, 9);
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    assert_eq!(worker.next_task().await.unwrap().job_id, second[0]);
    assert_eq!(fixture.job(&first[0]).await.job.unwrap().state, "running");
}

#[tokio::test]
async fn everything_at_once_has_to_be_said() {
    let fixture = Fixture::start().await;
    let request = v1::SteerJobsRequest { action: Some(Action::Cancel(true)), ..v1::SteerJobsRequest::default() };
    let error = ApiError::from(fixture.client().jobs().steer_jobs(request).await.unwrap_err());
    assert_eq!((error.code, error.message.contains("filter")), (ErrorCode::InvalidArgument, true));
    let filter = Some(v1::JobFilter { kind: "probe".into(), ..v1::JobFilter::default() });
    let request = v1::SteerJobsRequest { filter, action: Some(Action::Priority(10)), ..Default::default() };
    let error = ApiError::from(fixture.client().jobs().steer_jobs(request).await.unwrap_err());
    assert!(error.message.contains("between 0 and 9"), "{error}");
}

#[tokio::test]
async fn the_same_key_may_be_used_in_two_projects() {
    let fixture = Fixture::start().await;
    let request = |project: &str| {
        let pipeline =
            v1::PipelineSpec { name: "p".into(), project: project.into(), jobs: vec![probe(1)], reuse: false };
        v1::SubmitPipelineRequest { pipeline: Some(pipeline), idempotency_key: "nightly".into() }
    };
    let mut jobs = fixture.client().jobs();
    let one = jobs.submit_pipeline(request("one")).await.unwrap().into_inner();
    let two = jobs.submit_pipeline(request("two")).await.unwrap().into_inner();
    let again = jobs.submit_pipeline(request("one")).await.unwrap().into_inner();
    assert_ne!(one.pipeline.as_ref().unwrap().id, two.pipeline.unwrap().id);
    assert!(again.already_existed && again.pipeline.unwrap().id == one.pipeline.unwrap().id);
}
