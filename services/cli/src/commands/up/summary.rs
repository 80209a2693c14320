//! What is said when everything is ready.

use ursa_client::{COORDINATOR_VARIABLE, DEFAULT_COORDINATOR};

use super::record::Record;
use crate::output::{Format, line};

/// Prints where everything is: for people, or as one line with the content of `up.json`.
pub(super) fn print(record: &Record, format: Format) -> anyhow::Result<()> {
    match format {
        Format::Json => line(&serde_json::to_string(record)?),
        Format::Table => line(&text(record)),
    }
}

fn text(record: &Record) -> String {
    let nodes = record.nodes.iter().map(|node| format!("{} {}", node.name, node.http));
    let workers = record.workers.iter().map(|worker| worker.name.clone());
    let data = record.data_dir.display();
    let rows = [
        ("Dashboard", record.dashboard.clone()),
        ("Coordinator", record.coordinator.clone()),
        ("Nodes", listed(nodes, "none: models are trained, not served")),
        ("Workers", listed(workers, "none: nothing is fetched or trained")),
        ("Data", data.to_string()),
        ("Database", database(record)),
        ("Objects", record.object_store.clone()),
        ("Logs", format!("{data}/logs")),
    ];
    let rows = rows.map(|(title, value)| format!("  {title:<12} {value}")).join("\n");
    let elsewhere = if record.coordinator == DEFAULT_COORDINATOR {
        String::new()
    } else {
        format!("  export {COORDINATOR_VARIABLE}={}\n", record.coordinator)
    };
    format!(
        "Ursa is running.\n\n{rows}\n\nIn another terminal:\n{elsewhere}  ursa pipeline run bears.yaml --watch\n\n\
         Ctrl-C stops everything; the data stay."
    )
}

/// Where the tables are, for whoever wants to save or remove them.
fn database(record: &Record) -> String {
    let private = record.database_dir.as_ref().map(|folder| folder.display().to_string());
    private.unwrap_or_else(|| "as named by --database-url or DATABASE_URL".to_owned())
}

/// One per line, under each other.
fn listed(items: impl Iterator<Item = String>, none: &str) -> String {
    let items: Vec<String> = items.collect();
    if items.is_empty() { none.to_owned() } else { items.join(&format!("\n{}", " ".repeat(15))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::up::record::Node;

    #[test]
    fn people_read_where_everything_is_and_what_to_do() {
        let node =
            |number| Node { name: format!("node-{number}"), http: format!("http://{number}"), grpc: String::new() };
        let record = Record {
            coordinator: DEFAULT_COORDINATOR.into(),
            dashboard: "http://d".into(),
            nodes: vec![node(1), node(2)],
            data_dir: "/data".into(),
            ..Record::default()
        };
        let usual = text(&record);
        assert!(usual.contains("Nodes        node-1 http://1\n               node-2 http://2\n"), "{usual}");
        assert!(usual.contains("ursa pipeline run") && !usual.contains("export"), "{usual}");
        let elsewhere = text(&Record { coordinator: "http://127.0.0.1:9".into(), ..record });
        assert!(elsewhere.contains("export URSA_COORDINATOR=http://127.0.0.1:9"), "{elsewhere}");
    }
}
