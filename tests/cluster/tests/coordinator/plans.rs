//! How Postgres goes about the coordinator's statements. Plans are kept, and most are made while the tables are empty: none may
//! read a table as a whole that grows.

use std::path::Path;

use serde_json::Value;

use crate::fixture::Fixture;

/// The tables with a row for every task, or for what tasks do.
const GROWING: [&str; 9] =
    ["tasks", "attempts", "jobs", "job_terms", "pipelines", "events", "metrics", "log_lines", "images"];

/// Lists whose filters may be left out are planned for the values they come with (`Store::lists`).
const PLANNED_EACH_TIME: [&str; 1] = ["($1::uuid is null or"];

/// The plan that is kept of a statement with so many parameters, by the settings of the coordinator's sessions.
const PLAN: &str = "
    create function plan_of(statement text, parameters integer) returns json language plpgsql
    set enable_seqscan = off set jit = off set plan_cache_mode = force_generic_plan as $$
    declare
        plan json;
        arguments text := '(' || array_to_string(array_fill('null'::text, array[parameters]), ', ') || ')';
    begin
        execute 'prepare planned as ' || statement;
        execute 'explain (format json) execute planned' || case when parameters = 0 then '' else arguments end into plan;
        deallocate planned;
        return plan;
    end $$";

/// What every index is ordered by first, by its name; but for those that hold few rows of their tables.
const INDEXES: &str = "
    select json_object_agg(indexrelid::regclass::text, pg_get_indexdef(indexrelid, 1, true))
    from pg_index
    where indpred is null or indexrelid::regclass::text in ('jobs_finished', 'jobs_by_cache_key')";

#[tokio::test]
async fn no_statement_reads_a_table_as_a_whole_that_grows() {
    let fixture = Fixture::start().await;
    fixture.sql(PLAN).await;
    let indexes: Value = serde_json::from_str(&fixture.ask(INDEXES).await).unwrap();
    let statements = statements();
    assert!(statements.len() > 200, "{} statements", statements.len());
    let mut found = Vec::new();
    for statement in &statements {
        let plan =
            fixture.ask(&format!("select plan_of($statement${statement}$statement$, {})", parameters(statement))).await;
        let plan: Value = serde_json::from_str(&plan).unwrap();
        let whole = whole_scans(&plan[0]["Plan"], &indexes, false);
        found.extend(whole.into_iter().map(|scan| format!("{scan}: {statement}")));
    }
    assert!(found.is_empty(), "{}", found.join("\n\n"));
}

/// Those of the coordinator, as `make sqlx` knows them.
fn statements() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.sqlx");
    let files = std::fs::read_dir(folder).unwrap().map(|file| std::fs::read(file.unwrap().path()).unwrap());
    let statement =
        |file: Vec<u8>| serde_json::from_slice::<Value>(&file).unwrap()["query"].as_str().unwrap().to_owned();
    let is_planned_once = |statement: &String| {
        let is_command = ["savepoint", "release", "rollback"].iter().any(|word| statement.starts_with(word));
        !is_command && !PLANNED_EACH_TIME.iter().any(|part| statement.contains(part))
    };
    files.map(statement).filter(is_planned_once).collect()
}

fn parameters(statement: &str) -> usize {
    let number = |part: &str| part.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok();
    statement.split('$').skip(1).filter_map(number).max().unwrap_or(0)
}

/// Scans of all rows of a growing table, at and below a plan's node: by no index, or by one that holds most rows and is ordered
/// by something else. One that somebody above stops as soon as it has enough is none.
fn whole_scans(node: &Value, indexes: &Value, stopped: bool) -> Vec<String> {
    let text = |name: &str| node[name].as_str().unwrap_or_default();
    let kind = text("Node Type");
    let reads_all = ["Sort", "Aggregate", "Hash", "Materialize", "WindowAgg"].contains(&kind);
    let is_apart = text("Parent Relationship") == "InitPlan";
    let stopped = !is_apart && !reads_all && (stopped || kind == "Limit");
    let by_all_of_an_index =
        indexes[text("Index Name")].as_str().is_some_and(|first| !text("Index Cond").contains(first));
    let table = GROWING.iter().find(|table| text("Relation Name") == **table || text("Index Name").starts_with(*table));
    let is_whole = table.is_some() && (kind == "Seq Scan" || by_all_of_an_index) && !stopped;
    let here = is_whole.then(|| format!("{kind} of {} {}", text("Relation Name"), text("Index Name")));
    let below = node["Plans"].as_array().into_iter().flatten().flat_map(|node| whole_scans(node, indexes, stopped));
    here.into_iter().chain(below).collect()
}
