//! Finds the services' programs: beside the running `ursa`, or on PATH.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// Where the programs are.
#[derive(Debug, Clone)]
pub(super) struct Programs {
    pub(super) coordinator: PathBuf,
    pub(super) inference: PathBuf,
    pub(super) dashboard: PathBuf,
    /// Absent where no worker is wanted.
    pub(super) worker: Option<PathBuf>,
}

impl Programs {
    /// Finds all that are needed, those of workers where there shall be any.
    pub(super) fn find(with_workers: bool) -> anyhow::Result<Self> {
        let own = std::env::current_exe().context("cannot find the running program")?;
        let mut folders: Vec<PathBuf> = own.parent().map(Path::to_owned).into_iter().collect();
        folders.extend(std::env::var_os("PATH").iter().flat_map(std::env::split_paths));
        Self::find_in(&folders, with_workers)
    }

    fn find_in(folders: &[PathBuf], with_workers: bool) -> anyhow::Result<Self> {
        let mut missing = Vec::new();
        let mut find = |name: &'static str| {
            let found = folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
            found.unwrap_or_else(|| {
                missing.push(name);
                PathBuf::new()
            })
        };
        let mut programs = Self {
            coordinator: find("ursa-coordinator"),
            inference: find("ursa-inference"),
            dashboard: find("ursa-dashboard"),
            worker: None,
        };
        if with_workers {
            programs.worker = Some(find("ursa-worker"));
            // The worker starts it, and looks in the same places.
            find("ursa-trainer");
        }
        if missing.is_empty() {
            return Ok(programs);
        }
        let place = folders.first().map(|folder| folder.display().to_string()).unwrap_or_default();
        bail!("{} found neither in {place} nor on PATH; `make build` builds everything", were(&missing))
    }
}

fn were(names: &[&str]) -> String {
    match names {
        [one] => format!("{one} was"),
        all => format!("{} were", all.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_missing_is_named_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let folders = [folder.path().to_owned()];
        for name in ["ursa-coordinator", "ursa-inference"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let refused = Programs::find_in(&folders, false).unwrap_err().to_string();
        assert!(refused.starts_with("ursa-dashboard was") && refused.contains("make build"), "{refused}");
        let refused = Programs::find_in(&folders, true).unwrap_err().to_string();
        assert!(refused.starts_with("ursa-dashboard, ursa-worker, ursa-trainer were"), "{refused}");
        std::fs::write(folder.path().join("ursa-dashboard"), "").unwrap();
        let found = Programs::find_in(&folders, false).unwrap();
        assert_eq!(found.dashboard, folder.path().join("ursa-dashboard"));
        assert_eq!(found.worker, None);
    }
}
