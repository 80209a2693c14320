//! Python packages for tests that ask somebody who has nothing of ours: installed by pip on first use, kept in the target
//! folder. Nothing but tests may need them, and a test without them says that it was skipped.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// How long pip may take, in the words of `timeout`.
const INSTALLING: &str = "4m";

/// Packages that Python finds.
#[derive(Debug, Clone)]
pub struct Packages {
    folder: PathBuf,
}

impl Packages {
    /// The packages and what they need themselves; where they cannot be had, why.
    pub fn install(packages: &[&str]) -> Result<Self, String> {
        let all = target()?.join("python");
        let folder = all.join(packages.join("+"));
        if !folder.exists() {
            // It gets its name when it is whole: tests that run at the same time, or are killed, leave nothing broken.
            let draft = all.join(format!(".{}", std::process::id()));
            let installed = pip(packages, &draft).and_then(|()| {
                // Another test may have been faster.
                std::fs::rename(&draft, &folder)
                    .or_else(|error| if folder.exists() { Ok(()) } else { Err(said(error)) })
            });
            // After a success it is gone already.
            let _ = std::fs::remove_dir_all(&draft);
            installed?;
        }
        Ok(Self { folder })
    }

    /// Where they are: what `PYTHONPATH` shall be.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A Python that has them.
    pub fn python(&self) -> Command {
        let mut python = Command::new("python3");
        python.env("PYTHONPATH", &self.folder);
        python
    }
}

/// A Python that has PyTorch and torchvision: the one that `deploy/setup.sh bench-train` makes, else the machine's own. They
/// are too large (2.5 GB to load) to be installed for a test; the error says how to get them.
pub fn pytorch() -> Result<PathBuf, String> {
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.deps/pytorch/bin/python3");
    let has_it = |python: &PathBuf| {
        let asked = Command::new(python).args(["-c", "import torch, torchvision"]).output();
        asked.is_ok_and(|output| output.status.success())
    };
    let found = [made, PathBuf::from("python3")].into_iter().find(has_it);
    found.ok_or_else(|| "no Python here has torchvision; `deploy/setup.sh bench-train` makes one".to_owned())
}

fn pip(packages: &[&str], folder: &Path) -> Result<(), String> {
    let mut command = Command::new("timeout");
    command.args([INSTALLING, "python3", "-m", "pip", "install", "--quiet", "--target"]).arg(folder).args(packages);
    let started = command.output();
    let Output { status, stderr, .. } = started.map_err(|error| format!("pip could not be started: {error}"))?;
    let told = String::from_utf8_lossy(&stderr);
    let last = told.lines().last().unwrap_or_default();
    status.success().then_some(()).ok_or_else(|| format!("pip could not install {packages:?} ({status}): {last}"))
}

/// The folder that the test was built in.
fn target() -> Result<PathBuf, String> {
    let program = std::env::current_exe().map_err(said)?;
    program
        .ancestors()
        .nth(3)
        .map(Path::to_owned)
        .ok_or_else(|| format!("{} is in no target folder", program.display()))
}

fn said(error: std::io::Error) -> String {
    error.to_string()
}
