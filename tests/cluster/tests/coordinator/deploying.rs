//! The coordinator's own tasks: what becomes of a deploy when its lease is lost, or its coordinator stops.

use ursa_cluster::{Node, until};
use ursa_proto::v1;

use crate::fixture::{Fixture, job, with_model};

const CLASSES: [&str; 2] = ["black", "teddy"];

/// The attempts of coordinators are another's as soon as they begin: as for one that stood still, and comes late.
const STOLEN: &str = "
    create function stolen() returns trigger language plpgsql as $$
    begin
        new.lease_token := gen_random_uuid();
        return new;
    end $$;
    create trigger stolen before insert on attempts
    for each row when (new.worker_name = 'coordinator') execute function stolen()";

/// Submits a job that may try once to deploy the model there is; its id.
async fn submit_deploy(fixture: &Fixture) -> String {
    let models = fixture.client().models().list_models(v1::ListModelsRequest::default()).await.unwrap().into_inner();
    let model = Some(v1::deploy_spec::Model::ModelDigest(models.models[0].digest.clone()));
    let spec = v1::DeploySpec { endpoint: "bears".into(), model, timeout_seconds: 60 };
    let deploy = job("deploy", v1::job_definition::Spec::Deploy(spec));
    fixture.submit(vec![v1::JobDefinition { max_attempts: 1, ..deploy }]).await.remove(0)
}

/// How the attempts of a job's only task are, or ended.
fn attempts(detail: &v1::JobDetail) -> Vec<&str> {
    detail.tasks[0].attempts.iter().map(|attempt| attempt.state.as_str()).collect()
}

#[tokio::test]
async fn a_deploy_whose_lease_is_lost_leaves_the_endpoint_as_it_is() {
    let fixture = Fixture::start().await;
    let (_worker, _) = with_model(&fixture, &CLASSES, Vec::new()).await;
    fixture.sql(STOLEN).await;
    let id = submit_deploy(&fixture).await;
    let failed = fixture.job_in(&id, "failed").await;
    assert_eq!((failed.tasks[0].state.as_str(), attempts(&failed)), ("dead", vec!["lost"]));
    assert_eq!(fixture.ask("select count(*) from endpoints").await, "0");
}

#[tokio::test]
async fn a_coordinator_that_stops_gives_back_what_it_is_at_and_that_uses_up_no_attempt() {
    let mut fixture = Fixture::start().await;
    let (_worker, _) = with_model(&fixture, &CLASSES, Vec::new()).await;
    let slow = Node::attach(fixture.client(), "slow", "loading", "").await.unwrap();
    let id = submit_deploy(&fixture).await;
    let begun = || fixture.ask("select count(*) from endpoints");
    until("the deploy to begin", begun, |endpoints| endpoints == "1").await;

    let other = fixture.coordinator.start_beside(&[]).await.unwrap();
    fixture.coordinator.stop().await.unwrap();
    drop(slow);
    let _fast = Node::attach(&other.client, "fast", "ready", "").await.unwrap();
    let request = v1::GetJobRequest { id };
    let look = async || other.client.jobs().get_job(request.clone()).await.unwrap().into_inner();
    let has_ended = |detail: &v1::JobDetail| detail.job.as_ref().unwrap().state != "running";
    let detail = until("the deploy to end", look, has_ended).await;
    assert_eq!(attempts(&detail), ["returned", "succeeded"]);
    let returned = &detail.tasks[0].attempts[0];
    assert_eq!((returned.error_class(), returned.error.as_str()), (v1::ErrorClass::Returned, "the coordinator stops"));
}
