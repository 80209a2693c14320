//! The rows, and whether the aims hold.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::ground::Ground;

/// Whether more or less of it is better.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Aim {
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
#[derive(Debug, Default)]
pub(crate) struct Report {
    hardware: Value,
    versions: Value,
    rows: Vec<Value>,
    missed: Vec<String>,
}

impl Report {
    /// Says what the figures were measured on.
    pub(crate) fn describe(&mut self, ground: &Ground) -> anyhow::Result<()> {
        let cpu = std::fs::read_to_string("/proc/cpuinfo")?;
        let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
        let memory = std::fs::read_to_string("/proc/meminfo")?;
        let memory_kib: u64 = memory
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse().ok())
            .unwrap_or_default();
        self.hardware = json!({
            "cpu": model.trim_start_matches([':', ' ', '\t']),
            "cores": std::thread::available_parallelism()?.get(),
            "memory_gib": (memory_kib as f64 / (1024.0 * 1024.0)).round(),
            "fsyncs_per_second": ground.fsyncs_per_second.round(),
        });
        let rustc = Command::new("rustc").arg("--version").output().map(|output| output.stdout).unwrap_or_default();
        self.versions = json!({
            "ursa": env!("CARGO_PKG_VERSION"),
            "postgres": ground.postgres_version,
            "postgres_settings": ground.postgres_settings,
            "graphile_worker": crate::peer::VERSION,
            "rustc": String::from_utf8_lossy(&rustc).trim(),
        });
        Ok(())
    }

    /// Adds a figure without a peer.
    pub(crate) fn row(&mut self, name: &str, unit: &str, ours: f64, aim: Aim) {
        self.add(name, unit, ours, None, aim);
    }

    /// Adds a figure beside the peer's.
    pub(crate) fn beside(&mut self, name: &str, unit: &str, ours: f64, peer: f64, aim: Aim) {
        self.add(name, unit, ours, Some(peer), aim);
    }

    fn add(&mut self, name: &str, unit: &str, ours: f64, peer: Option<f64>, aim: Aim) {
        let ratio = peer.map(|peer| ours / peer);
        let (text, holds) = match aim {
            Aim::AtLeast(bound) => (format!(">= {bound}"), ours >= bound),
            Aim::AtMost(bound) => (format!("<= {bound}"), ours <= bound),
            Aim::TimesPeer(bound) => (format!(">= {bound} x peer"), ratio.is_some_and(|ratio| ratio >= bound)),
            Aim::None => (String::new(), true),
        };
        let shown = peer.map(|peer| format!("  peer {peer:.2}")).unwrap_or_default();
        let verdict = match (aim, holds) {
            (Aim::None, _) => String::new(),
            (_, true) => format!("  {text}: holds"),
            (_, false) => format!("  {text}: MISSED"),
        };
        println!("{name:<58} {ours:>12.2} {unit:<10}{shown}{verdict}");
        if !holds {
            self.missed.push(name.to_owned());
        }
        self.rows.push(json!({
            "name": name, "unit": unit, "ours": ours, "peer": peer,
            "peer_name": peer.map(|_| "graphile_worker"), "ratio": ratio, "aim": text, "holds": holds,
        }));
    }

    /// Writes the JSON.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let all = json!({"hardware": self.hardware, "versions": self.versions, "rows": self.rows});
        std::fs::write(path, serde_json::to_string_pretty(&all)?)?;
        println!("written to {}", path.display());
        if !self.missed.is_empty() {
            println!("aims missed: {}", self.missed.join(", "));
        }
        Ok(())
    }
}
