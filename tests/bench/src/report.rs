//! The rows, and whether the aims hold.

use std::path::Path;
use std::process::Command;

use anyhow::ensure;
use serde_json::{Value, json};

/// Whether more or less of it is better.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Aim {
    /// At least so much.
    AtLeast(f64),
    /// At most so much.
    AtMost(f64),
    /// At least so many times the peer.
    TimesPeer(f64),
    /// For information.
    None,
}

/// What was measured.
#[derive(Debug)]
pub struct Report {
    peer: String,
    hardware: Value,
    versions: Value,
    rows: Vec<Value>,
    verdicts: Vec<Verdict>,
}

/// What became of an aim.
#[derive(Debug)]
struct Verdict {
    holds: bool,
    is_must: bool,
    /// The row, its figure and its aim.
    text: String,
}

impl Report {
    /// No rows yet. What the figures are measured on and with is said of every benchmark alike; `hardware` and `versions` are
    /// what this one adds.
    pub fn new(peer: &str, hardware: Value, versions: Value) -> anyhow::Result<Self> {
        let (hardware, versions) = (merged(machine()?, hardware), merged(software(), versions));
        Ok(Self { peer: peer.to_owned(), hardware, versions, rows: Vec::new(), verdicts: Vec::new() })
    }

    /// Adds a figure without a peer.
    pub fn row(&mut self, name: &str, unit: &str, ours: f64, aim: Aim) {
        self.add(name, unit, ours, None, aim, false);
    }

    /// Adds a figure beside the peer's.
    pub fn beside(&mut self, name: &str, unit: &str, ours: f64, peer: f64, aim: Aim) {
        self.add(name, unit, ours, Some(peer), aim, false);
    }

    /// Adds a figure without a peer whose aim is more than one: where it is missed, the run has failed.
    pub fn must(&mut self, name: &str, unit: &str, ours: f64, aim: Aim) {
        self.add(name, unit, ours, None, aim, true);
    }

    fn add(&mut self, name: &str, unit: &str, ours: f64, peer: Option<f64>, aim: Aim, is_must: bool) {
        let ratio = peer.map(|peer| ours / peer);
        let (text, holds) = match aim {
            Aim::AtLeast(bound) => (format!(">= {bound}"), ours >= bound),
            Aim::AtMost(bound) => (format!("<= {bound}"), ours <= bound),
            Aim::TimesPeer(bound) => (format!(">= {bound} x peer"), ratio.is_some_and(|ratio| ratio >= bound)),
            Aim::None => (String::new(), true),
        };
        let shown = peer.map(|peer| format!("  peer {peer:.2}")).unwrap_or_default();
        let line = format!("{name:<90} {ours:>12.2} {unit:<8}{shown}");
        println!("{line}");
        if aim != Aim::None {
            self.verdicts.push(Verdict { holds, is_must, text: format!("{line}  {text}") });
        }
        self.rows.push(json!({
            "name": name, "unit": unit, "ours": ours, "peer": peer,
            "peer_name": peer.map(|_| &self.peer), "ratio": ratio, "aim": text, "holds": holds,
        }));
    }

    /// Writes the JSON, and prints what holds and what does not.
    ///
    /// # Errors
    /// What must hold does not; the JSON is written all the same.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let all = json!({"hardware": self.hardware, "versions": self.versions, "rows": self.rows});
        std::fs::write(path, serde_json::to_string_pretty(&all)?)?;
        println!("written to {}", path.display());
        for (title, holds) in [("aims that hold", true), ("aims that are MISSED", false)] {
            let texts: Vec<&str> =
                self.verdicts.iter().filter(|one| one.holds == holds).map(|one| &*one.text).collect();
            println!("\n{title}: {}", texts.len());
            for text in &texts {
                println!("  {text}");
            }
        }
        let broken: Vec<&str> =
            self.verdicts.iter().filter(|one| one.is_must && !one.holds).map(|one| &*one.text).collect();
        ensure!(broken.is_empty(), "this must hold, and does not:\n  {}", broken.join("\n  "));
        Ok(())
    }
}

fn machine() -> anyhow::Result<Value> {
    let cpu = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let memory = std::fs::read_to_string("/proc/meminfo")?;
    let memory_kib: u64 = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse().ok())
        .unwrap_or_default();
    Ok(json!({
        "cpu": model.trim_start_matches([':', ' ', '\t']),
        "cores": std::thread::available_parallelism()?.get(),
        "memory_gib": (memory_kib as f64 / (1024.0 * 1024.0)).round(),
    }))
}

fn software() -> Value {
    let rustc = Command::new("rustc").arg("--version").output().map(|output| output.stdout).unwrap_or_default();
    json!({"ursa": env!("CARGO_PKG_VERSION"), "rustc": String::from_utf8_lossy(&rustc).trim()})
}

/// All keys of both objects.
fn merged(mut one: Value, mut other: Value) -> Value {
    if let (Some(one), Some(other)) = (one.as_object_mut(), other.as_object_mut()) {
        one.append(other);
    }
    one
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_aim_is_no_failure_but_of_what_must_hold() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        let mut report = Report::new("peer", json!({}), json!({})).unwrap();
        report.row("latency", "ms", 7.0, Aim::AtMost(5.0));
        report.must("pages", "", 8.0, Aim::AtMost(10.0));
        report.write(&path).unwrap();
        report.must("scans", "", 1.0, Aim::AtMost(0.0));
        let refused = report.write(&path).unwrap_err().to_string();
        assert!(refused.contains("scans") && !refused.contains("latency") && !refused.contains("pages"), "{refused}");
        let written: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let holds: Vec<_> = written["rows"].as_array().unwrap().iter().map(|row| row["holds"].clone()).collect();
        assert_eq!(holds, [json!(false), json!(true), json!(false)]);
    }
}
