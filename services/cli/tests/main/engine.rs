//! What is said to the coordinator about jobs, tasks, projects, schedules and webhooks, and how its answers are shown.

use serde_json::{Value, json};
use ursa_proto::v1;

use crate::fake::{Fake, Script};
use crate::{text, ursa};

fn at(seconds: i64) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds, nanos: 0 }
}

/// A snapshot job that waits for a fetch of long ago, and a training run whose work was done before.
fn script() -> Script {
    let freeze = v1::Job {
        id: "j1".into(),
        name: "freeze".into(),
        kind: "snapshot".into(),
        state: "waiting".into(),
        project: "zoo".into(),
        priority: 7,
        created_at: Some(at(1000)),
        waiting_reason: "the queue snapshot is paused".into(),
        ..v1::Job::default()
    };
    let train = v1::Job {
        id: "j2".into(),
        name: "train".into(),
        kind: "train".into(),
        state: "succeeded".into(),
        project: "den".into(),
        depends_on: vec!["j1".into()],
        cached_from: "j0".into(),
        created_at: Some(at(4_000_000_000)),
        ..v1::Job::default()
    };
    let detail = |job, spec: Value| v1::JobDetail {
        job: Some(job),
        spec_json: spec.to_string(),
        policy_json: json!({"priority": 7}).to_string(),
        ..v1::JobDetail::default()
    };
    let stages = json!([{"epochs": 4, "rate": {"flat": 3e-3}, "frozen": false}]);
    let recipe = json!({"architecture": "resnet18", "stages": stages, "batch_size": 64, "image_size": 64, "seed": 42});
    let spec = json!({"kind": "train", "snapshot": {"from_job": "freeze"}, "recipe": recipe, "model": null,
        "rate": null, "seeds": 1, "train_percents": [100]});
    Script {
        details: vec![
            detail(freeze, json!({"kind": "snapshot", "dataset": "bears", "seed": 42, "valid_percent": 20})),
            detail(train, spec),
        ],
        ..Script::default()
    }
}

/// Runs a command that must work; what it printed.
pub(crate) async fn printed(address: &str, arguments: &[&str]) -> String {
    let output = ursa(address, arguments).await;
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

pub(crate) async fn json_of(address: &str, arguments: &[&str]) -> Value {
    serde_json::from_str(&printed(address, &[arguments, &["--output", "json"]].concat()).await).unwrap()
}

/// Runs a command that must be refused; its exit code and what it complained of.
async fn refused(address: &str, arguments: &[&str]) -> (i32, String) {
    let output = ursa(address, arguments).await;
    assert!(!output.status.success(), "{arguments:?}: {}", text(&output.stdout));
    (output.status.code().unwrap(), text(&output.stderr))
}

#[tokio::test]
async fn jobs_say_whose_they_are_why_they_wait_and_whose_work_they_took_over() {
    let (address, _fake) = Fake::start(script()).await;
    let table = printed(&address, &["jobs", "list"]).await;
    for said in ["zoo", "the queue snapshot is paused", "succeeded (cached)", "from job j0"] {
        assert!(table.contains(said), "{said:?} is missing:\n{table}");
    }
    assert_eq!(json_of(&address, &["jobs", "list", "--kind", "train"]).await["jobs"][0]["cached_from"], "j0");
    let whole = printed(&address, &["jobs", "get", "j1"]).await;
    let why = "Why waiting  the queue snapshot is paused\n";
    assert!(whole.contains(why) && whole.contains("Priority     7"), "{whole}");
    assert_eq!(json_of(&address, &["jobs", "get", "j1"]).await["job"]["priority"], 7);
}

#[tokio::test]
async fn a_long_list_is_cut_at_the_limit_with_a_word_about_it() {
    let (address, _fake) = Fake::start(script()).await;
    for (command, rows) in [("jobs", "jobs"), ("queue", "queues")] {
        let output = ursa(&address, &[command, "list", "--limit", "1", "--output", "json"]).await;
        let list: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((list[rows].as_array().unwrap().len(), &list["next_page_token"]), (1, &json!("1")));
        assert!(text(&output.stderr).contains("more than these 1"), "{}", text(&output.stderr));
    }
}

#[tokio::test]
async fn a_filter_steers_jobs_part_by_part_to_the_end() {
    let part = |steered, left_alone, next: &str| v1::SteerJobsResponse { steered, left_alone, next_token: next.into() };
    let script = Script { steered: vec![part(500, 0, "a"), part(20, 3, "")], ..script() };
    let (address, fake) = Fake::start(script).await;
    let filter = ["jobs", "cancel", "--project", "zoo", "--state", "waiting", "--older-than", "2days"];
    let counts = json_of(&address, &filter).await;
    assert_eq!((&counts["steered"], &counts["left_alone"]), (&json!(520), &json!(3)));
    let asked = |token: &str| format!("Cancel(true) project=\"zoo\" state=\"waiting\" old=true from {token:?}");
    assert_eq!(fake.asked(), [asked(""), asked("a")]);
}

#[tokio::test]
async fn what_was_done_before_a_failure_is_said() {
    let part = v1::SteerJobsResponse { steered: 500, left_alone: 0, next_token: "a".into() };
    let (address, _fake) = Fake::start(Script { steered: vec![part], ..script() }).await;
    let (code, complaint) = refused(&address, &["jobs", "prioritise", "9", "--kind", "train"]).await;
    assert_eq!(code, 1);
    assert!(complaint.contains("stopped after 500 jobs were given another priority: it broke"), "{complaint}");
}

#[tokio::test]
async fn a_dry_run_lists_what_the_filter_finds_and_changes_nothing() {
    let (address, fake) = Fake::start(script()).await;
    let found = json_of(&address, &["jobs", "retry", "--older-than", "1h", "--dry-run"]).await;
    assert_eq!((found["jobs"].as_array().unwrap().len(), &found["jobs"][0]["id"]), (1, &json!("j1")));
    let found = json_of(&address, &["jobs", "prioritise", "9", "--name-prefix", "tr", "--dry-run"]).await;
    assert_eq!((found["jobs"].as_array().unwrap().len(), &found["jobs"][0]["id"]), (1, &json!("j2")));
    assert!(fake.asked().is_empty(), "{:?}", fake.asked());
}

#[tokio::test]
async fn nothing_is_steered_unless_it_is_said_which() {
    let (address, fake) = Fake::start(script()).await;
    for (arguments, said) in [
        (vec!["jobs", "cancel"], "say which jobs"),
        (vec!["jobs", "retry", "--project", ""], "say which jobs"),
        (vec!["jobs", "prioritise", "9"], "say which jobs"),
        (vec!["jobs", "prioritise", "10", "--kind", "train"], "10"),
        (vec!["jobs", "cancel", "j1", "--kind", "train"], "not both"),
        (vec!["jobs", "cancel", "--older-than", "yesterday"], "--older-than"),
        (vec!["tasks", "replay"], "say which tasks"),
        (vec!["tasks", "replay", "--all-dead"], "--job"),
    ] {
        let (code, complaint) = refused(&address, &arguments).await;
        assert_eq!(code, 2, "{arguments:?}");
        assert!(complaint.contains(said), "{arguments:?}: {complaint}");
    }
    assert!(fake.asked().is_empty(), "{:?}", fake.asked());
    printed(&address, &["jobs", "cancel", "j1"]).await;
    assert_eq!(fake.asked(), ["cancel j1"]);
}

fn dead_tasks(number: u32) -> Vec<v1::Task> {
    let attempt = v1::Attempt { error: "no space left".into(), worker_name: "forest-1".into(), ..Default::default() };
    let task = |ordinal| v1::Task {
        id: format!("t{ordinal}"),
        ordinal,
        job_id: "j1".into(),
        state: if ordinal % 2 == 0 { "dead" } else { "succeeded" }.into(),
        attempts: vec![attempt.clone()],
        ..v1::Task::default()
    };
    (0..number).map(task).collect()
}

#[tokio::test]
async fn tasks_are_listed_by_state_with_what_went_wrong_last() {
    let (address, _fake) = Fake::start(Script { tasks: dead_tasks(6), ..script() }).await;
    for arguments in [["tasks", "--job", "j1", "--state", "dead"].as_slice(), &["tasks", "list", "--state", "dead"]] {
        let table = printed(&address, arguments).await;
        assert!(table.contains("no space left") && table.contains("forest-1") && !table.contains("t3"), "{table}");
    }
    assert_eq!(json_of(&address, &["tasks"]).await["tasks"].as_array().unwrap().len(), 6);
}

#[tokio::test]
async fn dead_tasks_are_replayed_one_by_one_or_all_of_a_job() {
    let (address, fake) = Fake::start(Script { tasks: dead_tasks(2500), ..script() }).await;
    assert_eq!(json_of(&address, &["tasks", "replay", "t0", "t2"]).await["retried"], 2);
    assert_eq!(json_of(&address, &["tasks", "replay", "--all-dead", "--job", "j1"]).await["retried"], 1250);
    let asked =
        ["retry 2 tasks from t0 to t2", "retry 1000 tasks from t0 to t1998", "retry 250 tasks from t2000 to t2498"];
    assert_eq!(fake.asked(), asked);
}

#[tokio::test]
async fn a_pipeline_is_run_again_as_it_is_or_changed() {
    let (address, fake) = Fake::start(script()).await;
    assert_eq!(json_of(&address, &["rerun", "p"]).await["name"], "bears");
    printed(&address, &["rerun", "p", "--set", "train.epochs=12", "--set", "train.resources.gpus=2"]).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("probe.yaml");
    std::fs::write(&file, "{pipeline: other, jobs: {wait: {kind: probe, tasks: 2}}}").unwrap();
    let file = file.display().to_string();
    printed(&address, &["rerun", "p", "--fresh", "--file", &file, "--set", "wait.tasks=3"]).await;

    let [same, changed, other] = fake.reruns().try_into().unwrap();
    assert_eq!(same, v1::RerunPipelineRequest { id: "p".into(), ..Default::default() });
    let spec = changed.pipeline.unwrap();
    assert_eq!((spec.name.as_str(), spec.project.as_str(), spec.reuse), ("bears", "zoo", true));
    let Some(v1::job_definition::Spec::Train(train)) = &spec.jobs[1].spec else { panic!("{spec:?}") };
    let recipe = train.recipe.as_ref().unwrap();
    assert_eq!((recipe.epochs, recipe.image_size), (12, 64), "the rest stays");
    assert_eq!((spec.jobs[1].priority, spec.jobs[1].resources.as_ref().unwrap().gpus), (Some(7), Some(2)));
    assert!(other.fresh);
    let Some(v1::job_definition::Spec::Probe(probe)) = &other.pipeline.unwrap().jobs[0].spec else { panic!() };
    assert_eq!(probe.tasks, 3);

    let (code, complaint) = refused(&address, &["rerun", "p", "--set", "train.epchs=12"]).await;
    assert_eq!(code, 1);
    assert!(complaint.contains("did you mean \"epochs\"?"), "{complaint}");
    assert_eq!(fake.reruns().len(), 3);
}

#[tokio::test]
async fn projects_and_queues_are_shown_changed_paused_and_resumed() {
    let (address, fake) = Fake::start(script()).await;
    let table = printed(&address, &["project", "list"]).await;
    assert!(table.contains("MAX GPUS") && table.contains("zoo"), "{table}");
    let table = printed(&address, &["queue", "list"]).await;
    assert!(table.contains("3 min 5 s"), "{table}");
    assert_eq!(table.matches("3 min 5 s").count(), 1, "a queue without a ready task has no oldest one:\n{table}");
    printed(&address, &["project", "put", "zoo", "--weight", "2.5", "--max-gpus", "0"]).await;
    for command in [["project", "pause", "zoo"], ["project", "resume", "zoo"], ["queue", "pause", "train"]] {
        printed(&address, &command).await;
    }
    assert_eq!(json_of(&address, &["queue", "resume", "train"]).await["paused"], false);
    let put = "PutProjectRequest { name: \"zoo\", weight: 2.5, max_running: None, max_gpus: Some(0) }";
    let paused = ["project zoo paused=true", "project zoo paused=false", "queue train paused=true"];
    assert_eq!(fake.asked(), [&[put], paused.as_slice(), &["queue train paused=false"]].concat());
}

#[tokio::test]
async fn workers_are_drained_and_resumed_by_name_or_id() {
    let gpu =
        v1::Gpu { model: "NVIDIA H100".into(), free_bytes: 60 << 30, driver: "550.54".into(), ..Default::default() };
    let forest = v1::Worker {
        id: "w1".into(),
        name: "forest-1".into(),
        state: "online".into(),
        gpus: vec![gpu],
        labels: [("zone".into(), "cellar".into())].into(),
        ..Default::default()
    };
    let (address, fake) = Fake::start(Script { workers: vec![forest], ..script() }).await;
    for spelling in ["worker", "workers"] {
        let table = printed(&address, &[spelling, "list"]).await;
        for said in ["NVIDIA H100", "60.0 GiB", "550.54", "zone=cellar"] {
            assert!(table.contains(said), "{said:?} is missing:\n{table}");
        }
    }
    assert_eq!(json_of(&address, &["worker", "drain", "forest-1"]).await["draining"], true);
    assert!(printed(&address, &["worker", "drain", "w1"]).await.contains("online, draining"));
    assert_eq!(json_of(&address, &["worker", "resume", "w1"]).await["draining"], false);
    assert_eq!(fake.asked(), ["worker w1 drain=true", "worker w1 drain=true", "worker w1 drain=false"]);
    let (_, complaint) = refused(&address, &["worker", "drain", "nobody"]).await;
    assert!(complaint.contains("there is no worker \"nobody\""), "{complaint}");
}

#[tokio::test]
async fn a_schedule_is_put_shown_paused_and_forgotten() {
    let (address, fake) = Fake::start(script()).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("probe.yaml");
    std::fs::write(&file, "{pipeline: night, jobs: {wait: {kind: probe}}}").unwrap();
    let file = file.display().to_string();
    let zone = ["--time-zone", "Europe/Berlin", "--missed", "skip"];
    let put = ["schedule", "put", "nightly", "--cron", "0 3 * * *", "--file", &file];
    assert_eq!(json_of(&address, &put).await["cron"], "0 3 * * *");
    printed(&address, &[put.as_slice(), &zone].concat()).await;
    let shown = printed(&address, &["schedule", "show", "nightly"]).await;
    assert!(shown.contains("Last error   the project zoo does not exist"), "{shown}");
    assert!(printed(&address, &["schedule", "pause", "nightly"]).await.contains("true"));
    assert_eq!(json_of(&address, &["schedule", "resume", "nightly"]).await["paused"], false);
    let gone = printed(&address, &["schedule", "delete", "nightly"]).await;
    assert_eq!(gone.trim(), "schedule nightly is forgotten");
    assert_eq!(json_of(&address, &["schedule", "list"]).await["schedules"][2]["name"], "nightly-2");
    let asked = [
        "nightly \"0 3 * * *\" UTC once night",
        "nightly \"0 3 * * *\" Europe/Berlin skip night",
        "schedule nightly paused=true",
        "schedule nightly paused=false",
        "delete schedule nightly",
    ];
    assert_eq!(fake.asked(), asked);
}

#[tokio::test]
async fn a_webhook_tells_its_secret_once_and_its_deliveries_always() {
    let delivery = v1::Delivery {
        id: 9,
        kind: "job.failed".into(),
        state: "failed".into(),
        http_status: 503,
        error: "the answer was 503".into(),
        ..Default::default()
    };
    let (address, fake) = Fake::start(Script { deliveries: vec![delivery], ..script() }).await;
    let add = ["webhook", "add", "https://example.org/hook", "--kind", "job.", "--kind", "model.", "--project", "zoo"];
    let output = ursa(&address, &add).await;
    assert!(text(&output.stdout).contains("5ec7e7") && text(&output.stderr).contains("not shown again"));
    assert_eq!(json_of(&address, &["webhook", "add", "https://example.org"]).await["secret"], "5ec7e7");
    let table = printed(&address, &["webhook", "deliveries", "w"]).await;
    assert!(table.contains("503") && table.contains("job.failed"), "{table}");
    assert_eq!(json_of(&address, &["webhook", "redeliver", "9"]).await["state"], "pending");
    assert_eq!(json_of(&address, &["webhook", "remove", "w"]).await, json!({}));
    printed(&address, &["webhook", "list"]).await;
    let asked = [
        "webhook https://example.org/hook project=\"zoo\" kinds=[\"job.\", \"model.\"]",
        "webhook https://example.org project=\"\" kinds=[]",
        "redeliver 9",
        "delete webhook w",
    ];
    assert_eq!(fake.asked(), asked);
}

#[tokio::test]
async fn every_command_explains_itself_and_its_group_has_an_example() {
    for command in [
        ["rerun"].as_slice(),
        &["jobs", "list"],
        &["jobs", "logs"],
        &["jobs", "cancel"],
        &["jobs", "retry"],
        &["jobs", "prioritise"],
        &["tasks"],
        &["tasks", "replay"],
        &["project", "put"],
        &["queue", "pause"],
        &["worker", "drain"],
        &["schedule", "put"],
        &["webhook", "add"],
    ] {
        let help = printed("http://127.0.0.1:1", &[command, &["-h"]].concat()).await;
        assert!(help.contains("Example"), "{command:?}:\n{help}");
    }
}
