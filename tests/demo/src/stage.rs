//! What lies in the demo's folder before it begins: the lesson's URL lists, and the pipeline.

use std::path::{Path, PathBuf};

use anyhow::Context;
use ursa_demo_web::{Class, DemoWeb};

/// What a user would write.
const PIPELINE: &str = include_str!("bears.yaml");

/// An empty folder, as an absolute path.
pub(crate) fn clean(folder: &Path) -> anyhow::Result<PathBuf> {
    let folder = std::path::absolute(folder)?;
    match std::fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot remove the earlier demo in {}", folder.display()));
        }
        _ => {}
    }
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// Writes the lists and the pipeline that reads them; gives the pipeline's path.
pub(crate) fn write(folder: &Path, web: &DemoWeb) -> anyhow::Result<PathBuf> {
    for class in Class::ALL {
        std::fs::write(folder.join(class.list_name()), web.url_list(class))?;
    }
    let path = folder.join("bears.yaml");
    std::fs::write(&path, PIPELINE)?;
    Ok(path)
}
