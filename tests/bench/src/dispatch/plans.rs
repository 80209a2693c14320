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
const BY_INDEX: [&str; 3] = ["Index Scan", "Index Only Scan", "Bitmap Heap Scan"];
/// What is written is no scan.
const WRITES: &str = "ModifyTable";

/// One claim as it was run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Claim {
    /// Tasks that it leased.
    pub(crate) tasks: f64,
    /// Pages of 8 KiB that it looked at, each time that it did.
    pub(crate) pages: f64,
    /// Where it went through a table that fills other than by an index.
    pub(crate) full_scans: Vec<String>,
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
    let number = |name: &str| plan[name].as_f64().unwrap_or_default();
    Claim {
        tasks: number("Actual Rows"),
        pages: number("Shared Hit Blocks") + number("Shared Read Blocks"),
        full_scans: nodes(plan).into_iter().filter_map(full_scan).collect(),
    }
}

/// A node and all below it.
fn nodes(node: &Value) -> Vec<&Value> {
    let below = node["Plans"].as_array().into_iter().flatten().flat_map(nodes);
    std::iter::once(node).chain(below).collect()
}

fn full_scan(node: &Value) -> Option<String> {
    let (what, table) = (node["Node Type"].as_str()?, node["Relation Name"].as_str()?);
    let is_one = FILLING.contains(&table) && what != WRITES && !BY_INDEX.contains(&what);
    is_one.then(|| format!("{what} on {table}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// As Postgres logs a plan, with other lines around it.
    fn logged(query: &str, plan: &Value) -> String {
        let entry = serde_json::to_string_pretty(&json!({"Query Text": query, "Plan": plan})).unwrap();
        let entry = entry.replace('\n', "\n\t");
        format!("2026-01-01 [7] LOG:  parameter changed\n2026-01-01 [8] LOG:  duration: 1.5 ms  plan:\n\t{entry}\n[9] LOG:\n")
    }

    #[test]
    fn a_claim_that_goes_through_a_whole_table_is_found_out_wherever_it_does() {
        let below = json!([
            {"Node Type": "ModifyTable", "Relation Name": "attempts"},
            {"Node Type": "Limit", "Plans": [{"Node Type": "Index Scan", "Relation Name": "tasks"}]},
            {"Node Type": "Seq Scan", "Relation Name": "lanes"},
            {"Node Type": "Sort", "Plans": [{"Node Type": "Seq Scan", "Relation Name": "jobs"}]},
        ]);
        let plan = json!({
            "Node Type": "Sort", "Actual Rows": 24, "Shared Hit Blocks": 700, "Shared Read Blocks": 20, "Plans": below,
        });
        let log = logged("select 1", &plan) + &logged(CLAIM, &plan);
        let full_scans = vec!["Seq Scan on jobs".to_owned()];
        assert_eq!(claims(&log), [Claim { tasks: 24.0, pages: 720.0, full_scans }]);
    }
}
