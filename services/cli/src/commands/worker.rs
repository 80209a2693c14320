//! `ursa worker`.

use anyhow::bail;
use clap::Subcommand;
use serde_json::{Value, json};
use ursa_client::{Client, pages};
use ursa_proto::{ApiError, v1};

use super::pages::Limit;
use crate::output::{Column, Output};
use crate::text;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List workers seen in the last day.
    List {
        #[command(flatten)]
        limit: Limit,
    },
    /// Have a worker finish what it has and take no more, for instance before its machine is switched off.
    #[command(after_help = "Examples:
  ursa worker drain forest-1
  ursa worker drain 0193a1b2-c3d4-7e5f-8a6b-123456789abc")]
    Drain {
        /// Its name or id.
        worker: String,
    },
    /// Have a drained worker take work again.
    Resume {
        /// Its name or id.
        worker: String,
    },
}

const WORKERS: &[Column] = &[
    ("ID", "id"),
    ("NAME", "name"),
    ("STATE", "state"),
    ("SLOTS", "slots"),
    ("RUNNING", "running"),
    ("GPUS", "gpus"),
    ("FREE", "free"),
    ("DRIVER", "driver"),
    ("KINDS", "kinds"),
    ("LABELS", "labels"),
    ("VERSION", "version"),
];

pub(crate) async fn run(command: &Command, client: &Client, output: &Output) -> anyhow::Result<()> {
    match command {
        Command::List { limit } => {
            let list =
                limit.walk(async |page| client.workers().list_workers(v1::ListWorkersRequest { page }).await).await?;
            output.print_shown(&list, "ListWorkersResponse", || list.workers.iter().map(row).collect(), WORKERS)
        }
        Command::Drain { worker } => drain(worker, true, client, output).await,
        Command::Resume { worker } => drain(worker, false, client, output).await,
    }
}

async fn drain(name_or_id: &str, drain: bool, client: &Client, output: &Output) -> anyhow::Result<()> {
    let ask = async |page| client.workers().list_workers(v1::ListWorkersRequest { page }).await;
    let id = find(&pages::all(ask).await?, name_or_id)?.id.clone();
    let request = v1::DrainWorkerRequest { id, drain };
    let worker = client.workers().drain_worker(request).await.map_err(ApiError::from)?.into_inner();
    output.print_shown(&worker, "Worker", || vec![row(&worker)], WORKERS)
}

/// The worker that is meant: by id, or by a name that only one has, those online before the others.
fn find<'a>(workers: &'a [v1::Worker], name_or_id: &str) -> anyhow::Result<&'a v1::Worker> {
    if let Some(worker) = workers.iter().find(|worker| worker.id == name_or_id) {
        return Ok(worker);
    }
    let mut named: Vec<_> = workers.iter().filter(|worker| worker.name == name_or_id).collect();
    if named.iter().any(|worker| worker.state == "online") {
        named.retain(|worker| worker.state == "online");
    }
    match named.as_slice() {
        [worker] => Ok(worker),
        [] => bail!("there is no worker {name_or_id:?}; `ursa worker list` shows those there are"),
        several => {
            let ids: Vec<_> = several.iter().map(|worker| worker.id.as_str()).collect();
            bail!("{} workers are called {name_or_id:?}; give the id of one: {}", ids.len(), ids.join(", "))
        }
    }
}

fn row(worker: &v1::Worker) -> Value {
    let state = if worker.draining { format!("{}, draining", worker.state) } else { worker.state.clone() };
    let gpus = |show: fn(&v1::Gpu) -> String| worker.gpus.iter().map(show).collect::<Vec<_>>();
    let mut drivers = gpus(|gpu| gpu.driver.clone());
    drivers.dedup();
    let mut labels: Vec<_> = worker.labels.iter().collect();
    labels.sort_unstable();
    let label =
        |(name, value): &(&String, &String)| if value.is_empty() { (*name).clone() } else { format!("{name}={value}") };
    json!({
        "id": worker.id,
        "name": worker.name,
        "state": state,
        "slots": worker.slots,
        "running": worker.running,
        "gpus": gpus(|gpu| gpu.model.clone()),
        "free": gpus(|gpu| text::bytes(gpu.free_bytes)),
        "driver": drivers,
        "kinds": if worker.kinds.is_empty() { vec!["all".to_owned()] } else { worker.kinds.clone() },
        "labels": labels.iter().map(label).collect::<Vec<_>>(),
        "version": worker.version,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(id: &str, name: &str, state: &str) -> v1::Worker {
        v1::Worker { id: id.into(), name: name.into(), state: state.into(), ..v1::Worker::default() }
    }

    #[test]
    fn a_worker_is_found_by_id_or_by_a_name_that_means_one() {
        let workers = [
            worker("1", "den", "offline"),
            worker("2", "den", "online"),
            worker("3", "cave", "online"),
            worker("4", "cave", "online"),
        ];
        assert_eq!(find(&workers, "1").unwrap().id, "1");
        assert_eq!(find(&workers, "den").unwrap().id, "2", "the one that is there");
        let several = find(&workers, "cave").unwrap_err().to_string();
        assert!(several.contains("2 workers are called \"cave\"") && several.contains("3, 4"), "{several}");
        let none = find(&workers, "dne").unwrap_err().to_string();
        assert!(none.contains("ursa worker list"), "{none}");
    }

    #[test]
    fn a_row_tells_what_jobs_can_ask_for() {
        let gpu = v1::Gpu {
            model: "NVIDIA H100".into(),
            free_bytes: 60 << 30,
            driver: "550.54".into(),
            ..v1::Gpu::default()
        };
        let row = row(&v1::Worker {
            gpus: vec![gpu.clone(), gpu],
            labels: [("zone".into(), "cellar".into()), ("ssd".into(), String::new())].into(),
            draining: true,
            ..worker("1", "den", "online")
        });
        assert_eq!(row["state"], "online, draining");
        assert_eq!((&row["free"], &row["driver"]), (&json!(["60.0 GiB", "60.0 GiB"]), &json!(["550.54"])));
        assert_eq!((&row["labels"], &row["kinds"]), (&json!(["ssd", "zone=cellar"]), &json!(["all"])));
    }
}
