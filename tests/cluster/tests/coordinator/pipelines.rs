//! DAGs: conditions, feeding, running again.

use ursa_client::Client;
use ursa_cluster::{Worker, until};
use ursa_proto::v1;

use crate::fixture::{
    Fixture, after, answered, probe, scrape, scrape_task, scraped, snapshot, train, trained, verified, verify,
};

fn named(name: &str, job: v1::JobDefinition) -> v1::JobDefinition {
    v1::JobDefinition { name: name.into(), ..job }
}

fn when(condition: &str, job: v1::JobDefinition) -> v1::JobDefinition {
    v1::JobDefinition { condition: condition.into(), ..job }
}

#[tokio::test]
async fn what_runs_depends_on_how_others_ended() {
    let fixture = Fixture::start().await;
    let jobs = vec![
        named("work", v1::JobDefinition { max_attempts: 1, ..probe(1) }),
        named("celebrate", after(probe(1), &["work"])),
        named("alarm", when("on_failure", after(probe(1), &["work"]))),
        named("tidy", when("always", after(probe(1), &["work", "celebrate"]))),
    ];
    let ids = fixture.submit(jobs).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    let lease = worker.next_task().await.unwrap().lease.unwrap();
    worker.fail(&lease, v1::ErrorClass::Fatal, "broken").await.unwrap();
    fixture.job_in(&ids[0], "failed").await;
    fixture.job_in(&ids[1], "skipped").await;
    for _ in 0..2 {
        let lease = worker.next_task().await.unwrap().lease.unwrap();
        worker.complete(&lease, answered()).await.unwrap();
    }
    fixture.job_in(&ids[2], "succeeded").await;
    fixture.job_in(&ids[3], "succeeded").await;

    let retry = v1::RetryJobRequest { id: ids[0].clone() };
    fixture.client().jobs().retry_job(retry).await.unwrap();
    for _ in 0..2 {
        let lease = worker.next_task().await.unwrap().lease.unwrap();
        worker.complete(&lease, answered()).await.unwrap();
    }
    fixture.job_in(&ids[1], "succeeded").await;
}

#[tokio::test]
async fn what_was_skipped_because_of_a_dead_task_runs_when_that_is_replayed() {
    let fixture = Fixture::start().await;
    let jobs = vec![
        named("work", v1::JobDefinition { max_attempts: 1, ..probe(1) }),
        named("celebrate", after(probe(1), &["work"])),
        named("rest", after(probe(1), &["celebrate"])),
    ];
    let pipeline = fixture.submit_pipeline(jobs).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    let lease = worker.next_task().await.unwrap().lease.unwrap();
    worker.fail(&lease, v1::ErrorClass::Retryable, "poison").await.unwrap();
    for (job, state) in pipeline.jobs.iter().zip(["failed", "skipped", "skipped"]) {
        fixture.job_in(&job.id, state).await;
    }

    let request = v1::RetryTasksRequest { ids: vec![lease.task_id] };
    assert_eq!(fixture.client().jobs().retry_tasks(request).await.unwrap().into_inner().retried, 1);
    for job in &pipeline.jobs[1..] {
        assert_eq!(fixture.job(&job.id).await.job.unwrap().state, "waiting", "{}", job.name);
    }
    for job in &pipeline.jobs {
        let order = worker.next_task().await.unwrap();
        assert_eq!(order.job_id, job.id, "{}", job.name);
        worker.complete(order.lease.as_ref().unwrap(), answered()).await.unwrap();
        fixture.job_in(&job.id, "succeeded").await;
    }
    let request = v1::GetPipelineRequest { id: pipeline.id };
    assert_eq!(fixture.client().jobs().get_pipeline(request).await.unwrap().into_inner().state, "succeeded");
}

#[tokio::test]
async fn verification_begins_with_the_first_shard() {
    let fixture = Fixture::start().await;
    let mut scrape = scrape(4);
    if let Some(v1::job_definition::Spec::Scrape(spec)) = &mut scrape.spec {
        spec.urls_per_task = 4;
    }
    let ids = fixture.submit(vec![scrape, after(verify(), &["scrape"])]).await;
    let mut scraper = Worker::attach(fixture.client(), "scraper", 1).await.unwrap();
    let first = scraper.next_task().await.unwrap();
    let result = scraped(&fixture.storage(), &first, |url| Some(url.as_bytes().to_vec())).await;
    scraper.complete(first.lease.as_ref().unwrap(), result).await.unwrap();

    // The second shard is not there, and the first one is looked at.
    let second = scraper.next_task().await.unwrap();
    let mut verifier = Worker::attach(fixture.client(), "verifier", 1).await.unwrap();
    let order = verifier.next_task().await.unwrap();
    assert_eq!(order.job_id, ids[1]);
    let result = verified(&fixture.storage(), &order).await;
    verifier.complete(order.lease.as_ref().unwrap(), result).await.unwrap();
    assert_eq!(fixture.job(&ids[0]).await.job.unwrap().state, "running");
    assert_eq!(fixture.job(&ids[1]).await.job.unwrap().state, "running", "more is to come");

    let result = scraped(&fixture.storage(), &second, |url| Some(url.as_bytes().to_vec())).await;
    scraper.complete(second.lease.as_ref().unwrap(), result).await.unwrap();
    let order = verifier.next_task().await.unwrap();
    let result = verified(&fixture.storage(), &order).await;
    verifier.complete(order.lease.as_ref().unwrap(), result).await.unwrap();
    let detail = fixture.job_in(&ids[1], "succeeded").await;
    assert_eq!(detail.tasks.len(), 2);
}

/// A worker and what it is at.
struct AtWork {
    worker: Worker,
    order: v1::TaskOrder,
}

impl AtWork {
    /// A new worker, with a scrape task.
    async fn scraping(fixture: &Fixture, name: &str) -> Self {
        let mut worker = Worker::attach(fixture.client(), name, 1).await.unwrap();
        let order = worker.next_task().await.unwrap();
        Self { worker, order }
    }

    async fn scrape(&mut self, fixture: &Fixture) {
        let result = scraped(&fixture.storage(), &self.order, |url| Some(url.as_bytes().to_vec())).await;
        self.worker.complete(self.order.lease.as_ref().unwrap(), result).await.unwrap();
    }

    async fn verify(&mut self, fixture: &Fixture) {
        let result = verified(&fixture.storage(), &self.order).await;
        self.worker.complete(self.order.lease.as_ref().unwrap(), result).await.unwrap();
    }

    async fn fail(&mut self, class: v1::ErrorClass, message: &str) {
        self.worker.fail(self.order.lease.as_ref().unwrap(), class, message).await.unwrap();
    }
}

/// Two pipelines with one dataset, for which each has brought in a shard; the second one makes a snapshot. The verification of
/// the first is at both shards.
struct OneDataset {
    fixture: Fixture,
    first: Vec<String>,
    second: Vec<String>,
    on_its_own: AtWork,
    on_the_others: AtWork,
    /// Takes nothing but probes.
    watch: Worker,
}

impl OneDataset {
    async fn start() -> Self {
        // Longer than any test: those who hold a task say nothing meanwhile.
        let fixture = Fixture::start_with(&["--lease=5m"]).await;
        let first = fixture.submit(vec![scrape(2), after(verify(), &["scrape"])]).await;
        let mut one = AtWork::scraping(&fixture, "one").await;
        one.scrape(&fixture).await;
        one.order = one.worker.next_task().await.unwrap();
        let jobs = vec![scrape(30), after(verify(), &["scrape"]), after(snapshot(), &["verify"])];
        let second = fixture.submit(jobs).await;
        let mut two = AtWork::scraping(&fixture, "two").await;
        // Both could take up what comes now, and the one that was submitted first does.
        fixture.job_in(&second[1], "running").await;
        two.scrape(&fixture).await;
        two.order = two.worker.next_task().await.unwrap();
        assert_eq!((&one.order.job_id, &two.order.job_id), (&first[1], &first[1]));
        fixture.job_in(&second[0], "succeeded").await;
        let report = v1::WorkerReport {
            worker_id: uuid::Uuid::new_v4().to_string(),
            name: "watch".into(),
            protocol_version: ursa_proto::SESSION_PROTOCOL_VERSION,
            slots: 1,
            kinds: vec!["probe".into()],
            ..v1::WorkerReport::default()
        };
        let watch = Worker::attach_with(fixture.client(), report).await.unwrap();
        let mut dataset = Self { fixture, first, second, on_its_own: one, on_the_others: two, watch };
        dataset.second_waits().await;
        dataset
    }

    /// The second pipeline's verification is not over, though it has no task and all jobs were looked at meanwhile: what waits
    /// for another job begins only when they are.
    async fn second_waits(&mut self) {
        self.fixture.submit(vec![probe(1), named("later", after(probe(1), &["probe"]))]).await;
        for _ in 0..2 {
            let lease = self.watch.next_task().await.unwrap().lease.unwrap();
            self.watch.complete(&lease, answered()).await.unwrap();
        }
        let job = self.fixture.job(&self.second[1]).await.job.unwrap();
        assert_eq!(job.state, "running", "another job is at its pictures");
    }

    /// Waits until the second pipeline's verification has been given so many tasks.
    async fn second_has(&self, tasks: usize) {
        let job = || self.fixture.job(&self.second[1]);
        until("the shards to be taken up", job, |job| job.tasks.len() == tasks).await;
    }

    /// How many pictures the snapshot has.
    async fn frozen(&self) -> u64 {
        let job = self.fixture.job_in(&self.second[2], "succeeded").await.job.unwrap();
        let output: serde_json::Value = serde_json::from_str(&job.output_json).unwrap();
        let classes = output["classes"].as_array().unwrap();
        classes.iter().map(|class| class["train"].as_u64().unwrap() + class["valid"].as_u64().unwrap()).sum()
    }
}

#[tokio::test]
async fn a_verification_waits_for_its_pictures_that_another_job_is_at() {
    let mut dataset = OneDataset::start().await;
    dataset.on_its_own.verify(&dataset.fixture).await;
    dataset.on_the_others.verify(&dataset.fixture).await;
    dataset.fixture.job_in(&dataset.first[1], "succeeded").await;
    let second = dataset.fixture.job_in(&dataset.second[1], "succeeded").await;
    assert_eq!((second.tasks.len(), dataset.frozen().await), (0, 60));
}

#[tokio::test]
async fn a_verification_takes_up_what_a_cancelled_one_leaves() {
    let mut dataset = OneDataset::start().await;
    let request = v1::CancelJobRequest { id: dataset.first[1].clone() };
    dataset.fixture.client().jobs().cancel_job(request).await.unwrap();
    // Only one of the two takes more.
    drain(&mut dataset.on_the_others.worker).await;
    dataset.on_the_others.fail(v1::ErrorClass::Cancelled, "cleaned up").await;
    dataset.on_its_own.fail(v1::ErrorClass::Cancelled, "cleaned up").await;
    dataset.fixture.job_in(&dataset.first[1], "cancelled").await;
    dataset.second_has(2).await;
    for _ in 0..2 {
        dataset.on_its_own.order = dataset.on_its_own.worker.next_task().await.unwrap();
        assert_eq!(dataset.on_its_own.order.job_id, dataset.second[1]);
        dataset.on_its_own.verify(&dataset.fixture).await;
    }
    dataset.fixture.job_in(&dataset.second[1], "succeeded").await;
    assert_eq!(dataset.frozen().await, 60);
}

#[tokio::test]
async fn what_cannot_be_verified_is_tried_by_each_job_once() {
    let mut dataset = OneDataset::start().await;
    dataset.on_the_others.fail(v1::ErrorClass::Fatal, "the shard is gone").await;
    dataset.second_has(1).await;
    dataset.on_the_others.order = dataset.on_the_others.worker.next_task().await.unwrap();
    assert_eq!(dataset.on_the_others.order.job_id, dataset.second[1]);
    drain(&mut dataset.on_the_others.worker).await;
    dataset.on_the_others.fail(v1::ErrorClass::Fatal, "the shard is gone").await;
    // The first one is not over yet, and could take it up again.
    dataset.second_waits().await;
    dataset.on_its_own.verify(&dataset.fixture).await;
    for (job, tasks) in [(&dataset.first[1], 2), (&dataset.second[1], 1)] {
        let detail = dataset.fixture.job_in(job, "failed").await;
        assert_eq!((detail.tasks.len(), detail.job.unwrap().error.as_str()), (tasks, "the shard is gone"));
    }
}

#[tokio::test]
async fn a_pipeline_that_is_run_again_does_only_what_has_changed() {
    let fixture = Fixture::start().await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    let pipeline = trained_once(&fixture, &mut worker).await;

    let again = rerun(fixture.client(), &pipeline.id).await;
    assert_eq!(again.rerun_of, pipeline.id);
    for (job, before) in again.jobs.iter().zip(&pipeline.jobs) {
        let job = fixture.job_in(&job.id, "succeeded").await.job.unwrap();
        assert_eq!(job.cached_from, before.id, "{}", job.name);
        assert_eq!(job.output_json, fixture.job(&before.id).await.job.unwrap().output_json);
    }

    let mut changed = four_jobs();
    if let Some(v1::job_definition::Spec::Train(spec)) = &mut changed[3].spec {
        spec.recipe = Some(v1::TrainRecipe { epochs: 2, ..v1::TrainRecipe::default() });
    }
    let pipeline_spec = v1::PipelineSpec { name: "test".into(), jobs: changed, ..v1::PipelineSpec::default() };
    let rerun = v1::RerunPipelineRequest {
        id: pipeline.id.clone(),
        pipeline: Some(pipeline_spec),
        ..v1::RerunPipelineRequest::default()
    };
    let again = fixture.client().jobs().rerun_pipeline(rerun).await.unwrap().into_inner().pipeline.unwrap();
    let order = worker.next_task().await.unwrap();
    assert_eq!(order.job_id, again.jobs[3].id, "only the training has changed");
    assert!(!fixture.job(&again.jobs[2].id).await.job.unwrap().cached_from.is_empty());
}

async fn rerun(client: &Client, pipeline: &str) -> v1::Pipeline {
    let request = v1::RerunPipelineRequest { id: pipeline.into(), ..v1::RerunPipelineRequest::default() };
    client.jobs().rerun_pipeline(request).await.unwrap().into_inner().pipeline.unwrap()
}

fn four_jobs() -> Vec<v1::JobDefinition> {
    vec![scrape(30), after(verify(), &["scrape"]), after(snapshot(), &["verify"]), train()]
}

/// A pipeline that a worker has done.
async fn trained_once(fixture: &Fixture, worker: &mut Worker) -> v1::Pipeline {
    let pipeline = fixture.submit_pipeline(four_jobs()).await;
    fixture.prepare_images(worker).await;
    let order = worker.next_task().await.unwrap();
    worker.complete(order.lease.as_ref().unwrap(), trained()).await.unwrap();
    fixture.job_in(&pipeline.jobs[3].id, "succeeded").await;
    pipeline
}

/// Has `worker` do the scrape and verify tasks that there are, until one of another kind comes.
async fn bring_in(fixture: &Fixture, worker: &mut Worker) -> v1::TaskOrder {
    loop {
        let order = worker.next_task().await.unwrap();
        let result = match order.work.as_ref().unwrap() {
            v1::task_order::Work::Scrape(_) => {
                scraped(&fixture.storage(), &order, |url| Some(url.as_bytes().to_vec())).await
            }
            v1::task_order::Work::Verify(_) => verified(&fixture.storage(), &order).await,
            _ => return order,
        };
        worker.complete(order.lease.as_ref().unwrap(), result).await.unwrap();
    }
}

#[tokio::test]
async fn a_verification_that_is_fed_is_taken_over_as_a_whole_or_not_at_all() {
    let fixture = Fixture::start().await;
    let with_urls = |urls| {
        let mut jobs = four_jobs();
        jobs[0] = scrape(urls);
        if let Some(v1::job_definition::Spec::Scrape(spec)) = &mut jobs[0].spec {
            spec.urls_per_task = 20;
        }
        jobs
    };
    let pipeline = fixture.submit_pipeline(with_urls(30)).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    let order = bring_in(&fixture, &mut worker).await;
    worker.complete(order.lease.as_ref().unwrap(), trained()).await.unwrap();
    fixture.job_in(&pipeline.jobs[3].id, "succeeded").await;
    assert_eq!(fixture.job(&pipeline.jobs[1].id).await.tasks.len(), 3, "one for each shard, as they came");

    let again = rerun(fixture.client(), &pipeline.id).await;
    for job in &again.jobs {
        let job = fixture.job_in(&job.id, "succeeded").await.job.unwrap();
        assert!(!job.cached_from.is_empty(), "{}", job.name);
    }

    let more = v1::PipelineSpec { name: "test".into(), jobs: with_urls(40), ..v1::PipelineSpec::default() };
    let request = v1::RerunPipelineRequest {
        id: pipeline.id.clone(),
        pipeline: Some(more),
        ..v1::RerunPipelineRequest::default()
    };
    let more = fixture.client().jobs().rerun_pipeline(request).await.unwrap().into_inner().pipeline.unwrap();
    let order = bring_in(&fixture, &mut worker).await;
    assert_eq!(order.job_id, more.jobs[3].id);
    for job in &more.jobs[..3] {
        let detail = fixture.job(&job.id).await;
        assert!(detail.job.unwrap().cached_from.is_empty(), "{}", job.name);
        assert_eq!(detail.tasks.len(), 1, "{}", job.name);
    }
}

#[tokio::test]
async fn other_pictures_are_learned_anew() {
    let fixture = Fixture::start().await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    let pipeline = trained_once(&fixture, &mut worker).await;
    let more = fixture.submit(vec![scrape(40), after(verify(), &["scrape"])]).await;
    fixture.prepare_images(&mut worker).await;
    fixture.job_in(&more[1], "succeeded").await;

    let again = rerun(fixture.client(), &pipeline.id).await;
    assert_eq!(worker.next_task().await.unwrap().job_id, again.jobs[3].id, "the snapshot is another one");
    for (job, before) in again.jobs.iter().zip([&pipeline.jobs[0].id, &more[1]]) {
        assert_eq!(fixture.job(&job.id).await.job.unwrap().cached_from, *before, "{}", job.name);
    }
    for job in &again.jobs[2..] {
        assert!(fixture.job(&job.id).await.job.unwrap().cached_from.is_empty(), "{}", job.name);
    }
}

#[tokio::test]
async fn a_fresh_job_does_its_work_while_the_others_take_over_what_has_not_changed() {
    let fixture = Fixture::start().await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    let mut jobs = four_jobs();
    jobs[0].fresh = true;
    let pipeline = fixture.submit_pipeline(jobs).await;
    let order = worker.next_task().await.unwrap();
    let answers = |url: &str| (!url.ends_with("/7.jpg")).then(|| url.as_bytes().to_vec());
    let result = scraped(&fixture.storage(), &order, answers).await;
    worker.complete(order.lease.as_ref().unwrap(), result).await.unwrap();
    let order = bring_in(&fixture, &mut worker).await;
    worker.complete(order.lease.as_ref().unwrap(), trained()).await.unwrap();
    fixture.job_in(&pipeline.jobs[3].id, "succeeded").await;

    let again = rerun(fixture.client(), &pipeline.id).await;
    let order = worker.next_task().await.unwrap();
    let asked: Vec<_> = scrape_task(&order).sources.iter().map(|source| source.url.as_str()).collect();
    assert_eq!(asked, ["http://web.test/black/7.jpg", "http://web.test/teddy/7.jpg"], "those that did not answer");
    let v1::complete_task_request::Result::Scrape(none) = scraped(&fixture.storage(), &order, |_| None).await else {
        panic!("it was a scrape task");
    };
    let result = v1::complete_task_request::Result::Scrape(v1::ScrapeResult { shard: None, ..none });
    worker.complete(order.lease.as_ref().unwrap(), result).await.unwrap();
    for (job, before) in again.jobs.iter().zip(&pipeline.jobs).skip(2) {
        let job = fixture.job_in(&job.id, "succeeded").await.job.unwrap();
        assert_eq!(job.cached_from, before.id, "{}", job.name);
    }
    assert!(fixture.job(&again.jobs[0].id).await.job.unwrap().cached_from.is_empty());
}

#[tokio::test]
async fn nothing_is_taken_over_from_another_version_of_the_code() {
    let mut fixture = Fixture::start().await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    let pipeline = trained_once(&fixture, &mut worker).await;
    let other = fixture.coordinator.start_beside(&["--code-version=other"]).await.unwrap();
    fixture.coordinator.crash().await;

    let mut worker = Worker::attach(&other.client, "another", 1).await.unwrap();
    let again = rerun(&other.client, &pipeline.id).await;
    assert_eq!(worker.next_task().await.unwrap().job_id, again.jobs[3].id);
    for job in &again.jobs {
        let request = v1::GetJobRequest { id: job.id.clone() };
        let job = other.client.jobs().get_job(request).await.unwrap().into_inner().job.unwrap();
        assert!(job.cached_from.is_empty(), "{}", job.name);
    }
}

/// A worker with one slot, of whatever version it says.
async fn attach_of_version(fixture: &Fixture, code_version: &str) -> Worker {
    let report = v1::WorkerReport {
        worker_id: uuid::Uuid::new_v4().to_string(),
        name: "worker".into(),
        protocol_version: ursa_proto::SESSION_PROTOCOL_VERSION,
        slots: 1,
        code_version: code_version.into(),
        ..v1::WorkerReport::default()
    };
    Worker::attach_with(fixture.client(), report).await.unwrap()
}

/// Has it take no more.
async fn drain(worker: &mut Worker) {
    worker.report.draining = true;
    worker.say().await.unwrap();
}

#[tokio::test]
async fn what_a_worker_of_another_version_did_is_not_taken_over() {
    let fixture = Fixture::start().await;
    let mut worker = attach_of_version(&fixture, "another").await;
    let first = trained_once(&fixture, &mut worker).await;
    let mut last = String::new();
    for version in ["", ursa_version::CODE] {
        drain(&mut worker).await;
        worker = attach_of_version(&fixture, version).await;
        let again = rerun(fixture.client(), &first.id).await;
        let order = worker.next_task().await.unwrap();
        assert_eq!(order.job_id, again.jobs[3].id, "neither who was of another version did it, nor who did not say");
        for (job, before) in again.jobs[..2].iter().zip(&first.jobs) {
            assert_ne!(fixture.job(&job.id).await.job.unwrap().cached_from, before.id, "{}", job.name);
        }
        let snapshot = fixture.job(&again.jobs[2].id).await.job.unwrap();
        assert_eq!(snapshot.cached_from, first.jobs[2].id, "the coordinator has made it itself");
        worker.complete(order.lease.as_ref().unwrap(), trained()).await.unwrap();
        last = fixture.job_in(&again.jobs[3].id, "succeeded").await.job.unwrap().id;
    }
    let again = rerun(fixture.client(), &first.id).await;
    assert_eq!(fixture.job_in(&again.jobs[3].id, "succeeded").await.job.unwrap().cached_from, last);
}

#[tokio::test]
async fn one_attempt_of_another_version_is_enough_for_its_job_not_to_be_taken_over() {
    let fixture = Fixture::start().await;
    let first = fixture.submit_pipeline(vec![probe(1)]).await;
    let mut other = attach_of_version(&fixture, "another").await;
    let lease = other.next_task().await.unwrap().lease.unwrap();
    drain(&mut other).await;
    other.fail(&lease, v1::ErrorClass::Retryable, "it may have left something behind").await.unwrap();
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    let lease = worker.next_task().await.unwrap().lease.unwrap();
    worker.complete(&lease, answered()).await.unwrap();
    fixture.job_in(&first.jobs[0].id, "succeeded").await;

    let again = rerun(fixture.client(), &first.id).await;
    let order = worker.next_task().await.unwrap();
    assert_eq!(order.job_id, again.jobs[0].id);
    worker.complete(order.lease.as_ref().unwrap(), answered()).await.unwrap();
    fixture.job_in(&again.jobs[0].id, "succeeded").await;
    let third = rerun(fixture.client(), &first.id).await;
    let taken_over = fixture.job_in(&third.jobs[0].id, "succeeded").await.job.unwrap();
    assert_eq!(taken_over.cached_from, again.jobs[0].id, "all of this one was done by the coordinator's version");
}

#[tokio::test]
async fn a_fresh_run_takes_nothing_over() {
    let fixture = Fixture::start().await;
    let pipeline = fixture.submit_pipeline(vec![probe(1)]).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    let lease = worker.next_task().await.unwrap().lease.unwrap();
    worker.complete(&lease, answered()).await.unwrap();
    fixture.job_in(&pipeline.jobs[0].id, "succeeded").await;
    let rerun = |fresh| v1::RerunPipelineRequest { id: pipeline.id.clone(), fresh, ..Default::default() };
    let reused = fixture.client().jobs().rerun_pipeline(rerun(false)).await.unwrap().into_inner().pipeline.unwrap();
    assert_eq!(fixture.job(&reused.jobs[0].id).await.job.unwrap().cached_from, pipeline.jobs[0].id);
    let fresh = fixture.client().jobs().rerun_pipeline(rerun(true)).await.unwrap().into_inner().pipeline.unwrap();
    assert_eq!(worker.next_task().await.unwrap().job_id, fresh.jobs[0].id);
}

#[tokio::test]
async fn an_alarm_that_nobody_needed_is_no_fault_of_its_pipeline() {
    let fixture = Fixture::start().await;
    let alarm = named("alarm", when("on_failure", after(probe(1), &["probe"])));
    let pipeline = fixture.submit_pipeline(vec![probe(1), alarm]).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    let lease = worker.next_task().await.unwrap().lease.unwrap();
    worker.complete(&lease, answered()).await.unwrap();
    fixture.job_in(&pipeline.jobs[1].id, "skipped").await;
    let request = v1::GetPipelineRequest { id: pipeline.id };
    assert_eq!(fixture.client().jobs().get_pipeline(request).await.unwrap().into_inner().state, "succeeded");
}

#[tokio::test]
async fn the_answer_to_a_submission_says_what_is_stored() {
    let fixture = Fixture::start().await;
    let jobs = vec![
        named("one", v1::JobDefinition { priority: Some(7), ..probe(3) }),
        named("other", probe(1)),
        named("later", v1::JobDefinition { priority: Some(8), ..after(probe(2), &["other", "one"]) }),
    ];
    let answer = fixture.submit_pipeline(jobs).await;
    let request = v1::GetPipelineRequest { id: answer.id.clone() };
    let mut stored = fixture.client().jobs().get_pipeline(request).await.unwrap().into_inner();
    // Whoever submits has not waited yet.
    for job in &mut stored.jobs {
        job.waiting_reason.clear();
        job.looked_at_again_at = None;
    }
    assert_eq!(stored, answer);
}

#[tokio::test]
async fn what_a_cancelled_scrape_has_left_is_fetched_by_the_next_one() {
    let fixture = Fixture::start().await;
    let first = fixture.submit(vec![scrape(3)]).await;
    fixture.client().jobs().cancel_job(v1::CancelJobRequest { id: first[0].clone() }).await.unwrap();
    fixture.job_in(&first[0], "cancelled").await;
    let second = fixture.submit(vec![scrape(3)]).await;
    let _beside = fixture.submit(vec![scrape(3)]).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    let order = worker.next_task().await.unwrap();
    assert_eq!((&order.job_id, scrape_task(&order).sources.len()), (&second[0], 6), "what another is at is left to it");
}
