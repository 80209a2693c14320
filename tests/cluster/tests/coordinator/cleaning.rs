//! The last stage of an attempt that does not count: what it uploaded goes, and that is told.

use std::os::unix::fs::symlink;
use std::path::Path;

use ursa_cluster::{Worker, until};
use ursa_proto::v1;
use ursa_storage::Key;

use crate::fixture::{Fixture, lease_parts, raw_key, scrape, scraped};

fn bytes_of(url: &str) -> Vec<u8> {
    url.as_bytes().to_vec()
}

/// Stores the pictures of an order, as its worker does before it hands in the result.
async fn upload(fixture: &Fixture, order: &v1::TaskOrder) -> Key {
    scraped(&fixture.storage(), order, |url| Some(bytes_of(url))).await;
    raw_key(order)
}

async fn is_there(fixture: &Fixture, key: &Key) -> bool {
    fixture.storage().exists(key).await.unwrap()
}

async fn is_cleaned(fixture: &Fixture, job: &str, attempt: usize) -> bool {
    fixture.job(job).await.tasks[0].attempts[attempt - 1].cleaned_at.is_some()
}

async fn cleaned(fixture: &Fixture, job: &str, attempt: usize) {
    until("the attempt to be cleaned", || is_cleaned(fixture, job, attempt), |is| *is).await;
}

#[tokio::test]
async fn what_a_cancelled_attempt_uploaded_goes_when_its_worker_has_stopped() {
    let fixture = Fixture::start().await;
    let ids = fixture.submit(vec![scrape(2)]).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    let order = worker.next_task().await.unwrap();
    let shard = upload(&fixture, &order).await;
    fixture.client().jobs().cancel_job(v1::CancelJobRequest { id: ids[0].clone() }).await.unwrap();
    worker.next_stop().await.unwrap();
    assert!(is_there(&fixture, &shard).await, "its worker is at it");

    worker.fail(order.lease.as_ref().unwrap(), v1::ErrorClass::Cancelled, "").await.unwrap();
    cleaned(&fixture, &ids[0], 1).await;
    assert!(!is_there(&fixture, &shard).await);
    let attempt = fixture.job_in(&ids[0], "cancelled").await.tasks[0].attempts[0].clone();
    let at = |at: Option<prost_types::Timestamp>| at.map(|at| (at.seconds, at.nanos)).unwrap();
    assert!(at(attempt.stop.unwrap().asked_at) < at(attempt.ended_at), "the stages come one after the other");
    assert!(at(attempt.ended_at) < at(attempt.cleaned_at), "the stages come one after the other");
}

#[tokio::test]
async fn what_a_worker_uploads_after_its_lease_was_gone_goes_once_it_is_heard_of_again() {
    let fixture = Fixture::start_with(&["--upload-grace=1s"]).await;
    let ids = fixture.submit(vec![scrape(2)]).await;
    let mut cut_off = Worker::attach(fixture.client(), "cut-off", 1).await.unwrap();
    let first = cut_off.next_task().await.unwrap();
    let mut other = Worker::attach(fixture.client(), "other", 1).await.unwrap();
    let second = other.next_task().await.unwrap();
    let result = scraped(&fixture.storage(), &second, |url| Some(bytes_of(url))).await;
    other.complete(second.lease.as_ref().unwrap(), result).await.unwrap();
    cleaned(&fixture, &ids[0], 1).await;

    let late = upload(&fixture, &first).await;
    assert_eq!(cut_off.next_stop().await.unwrap().reason(), v1::StopReason::LeaseLost);
    until("the late upload to be gone", || is_there(&fixture, &late), |is| !*is).await;
    cleaned(&fixture, &ids[0], 1).await;
    let attempts = fixture.job_in(&ids[0], "succeeded").await.tasks[0].attempts.clone();
    assert_eq!((attempts[0].state.as_str(), attempts[0].error_class()), ("lost", v1::ErrorClass::Fenced));
    assert_eq!(attempts[1].cleaned_at, None, "what counts is not cleaned");
    assert!(is_there(&fixture, &raw_key(&second)).await);
}

#[tokio::test]
async fn what_cannot_be_deleted_now_goes_later_and_holds_up_nothing_else() {
    let fixture = Fixture::start().await;
    let ids = fixture.submit(vec![scrape(2)]).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    let order = worker.next_task().await.unwrap();
    let first = upload(&fixture, &order).await;
    // Nobody can look into a folder that leads to itself.
    let folder = Path::new(fixture.storage().location()).join(format!("checkpoints/{}", lease_parts(&order).0));
    std::fs::create_dir_all(&folder).unwrap();
    symlink("1", folder.join("1")).unwrap();
    worker.fail(order.lease.as_ref().unwrap(), v1::ErrorClass::Returned, "").await.unwrap();
    let order = worker.next_task().await.unwrap();
    let second = upload(&fixture, &order).await;
    worker.fail(order.lease.as_ref().unwrap(), v1::ErrorClass::Fatal, "").await.unwrap();

    cleaned(&fixture, &ids[0], 2).await;
    assert!(!is_there(&fixture, &second).await);
    assert!(is_there(&fixture, &first).await && !is_cleaned(&fixture, &ids[0], 1).await);
    std::fs::remove_file(folder.join("1")).unwrap();
    cleaned(&fixture, &ids[0], 1).await;
    assert!(!is_there(&fixture, &first).await);
}
