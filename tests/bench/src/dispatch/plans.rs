//! How Postgres went about the claims of a coordinator at work: the plans by which it ran them, with what they read, which it
//! writes into its log while it is asked to (`auto_explain`).

use std::time::Duration;

use anyhow::ensure;
use serde_json::Value;

use crate::ground::Ground;

/// As the coordinator sends it.
const CLAIM: &str = include_str!("../../../../services/coordinator/src/store/sql/claim.sql");
/// The tables that fill. Everything else that a claim looks at stays small.
const FILLING: [&str; 3] = ["tasks", "attempts", "jobs"];
const BY_INDEX: [&str; 4] = ["Index Scan", "Index Only Scan", "Bitmap Heap Scan", "Tid Scan"];
/// What is written is no scan.
const WRITES: &str = "ModifyTable";

/// One claim as it was run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Claim {
    /// Pages of 8 KiB that it looked at, each time that it did.
    pub(crate) pages: f64,
    /// How it went through the tables that fill.
    pub(crate) scans: Vec<Scan>,
}

/// One way through a table that fills.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scan {
    /// As Postgres calls it, and the table.
    pub(crate) name: String,
    pub(crate) by_index: bool,
    pub(crate) pages: f64,
}

/// The claims that end within `time`.
pub(crate) async fn watch(ground: &Ground, time: Duration) -> anyhow::Result<Vec<Claim>> {
    let before = ground.postgres_log(0)?.len();
    ground.sql("alter system set auto_explain.log_min_duration = 0")?;
    ground.sql("select pg_reload_conf()")?;
    tokio::time::sleep(time).await;
    ground.sql("alter system reset auto_explain.log_min_duration")?;
    ground.sql("select pg_reload_conf()")?;
    let claims = claims(&String::from_utf8_lossy(&ground.postgres_log(before)?));
    ensure!(!claims.is_empty(), "Postgres wrote down no claim");
    Ok(claims)
}

/// The beginning of the claim, by which `pg_stat_statements` tells it from other statements.
pub(crate) fn claim_begins() -> &'static str {
    CLAIM.lines().next().unwrap_or_default()
}

/// Of a log, the entries that are plans of claims: every line of such an entry but the first begins with a tab.
fn claims(log: &str) -> Vec<Claim> {
    let entries = log.split("  plan:\n").skip(1);
    entries
        .filter_map(|entry| {
            let text: String = entry.lines().take_while(|line| line.starts_with('\t')).collect();
            let entry: Value = serde_json::from_str(&text).ok()?;
            let is_claim = entry["Query Text"].as_str()?.trim() == CLAIM.trim();
            is_claim.then(|| claim(&entry["Plan"]))
        })
        .collect()
}

fn claim(plan: &Value) -> Claim {
    Claim { pages: pages(plan), scans: nodes(plan).into_iter().filter_map(scan).collect() }
}

/// Of a node and all below it, every time that it was run.
fn pages(node: &Value) -> f64 {
    let number = |name: &str| node[name].as_f64().unwrap_or_default();
    number("Shared Hit Blocks") + number("Shared Read Blocks")
}

/// A node and all below it.
fn nodes(node: &Value) -> Vec<&Value> {
    let below = node["Plans"].as_array().into_iter().flatten().flat_map(nodes);
    std::iter::once(node).chain(below).collect()
}

fn scan(node: &Value) -> Option<Scan> {
    let (how, table) = (node["Node Type"].as_str()?, node["Relation Name"].as_str()?);
    let is_one = FILLING.contains(&table) && how != WRITES;
    is_one.then(|| Scan { name: format!("{how} of {table}"), by_index: BY_INDEX.contains(&how), pages: pages(node) })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// As Postgres logs a plan, with other lines around it.
    fn logged(query: &str, plan: &Value) -> String {
        let entry = serde_json::to_string_pretty(&json!({"Query Text": query, "Plan": plan})).unwrap();
        let entry = entry.replace('\n', "\n\t");
        format!(
            "2026-01-01 [7] LOG:  parameter changed\n2026-01-01 [8] LOG:  duration: 1.5 ms  plan:\n\t{entry}\n[9] LOG:\n"
        )
    }

    #[test]
    fn a_claim_that_goes_through_a_whole_table_is_found_out_wherever_it_does() {
        let below = json!([
            {"Node Type": "ModifyTable", "Relation Name": "attempts"},
            {"Node Type": "Limit", "Plans": [{"Node Type": "Index Scan", "Relation Name": "tasks", "Shared Hit Blocks": 4}]},
            {"Node Type": "Seq Scan", "Relation Name": "lanes"},
            {"Node Type": "Sort", "Plans": [{"Node Type": "Seq Scan", "Relation Name": "jobs", "Shared Read Blocks": 600}]},
        ]);
        let plan = json!({"Node Type": "Sort", "Shared Hit Blocks": 100, "Shared Read Blocks": 620, "Plans": below});
        let log = logged("select 1", &plan) + &logged(CLAIM, &plan);
        let scans = vec![
            Scan { name: "Index Scan of tasks".into(), by_index: true, pages: 4.0 },
            Scan { name: "Seq Scan of jobs".into(), by_index: false, pages: 600.0 },
        ];
        assert_eq!(claims(&log), [Claim { pages: 720.0, scans }]);
    }
}
