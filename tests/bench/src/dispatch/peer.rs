//! `graphile_worker` on the same Postgres: a program of its own, so that it has its own runtime as a user's would.

use std::path::Path;
use std::process::Command;

use anyhow::ensure;
use serde_json::Value;

use crate::ground::Ground;

/// Of the crate that the program is built with.
pub(crate) const VERSION: &str = "0.14.1";

/// Runs it and gives back its figures.
pub(crate) fn run(ground: &Ground, program: &Path, arguments: &[&str]) -> anyhow::Result<Value> {
    let output = Command::new(program).args(["--database-url", &ground.database_url()]).args(arguments).output()?;
    ensure!(output.status.success(), "the peer failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// One of its figures.
pub(crate) fn figure(figures: &Value, name: &str) -> f64 {
    figures[name].as_f64().unwrap_or_default()
}
