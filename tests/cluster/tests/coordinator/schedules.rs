//! Pipelines by the clock. Tests turn the clock by moving `next_at` in the database.

use ursa_cluster::until;
use ursa_proto::{ApiError, ErrorCode, v1};

use crate::fixture::{Fixture, job};

fn pipeline(name: &str) -> v1::PipelineSpec {
    let probe = job("probe", v1::job_definition::Spec::Probe(v1::ProbeSpec::default()));
    v1::PipelineSpec { name: name.into(), jobs: vec![probe], ..v1::PipelineSpec::default() }
}

fn request(name: &str, cron: &str, missed: &str) -> v1::PutScheduleRequest {
    v1::PutScheduleRequest {
        name: name.into(),
        cron: cron.into(),
        missed: missed.into(),
        time_zone: String::new(),
        pipeline: Some(pipeline(name)),
    }
}

impl Fixture {
    async fn put(&self, request: v1::PutScheduleRequest) -> Result<v1::Schedule, ApiError> {
        Ok(self.client().schedules().put_schedule(request).await?.into_inner())
    }

    /// Makes a schedule of one time a day that is about half a day away, so that no test meets it.
    async fn daily(&self, name: &str, missed: &str) -> v1::Schedule {
        let hour = self.ask("select extract(hour from now() at time zone 'UTC' + interval '12 hours')").await;
        self.put(request(name, &format!("0 {hour} * * *"), missed)).await.unwrap()
    }

    async fn schedule(&self, name: &str) -> v1::Schedule {
        let request = v1::GetScheduleRequest { name: name.into() };
        self.client().schedules().get_schedule(request).await.unwrap().into_inner()
    }

    async fn pause(&self, name: &str, paused: bool) {
        let request = v1::PauseScheduleRequest { name: name.into(), paused };
        assert_eq!(self.client().schedules().pause_schedule(request).await.unwrap().into_inner().paused, paused);
    }

    /// Has a schedule be due since as many days.
    async fn hang(&self, days: u32, which: &str) {
        self.sql(&format!("update schedules set next_at = next_at - interval '{days} days' where {which}")).await;
    }

    /// Waits until a schedule is due at `next_at` again.
    async fn moved_on(&self, schedule: &v1::Schedule) -> v1::Schedule {
        let look = || self.schedule(&schedule.name);
        until("the schedule to move on", look, |now| now.next_at == schedule.next_at).await
    }

    /// How many pipelines of that name were submitted.
    async fn submitted(&self, name: &str) -> usize {
        let page = Some(v1::PageRequest { size: 1000, token: String::new() });
        let request = v1::ListPipelinesRequest { page, ..v1::ListPipelinesRequest::default() };
        let list = self.client().jobs().list_pipelines(request).await.unwrap().into_inner();
        list.pipelines.iter().filter(|pipeline| pipeline.name == name).count()
    }
}

#[tokio::test]
async fn a_schedule_submits_its_pipeline_when_its_time_has_come() {
    let fixture = Fixture::start().await;
    let put = fixture.put(request("minutely", "* * * * *", "skip")).await.unwrap();
    assert_eq!((put.time_zone.as_str(), put.last_pipeline_id.as_str()), ("UTC", ""));
    assert_eq!(put.next_at.unwrap().seconds % 60, 0);
    fixture.sql("update schedules set next_at = date_trunc('minute', now())").await;
    let fired =
        until("the pipeline", || fixture.schedule("minutely"), |schedule| !schedule.last_pipeline_id.is_empty()).await;
    assert!(fired.last_at.is_some() && fired.last_error.is_empty(), "{fired:?}");
    let request = v1::GetPipelineRequest { id: fired.last_pipeline_id };
    let pipeline = fixture.client().jobs().get_pipeline(request).await.unwrap().into_inner();
    assert_eq!((pipeline.name.as_str(), pipeline.jobs.len()), ("minutely", 1));
    let running = |detail: &v1::Pipeline| detail.jobs[0].state == "running";
    assert!(running(&pipeline), "a job without dependencies starts at once: {pipeline:?}");
}

#[tokio::test]
async fn times_missed_while_no_coordinator_was_there_are_made_up_for_as_asked() {
    let mut fixture = Fixture::start().await;
    let mut schedules = Vec::new();
    for missed in ["skip", "once", "all"] {
        schedules.push(fixture.daily(missed, missed).await);
    }
    fixture.coordinator.crash().await;
    fixture.hang(4, "true").await;
    fixture.coordinator.resume().await.unwrap();
    for schedule in &schedules {
        fixture.moved_on(schedule).await;
    }
    let mut submitted = Vec::new();
    for schedule in &schedules {
        submitted.push(fixture.submitted(&schedule.name).await);
    }
    assert_eq!(submitted, [0, 1, 4]);
}

#[tokio::test]
async fn a_paused_schedule_submits_nothing_until_it_is_resumed() {
    let fixture = Fixture::start().await;
    let paused = fixture.daily("paused", "").await;
    let other = fixture.daily("other", "").await;
    assert_eq!(paused.missed, "once");
    fixture.pause("paused", true).await;
    fixture.hang(2, "name = 'paused'").await;
    fixture.hang(1, "name = 'other'").await;
    // What is due first is fired first, so the paused one had its turn.
    fixture.moved_on(&other).await;
    assert_eq!((fixture.submitted("other").await, fixture.submitted("paused").await), (1, 0));
    fixture.pause("paused", false).await;
    fixture.moved_on(&paused).await;
    assert_eq!(fixture.submitted("paused").await, 1);
}

#[tokio::test]
async fn two_coordinators_fire_once() {
    let fixture = Fixture::start().await;
    let _other = fixture.coordinator.start_beside(&[]).await.unwrap();
    let mut schedules = Vec::new();
    for number in 0..20 {
        schedules.push(fixture.daily(&format!("daily-{number}"), "all").await);
    }
    fixture.hang(5, "true").await;
    for schedule in &schedules {
        fixture.moved_on(schedule).await;
        assert_eq!(fixture.submitted(&schedule.name).await, 5, "{}", schedule.name);
    }
}

#[tokio::test]
async fn a_refused_submission_is_told_and_stops_nothing() {
    let fixture = Fixture::start().await;
    let daily = fixture.daily("daily", "").await;
    // The key of the firing to come, used for something else.
    let at = daily.next_at.unwrap().seconds - 86_400;
    fixture
        .sql(&format!(
            "insert into pipelines (id, name, project, idempotency_key, fingerprint, spec)
            select gen_random_uuid(), 'taken', 'default',
                'schedule daily ' || to_char(to_timestamp({at}) at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), '', '{{}}'"
        ))
        .await;
    fixture.hang(1, "true").await;
    let refused = fixture.moved_on(&daily).await;
    assert!(refused.last_error.contains("idempotency key"), "{refused:?}");
    assert_eq!((refused.last_pipeline_id.as_str(), refused.last_at), ("", None));
    fixture.sql("delete from pipelines").await;
    fixture.hang(2, "true").await;
    let fired = until("the next firing", || fixture.schedule("daily"), |now| !now.last_pipeline_id.is_empty()).await;
    assert_eq!(fired.last_error, "");
}

#[tokio::test]
async fn a_schedule_that_does_not_read_back_says_so_and_holds_up_no_other() {
    let fixture = Fixture::start().await;
    let (zone, pipeline, good) =
        (fixture.daily("zone", "").await, fixture.daily("pipeline", "").await, fixture.daily("good", "").await);
    let spoil = "update schedules set time_zone = 'Atlantis/Capital' where name = 'zone';
        update schedules set pipeline = '\\xffff' where name = 'pipeline'";
    fixture.sql(spoil).await;
    fixture.hang(3, "name <> 'good'").await;
    fixture.hang(1, "name = 'good'").await;
    fixture.moved_on(&good).await;
    assert_eq!(fixture.submitted("good").await, 1);
    // Mended, both show what was wrong.
    let mut mended = request("pipeline", &pipeline.cron, "");
    fixture.put(mended.clone()).await.unwrap();
    let told = fixture.moved_on(&pipeline).await;
    assert!(told.last_error.contains("cannot be read"), "{told:?}");
    let told = fixture.schedule("zone").await;
    assert!(told.last_error.contains("Atlantis/Capital") && told.next_at.is_none(), "{told:?}");
    mended.name = "zone".into();
    assert_eq!(fixture.put(mended).await.unwrap().next_at, zone.next_at);
}

#[tokio::test]
async fn another_pipeline_keeps_the_time_and_another_cron_makes_a_new_one() {
    let fixture = Fixture::start().await;
    let daily = fixture.daily("daily", "").await;
    fixture.pause("daily", true).await;
    fixture.hang(1, "true").await;
    let due = fixture.schedule("daily").await.next_at;
    let mut changed = request("daily", &daily.cron, "all");
    changed.pipeline = Some(pipeline("better"));
    let kept = fixture.put(changed.clone()).await.unwrap();
    assert_eq!((kept.next_at, kept.missed.as_str(), kept.paused), (due, "all", true));
    assert_eq!(kept.pipeline.unwrap().name, "better");
    changed.time_zone = "Asia/Kathmandu".into();
    let moved = fixture.put(changed).await.unwrap();
    assert!(moved.next_at.unwrap().seconds > due.unwrap().seconds + 3600, "{moved:?}");
}

#[tokio::test]
async fn schedules_are_listed_page_by_page_and_can_be_forgotten() {
    let fixture = Fixture::start().await;
    for name in ["b", "c", "a"] {
        fixture.daily(name, "").await;
    }
    let mut schedules = fixture.client().schedules();
    let page = |token: String| v1::ListSchedulesRequest { page: Some(v1::PageRequest { size: 2, token }) };
    let names =
        |list: &v1::ListSchedulesResponse| list.schedules.iter().map(|one| one.name.clone()).collect::<Vec<_>>();
    let first = schedules.list_schedules(page(String::new())).await.unwrap().into_inner();
    assert_eq!(names(&first), ["a", "b"]);
    let second = schedules.list_schedules(page(first.next_page_token)).await.unwrap().into_inner();
    assert_eq!((names(&second), second.next_page_token.as_str()), (vec!["c".to_owned()], ""));
    schedules.delete_schedule(v1::DeleteScheduleRequest { name: "b".into() }).await.unwrap();
    let gone = schedules.get_schedule(v1::GetScheduleRequest { name: "b".into() }).await.unwrap_err();
    assert_eq!(ApiError::from(gone).code, ErrorCode::NotFound);
    let twice = schedules.delete_schedule(v1::DeleteScheduleRequest { name: "b".into() }).await.unwrap_err();
    assert_eq!(ApiError::from(twice).code, ErrorCode::NotFound);
}

type Spoil = fn(&mut v1::PutScheduleRequest);

#[tokio::test]
async fn a_schedule_that_cannot_work_is_refused_with_a_reason() {
    let fixture = Fixture::start().await;
    let spoils: [(&str, Spoil); 9] = [
        ("name \"../x\" is not a name", |request| request.name = "../x".into()),
        ("the hour field \"25\"", |request| request.cron = "0 25 * * *".into()),
        ("give five", |request| request.cron = "@daily".into()),
        ("never comes", |request| request.cron = "0 0 31 2 *".into()),
        ("did you mean \"Europe/Berlin\"?", |request| request.time_zone = "Europe/Brelin".into()),
        ("known are skip, once, all", |request| request.missed = "never".into()),
        ("pipeline: is missing", |request| request.pipeline = None),
        ("the pipeline has no jobs", |request| request.pipeline.as_mut().unwrap().jobs.clear()),
        ("jobs.probe.spec: is missing", |request| request.pipeline.as_mut().unwrap().jobs[0].spec = None),
    ];
    for (expected, spoil) in spoils {
        let mut request = request("daily", "0 3 * * *", "");
        spoil(&mut request);
        let error = fixture.put(request).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidArgument, "{error}");
        assert!(error.message.contains(expected), "{expected}: {error}");
    }
    let list = fixture.client().schedules().list_schedules(v1::ListSchedulesRequest::default()).await.unwrap();
    assert!(list.into_inner().schedules.is_empty());
}
