//! Whether everything answers, asked the way users ask: through the gRPC API, and the dashboard through HTTP.

use std::time::Duration;

use anyhow::bail;
use tokio::time::Instant;
use ursa_client::{Client, pages};
use ursa_proto::{ApiError, v1};

use super::record::Record;

const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(50);
const ANSWER: Duration = Duration::from_secs(10);

/// Waits until every peer of `record` is online at the coordinator and the dashboard answers.
pub(super) async fn wait(client: &Client, record: &Record) -> anyhow::Result<()> {
    let begin = Instant::now();
    loop {
        let Some(missing) = missing(client, record).await else { return Ok(()) };
        if begin.elapsed() > PATIENCE {
            bail!("{missing}, {} s after everything was started", PATIENCE.as_secs());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// What is not there yet, in words.
async fn missing(client: &Client, record: &Record) -> Option<String> {
    let peers = match peers(client).await {
        Ok(peers) => peers,
        Err(error) => return Some(format!("the coordinator does not answer: {error}")),
    };
    if let Some(name) = absent(record, &peers) {
        return Some(format!("{name} is not online at the coordinator"));
    }
    dashboard(&record.dashboard).await.err().map(|error| format!("the dashboard does not answer: {error:#}"))
}

/// What the coordinator knows of.
#[derive(Debug, Default)]
struct Peers {
    workers: Vec<v1::Worker>,
    nodes: Vec<v1::Node>,
}

async fn peers(client: &Client) -> Result<Peers, ApiError> {
    let workers = async |page| client.workers().list_workers(v1::ListWorkersRequest { page }).await;
    let nodes = async |page| client.nodes().list_nodes(v1::ListNodesRequest { page }).await;
    Ok(Peers { workers: pages::all(workers).await?, nodes: pages::all(nodes).await? })
}

/// The first peer that is not online. Names repeat from one `ursa up` to the next; ids and addresses tell them apart.
fn absent<'a>(record: &'a Record, peers: &Peers) -> Option<&'a str> {
    let has_worker = |id: &str| peers.workers.iter().any(|worker| worker.id == id && worker.state == "online");
    let has_node = |http: &str| peers.nodes.iter().any(|node| node.http_address == http && node.state == "online");
    let worker = record.workers.iter().find(|worker| !has_worker(&worker.worker_id)).map(|worker| &worker.name);
    let node = || record.nodes.iter().find(|node| !has_node(&node.http)).map(|node| &node.name);
    worker.or_else(node).map(String::as_str)
}

async fn dashboard(address: &str) -> anyhow::Result<()> {
    let client = crate::web::client(ANSWER)?;
    client.get(address).send().await?.error_for_status()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::up::record;

    #[test]
    fn a_peer_counts_when_it_is_online_itself() {
        let worker = record::Worker { name: "worker-1".into(), worker_id: "new".into() };
        let node = record::Node { name: "node-1".into(), http: "http://n".into(), grpc: String::new() };
        let record = Record { workers: vec![worker], nodes: vec![node], ..Record::default() };
        let mut peers = Peers::default();
        let worker = |id: &str| v1::Worker { id: id.into(), state: "online".into(), ..v1::Worker::default() };
        peers.workers.push(worker("old"));
        assert_eq!(absent(&record, &peers), Some("worker-1"));
        peers.workers.push(worker("new"));
        assert_eq!(absent(&record, &peers), Some("node-1"));
        let node =
            |state: &str| v1::Node { http_address: "http://n".into(), state: state.into(), ..v1::Node::default() };
        peers.nodes.push(node("offline"));
        assert_eq!(absent(&record, &peers), Some("node-1"));
        peers.nodes.push(node("online"));
        assert_eq!(absent(&record, &peers), None);
    }
}
