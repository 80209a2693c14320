//! Lists, page by page, while rows come and go: none is told twice, and none that stays is missed.

use std::future::Future;

use ursa_client::pages::{Answer, Page};
use ursa_proto::{ApiError, ErrorCode, v1};

use crate::fixture::{Fixture, probe};

const DATASET: &str = "00000000-0000-4000-8000-0000000000d0";
const SNAPSHOT: &str = "00000000-0000-4000-8000-0000000000e0";

/// How rows are made and removed, by a digit that is their place in the list's order.
struct Rows {
    add: fn(u32) -> String,
    remove: fn(u32) -> String,
    highest_first: bool,
}

/// The id of a row.
fn id(row: u32) -> String {
    format!("00000000-0000-4000-8000-00000000000{row}")
}

/// The digit of a row by its id.
fn digit(id: &str) -> String {
    id[id.len() - 1..].to_owned()
}

/// Reads a list in pages of two rows, with something that happens after the first; the rows' keys.
async fn leaf_through<L, Fut>(
    ask: impl Fn(Option<v1::PageRequest>) -> Fut,
    key: impl Fn(&L::Row) -> String,
    meanwhile: impl AsyncFnOnce(),
) -> Vec<String>
where
    L: Page,
    Fut: Future<Output = Answer<L>>,
{
    let (mut keys, mut token, mut meanwhile) = (Vec::new(), String::new(), Some(meanwhile));
    loop {
        let mut page = ask(Some(v1::PageRequest { size: 2, token })).await.unwrap().into_inner();
        assert!(page.rows().len() <= 2, "{}", page.rows().len());
        keys.extend(page.rows().iter().map(&key));
        token = std::mem::take(page.next_page_token());
        if token.is_empty() {
            return keys;
        }
        if let Some(happens) = meanwhile.take() {
            happens().await;
        }
    }
}

/// Leafs through rows 2, 4, 6 and 8, of which the last one of the first page goes, while one comes that belongs before that
/// page and one that belongs behind it; and asks for pages that there cannot be.
async fn check<L, Fut>(
    fixture: &Fixture,
    rows: Rows,
    ask: impl Fn(Option<v1::PageRequest>) -> Fut,
    key: impl Fn(&L::Row) -> String,
) where
    L: Page,
    Fut: Future<Output = Answer<L>>,
{
    for row in [2, 4, 6, 8] {
        fixture.sql(&(rows.add)(row)).await;
    }
    let (goes, comes, expected) = if rows.highest_first {
        (6, [9, 5], ["8", "6", "5", "4", "2"])
    } else {
        (4, [1, 5], ["2", "4", "5", "6", "8"])
    };
    let seen = leaf_through(&ask, key, async || {
        fixture.sql(&(rows.remove)(goes)).await;
        for row in comes {
            fixture.sql(&(rows.add)(row)).await;
        }
    });
    assert_eq!(seen.await, expected, "{}", (rows.add)(2));
    for (size, token, complaint) in [(1001, "", "page.size"), (2, "../x", "page.token")] {
        let page = v1::PageRequest { size, token: token.into() };
        let error = ApiError::from(ask(Some(page)).await.map(drop).unwrap_err());
        assert_eq!(error.code, ErrorCode::InvalidArgument, "{error}");
        assert!(error.message.starts_with(complaint), "{error}");
    }
}

/// All of one name, which tells none from another.
#[tokio::test]
async fn workers_are_leafed_through_by_name_and_id() {
    let fixture = Fixture::start().await;
    let rows = Rows {
        add: |row| {
            let id = id(row);
            format!(
                "insert into workers (id, name, version, slots, kinds) values ('{id}', 'the old den', 'test', 1, '{{}}')"
            )
        },
        remove: |row| format!("delete from workers where id = '{}'", id(row)),
        highest_first: false,
    };
    let ask = async |page| fixture.client().workers().list_workers(v1::ListWorkersRequest { page }).await;
    check(&fixture, rows, ask, |worker: &v1::Worker| digit(&worker.id)).await;
}

#[tokio::test]
async fn nodes_are_leafed_through_by_name_and_id() {
    let fixture = Fixture::start().await;
    let rows = Rows {
        add: |row| {
            // The ids lie the other way round.
            let id = id(9 - row);
            format!(
                "insert into nodes (id, name, version, http_address, grpc_address) values ('{id}', '{row}', 'test', '', '')"
            )
        },
        remove: |row| format!("delete from nodes where name = '{row}'"),
        highest_first: false,
    };
    let ask = async |page| fixture.client().nodes().list_nodes(v1::ListNodesRequest { page }).await;
    check(&fixture, rows, ask, |node: &v1::Node| node.name.clone()).await;
}

#[tokio::test]
async fn projects_and_queues_are_leafed_through() {
    let fixture = Fixture::start().await;
    let client = fixture.client();
    fixture.sql("delete from projects").await;
    let rows = Rows {
        add: |row| format!("insert into projects (name) values ('{row}')"),
        remove: |row| format!("delete from projects where name = '{row}'"),
        highest_first: false,
    };
    let ask = async |page| client.queues().list_projects(v1::ListProjectsRequest { page }).await;
    check(&fixture, rows, ask, |project: &v1::Project| project.name.clone()).await;

    let ask = async |page| client.queues().list_queues(v1::ListQueuesRequest { page }).await;
    let all: Vec<_> = ask(None).await.unwrap().into_inner().queues.into_iter().map(|queue| queue.kind).collect();
    assert!(all.starts_with(&["scrape".into(), "verify".into()]), "{all:?}");
    assert_eq!(leaf_through(&ask, |queue: &v1::Queue| queue.kind.clone(), async || {}).await, all);
    let page = Some(v1::PageRequest { size: 1, token: "wolves".into() });
    assert_eq!(ApiError::from(ask(page).await.unwrap_err()).code, ErrorCode::InvalidArgument);
}

#[tokio::test]
async fn schedules_webhooks_and_deliveries_are_leafed_through() {
    let fixture = Fixture::start().await;
    let client = fixture.client();
    let rows = Rows {
        add: |row| {
            format!(
                "insert into schedules (name, project, cron, time_zone, missed, pipeline)
                values ('{row}', 'default', '0 3 * * *', 'UTC', 'once', '')"
            )
        },
        remove: |row| format!("delete from schedules where name = '{row}'"),
        highest_first: false,
    };
    let ask = async |page| client.schedules().list_schedules(v1::ListSchedulesRequest { page }).await;
    check(&fixture, rows, ask, |schedule: &v1::Schedule| schedule.name.clone()).await;

    let rows = Rows {
        add: |row| {
            format!("insert into webhooks (id, url, secret, kinds) values ('{}', 'http://a/', '', '{{}}')", id(row))
        },
        remove: |row| format!("delete from webhooks where id = '{}'", id(row)),
        highest_first: false,
    };
    let ask = async |page| client.webhooks().list_webhooks(v1::ListWebhooksRequest { page }).await;
    check(&fixture, rows, ask, |webhook: &v1::Webhook| digit(&webhook.id)).await;
    let one = client.webhooks().get_webhook(v1::GetWebhookRequest { id: id(2) }).await.unwrap().into_inner();
    assert_eq!((one.id, one.url.as_str()), (id(2), "http://a/"));
    let gone = client.webhooks().get_webhook(v1::GetWebhookRequest { id: id(4) }).await.unwrap_err();
    assert_eq!(ApiError::from(gone).code, ErrorCode::NotFound);

    let rows = Rows {
        add: |row| {
            format!(
                "insert into deliveries (id, webhook_id, event_id, kind, body, state) overriding system value
                values ({row}, '{}', 1, 'job.running', '', 'delivered')",
                id(2)
            )
        },
        remove: |row| format!("delete from deliveries where id = {row}"),
        highest_first: true,
    };
    let request = |page| v1::ListDeliveriesRequest { page, webhook_id: id(2) };
    let ask = async |page| client.webhooks().list_deliveries(request(page)).await;
    check(&fixture, rows, ask, |delivery: &v1::Delivery| delivery.id.to_string()).await;
}

#[tokio::test]
async fn datasets_and_what_is_in_them_are_leafed_through() {
    let fixture = Fixture::start().await;
    let client = fixture.client();
    let rows = Rows {
        add: |row| format!("insert into datasets (id, name) values ('{}', '{row}')", id(row)),
        remove: |row| format!("delete from datasets where name = '{row}'"),
        highest_first: false,
    };
    let ask = async |page| client.datasets().list_datasets(v1::ListDatasetsRequest { page }).await;
    check(&fixture, rows, ask, |dataset: &v1::Dataset| dataset.name.clone()).await;

    let bears = format!(
        "insert into datasets (id, name) values ('{DATASET}', 'bears');
        insert into classes (dataset_id, index, name) values ('{DATASET}', 0, 'black');
        insert into shards (key, dataset_id, kind, task_id, attempt, sha256, bytes, verified)
        values ('shard', '{DATASET}', 'raw', '{DATASET}', 1, '', 1, true)"
    );
    fixture.sql(&bears).await;
    let rows = Rows {
        add: |row| {
            format!(
                "insert into snapshots (id, dataset_id, number, seed, valid_percent, digest, classes, job_id)
                values ('{}', '{DATASET}', {row}, 42, 20, '{row}', '[]', '{DATASET}')",
                id(row)
            )
        },
        remove: |row| format!("delete from snapshots where number = {row}"),
        highest_first: true,
    };
    let request = |page| v1::ListSnapshotsRequest { dataset: "bears".into(), page };
    let ask = async |page| client.datasets().list_snapshots(request(page)).await;
    check(&fixture, rows, ask, |snapshot: &v1::Snapshot| snapshot.number.to_string()).await;

    let request = |page| v1::ListSourcesRequest { dataset: "bears".into(), page, ..Default::default() };
    let ask = async |page| client.datasets().list_sources(request(page)).await;
    let rows = Rows { add: source, remove: forget_source, highest_first: false };
    check(&fixture, rows, ask, |source: &v1::Source| digit(&source.id)).await;

    fixture.sql("delete from sources").await;
    let rows = Rows {
        add: |row| {
            format!(
                "{}; insert into images (id, dataset_id, class_index, sha256, bytes, raw_shard, raw_offset, raw_length)
                values ('{}', '{DATASET}', 0, '', 1, 'shard', 0, 1)",
                source(row),
                id(row)
            )
        },
        remove: |row| format!("delete from images where id = '{}'; {}", id(row), forget_source(row)),
        highest_first: false,
    };
    let request = |page| v1::ListImagesRequest { dataset: "bears".into(), page, ..Default::default() };
    let ask = async |page| client.datasets().list_images(request(page)).await;
    check(&fixture, rows, ask, |image: &v1::Image| digit(&image.id)).await;
}

fn source(row: u32) -> String {
    format!(
        "insert into sources (id, dataset_id, class_index, list_name, line, url, job_id)
        values ('{}', '{DATASET}', 0, 'urls_black.txt', {row}, 'http://web.test/{row}.jpg', '{DATASET}')",
        id(row)
    )
}

fn forget_source(row: u32) -> String {
    format!("delete from sources where id = '{}'", id(row))
}

/// The models are all registered at the same time, which tells none from another.
#[tokio::test]
async fn models_and_endpoints_are_leafed_through() {
    let fixture = Fixture::start().await;
    let client = fixture.client();
    let snapshot = format!(
        "insert into datasets (id, name) values ('{DATASET}', 'bears');
        insert into snapshots (id, dataset_id, number, seed, valid_percent, digest, classes, job_id)
        values ('{SNAPSHOT}', '{DATASET}', 1, 42, 20, '', '[]', '{DATASET}')"
    );
    fixture.sql(&snapshot).await;
    let rows = Rows {
        add: |row| {
            format!(
                "insert into models (digest, architecture, classes, error_rate, model_json, job_id, task_id, attempt,
                    snapshot_id, created_at)
                values ('{row}', 'resnet18', '[]', 0, '{{}}', '{DATASET}', '{DATASET}', 1, '{SNAPSHOT}',
                    '2026-01-01 00:00:00.123456Z')"
            )
        },
        remove: |row| format!("delete from models where digest = '{row}'"),
        highest_first: true,
    };
    let ask = async |page| client.models().list_models(v1::ListModelsRequest { page }).await;
    check(&fixture, rows, ask, |model: &v1::Model| model.digest.clone()).await;

    let rows = Rows {
        add: |row| format!("insert into endpoints (name, model_digest) values ('{row}', '2')"),
        remove: |row| format!("delete from endpoints where name = '{row}'"),
        highest_first: false,
    };
    let ask = async |page| client.endpoints().list_endpoints(v1::ListEndpointsRequest { page }).await;
    check(&fixture, rows, ask, |endpoint: &v1::Endpoint| endpoint.name.clone()).await;
}

#[tokio::test]
async fn pipelines_jobs_and_tasks_are_leafed_through() {
    let fixture = Fixture::start().await;
    let client = fixture.client();
    let (mut pipelines, mut jobs) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let pipeline = fixture.submit_pipeline(vec![probe(3)]).await;
        pipelines.insert(0, pipeline.id);
        jobs.insert(0, pipeline.jobs[0].id.clone());
    }
    let more = async || {
        fixture.submit(vec![probe(1)]).await;
    };
    let ask = async |page| client.jobs().list_pipelines(v1::ListPipelinesRequest { page, ..Default::default() }).await;
    assert_eq!(leaf_through(ask, |pipeline: &v1::Pipeline| pipeline.id.clone(), &more).await, pipelines);
    let ask = async |page| client.jobs().list_jobs(v1::ListJobsRequest { page, ..Default::default() }).await;
    let seen = leaf_through(ask, |job: &v1::Job| job.id.clone(), &more).await;
    assert_eq!(seen[1..], jobs, "the one that came meanwhile was there before");
    let request = |page| v1::ListTasksRequest { page, job_id: jobs[0].clone(), ..Default::default() };
    let ask = async |page| client.jobs().list_tasks(request(page)).await;
    assert_eq!(leaf_through(&ask, |task: &v1::Task| task.ordinal.to_string(), &more).await, ["0", "1", "2"]);
    let page = Some(v1::PageRequest { size: 1, token: jobs[0].clone() });
    assert_eq!(ApiError::from(ask(page).await.unwrap_err()).code, ErrorCode::InvalidArgument);
}
