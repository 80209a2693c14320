//! A result that does not add up is refused and says why; the attempt can still end well, or badly, afterwards.

use ursa_cluster::Worker;
use ursa_proto::v1::complete_task_request::Result as Done;
use ursa_proto::{ApiError, ErrorCode, v1};
use uuid::Uuid;

use crate::fixture::{Fixture, after, scrape, scraped, snapshot, train, verified, verify};

/// What the refusal has to say, and how to earn it.
type Spoil<R> = (&'static str, fn(&mut R));

/// Presents a spoilt result, and expects to hear `expected`.
async fn refused(worker: &mut Worker, order: &v1::TaskOrder, result: Done, expected: &str) {
    let error = worker.complete(order.lease.as_ref().unwrap(), result).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidArgument, "{error}");
    assert!(error.message.contains(expected), "{error} lacks {expected:?}");
}

async fn scrape_result(fixture: &Fixture, order: &v1::TaskOrder) -> v1::ScrapeResult {
    let bytes_of = |url: &str| (!url.ends_with("teddy/1.jpg")).then(|| url.as_bytes().to_vec());
    match scraped(&fixture.storage(), order, bytes_of).await {
        Done::Scrape(result) => result,
        other => panic!("{other:?}"),
    }
}

async fn verify_result(fixture: &Fixture, order: &v1::TaskOrder) -> v1::VerifyResult {
    match verified(&fixture.storage(), order).await {
        Done::Verify(result) => result,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_scrape_result_that_does_not_add_up_is_refused() {
    let fixture = Fixture::start().await;
    let ids = fixture.submit(vec![scrape(2)]).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    let order = worker.next_task().await.unwrap();
    let good = scrape_result(&fixture, &order).await;
    let spoils: [Spoil<v1::ScrapeResult>; 9] = [
        ("outcomes: 1 entries are missing", |result| drop(result.outcomes.pop())),
        ("1 of 5 entries are for no source", |result| result.outcomes.push(result.outcomes[0].clone())),
        ("1 of 4 entries are for no source", |result| result.outcomes[3].source_id = Uuid::new_v4().to_string()),
        ("shard: is missing, but 3 pictures", |result| result.shard = None),
        ("shard: is there, but no picture", |result| {
            result.outcomes.iter_mut().for_each(|outcome| outcome.error_class = "timeout".into());
        }),
        ("shard.key is", |result| result.shard.as_mut().unwrap().key = format!("shards/raw/{}/1.tar", Uuid::new_v4())),
        ("do not lie in the shard", |result| result.outcomes[0].shard_length = result.shard.as_ref().unwrap().bytes),
        ("do not lie in the shard", |result| result.outcomes[0].shard_offset = u64::MAX),
        ("shard.bytes is", |result| result.shard.as_mut().unwrap().bytes = u64::MAX),
    ];
    for (expected, spoil) in spoils {
        let mut result = good.clone();
        spoil(&mut result);
        refused(&mut worker, &order, Done::Scrape(result), expected).await;
    }
    worker.complete(order.lease.as_ref().unwrap(), Done::Scrape(good)).await.unwrap();
    fixture.job_in(&ids[0], "succeeded").await;
}

#[tokio::test]
async fn a_verify_result_that_does_not_add_up_is_refused() {
    let fixture = Fixture::start().await;
    let ids = fixture.submit(vec![scrape(2), after(verify(), &["scrape"])]).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    let order = worker.next_task().await.unwrap();
    let result = scrape_result(&fixture, &order).await;
    worker.complete(order.lease.as_ref().unwrap(), Done::Scrape(result)).await.unwrap();
    let order = worker.next_task().await.unwrap();
    let good = verify_result(&fixture, &order).await;
    let spoils: [Spoil<v1::VerifyResult>; 6] = [
        ("verdicts: 1 entries are missing", |result| drop(result.verdicts.pop())),
        ("1 of 3 entries are for no image", |result| result.verdicts[0].image_id = result.verdicts[1].image_id.clone()),
        ("shard: is missing, but 3 pictures", |result| result.shard = None),
        ("shard: is there, but no picture", |result| {
            result.verdicts.iter_mut().for_each(|verdict| verdict.reason = "truncated".into());
        }),
        ("shard.key is", |result| {
            let shard = result.shard.as_mut().unwrap();
            shard.key = shard.key.replace("/1.tar", "/2.tar");
        }),
        ("do not lie in the shard", |result| result.verdicts[2].shard_offset = u64::MAX),
    ];
    for (expected, spoil) in spoils {
        let mut result = good.clone();
        spoil(&mut result);
        refused(&mut worker, &order, Done::Verify(result), expected).await;
    }
    worker.complete(order.lease.as_ref().unwrap(), Done::Verify(good)).await.unwrap();
    fixture.job_in(&ids[1], "succeeded").await;
}

#[tokio::test]
async fn a_shard_that_two_jobs_could_verify_is_verified_by_one() {
    let fixture = Fixture::start().await;
    let mut again = after(verify(), &["scrape"]);
    again.name = "again".into();
    let ids = fixture.submit(vec![scrape(2), after(verify(), &["scrape"]), again]).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    fixture.prepare_images(&mut worker).await;
    for id in &ids {
        fixture.job_in(id, "succeeded").await;
    }
    let request = v1::GetDatasetRequest { name: "bears".into() };
    let dataset = fixture.client().datasets().get_dataset(request).await.unwrap().into_inner();
    assert_eq!(dataset.images["kept"], 4);
}

#[tokio::test]
async fn a_checkpoint_of_another_attempt_is_refused() {
    let fixture = Fixture::start().await;
    fixture.submit(vec![scrape(30), after(verify(), &["scrape"]), after(snapshot(), &["verify"]), train()]).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    fixture.prepare_images(&mut worker).await;
    let order = worker.next_task().await.unwrap();
    let lease = order.lease.clone().unwrap();
    let record = async |attempt: u32, epoch: u32| {
        let key = format!("checkpoints/{}/{attempt}/1-8.safetensors", lease.task_id);
        let checkpoint =
            v1::Checkpoint { attempt, epoch, key, sha256: "0".repeat(64), bytes: 1, step: 8, error_rate: None };
        let request = v1::RecordCheckpointRequest { lease: Some(lease.clone()), checkpoint: Some(checkpoint) };
        fixture.client().workers().record_checkpoint(request).await.map(drop).map_err(ApiError::from)
    };
    for (attempt, epoch) in [(2, 1), (1, 2)] {
        let error = record(attempt, epoch).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidArgument, "{error}");
        assert!(error.message.contains("checkpoint.key is"), "{error}");
    }
    record(1, 1).await.unwrap();
}
