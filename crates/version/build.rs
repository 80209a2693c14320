//! Names the version of the code that decides what comes out of a job: a digest of its sources.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// What does the work of jobs, and what that depends on.
const DECIDING: [&str; 9] = [
    "Cargo.lock",
    "crates/domain/src",
    "crates/fetch/src",
    "crates/learner/src",
    "crates/storage/src",
    "crates/vision/src",
    "services/coordinator/src/reconcile/snapshot.rs",
    "services/trainer/src",
    "services/worker/src",
];

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = Vec::new();
    for place in DECIDING {
        println!("cargo::rerun-if-changed={}", root.join(place).display());
        list(&root.join(place), &mut files)?;
    }
    files.sort();
    let mut digest = Sha256::new();
    for file in &files {
        let name = file.strip_prefix(&root)?.display().to_string();
        let text = fs::read(file)?;
        digest.update(format!("{name} {}\n", text.len()));
        digest.update(text);
    }
    println!("cargo::rustc-env=URSA_CODE_VERSION={}", &hex::encode(digest.finalize())[..16]);
    Ok(())
}

/// Every file at or under a path.
fn list(path: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        list(&entry?.path(), files)?;
    }
    Ok(())
}
