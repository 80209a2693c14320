//! Whether there is room on the disks that work is put on: a task that would fill one is better done elsewhere.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::statvfs::statvfs;
use tokio::sync::watch;

const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What is short, as last seen. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Disk(watch::Receiver<Option<String>>);

impl Disk {
    /// Looks at the disks of `folders`, where `min_free` bytes have to be free, until every clone is gone. Begins with a
    /// first look.
    pub(crate) async fn watch(folders: Vec<PathBuf>, min_free: u64) -> Self {
        let (sender, receiver) = watch::channel(None);
        note(&sender, look(&folders, min_free).await);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = sender.closed() => return,
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                }
                note(&sender, look(&folders, min_free).await);
            }
        });
        Self(receiver)
    }

    /// Which disk has too little room, if one has.
    pub(crate) fn shortage(&self) -> Option<String> {
        self.0.borrow().clone()
    }
}

fn note(seen: &watch::Sender<Option<String>>, shortage: Option<String>) {
    let was_short = seen.borrow().is_some();
    match &shortage {
        Some(shortage) if !was_short => tracing::warn!("no task is taken: {shortage}"),
        None if was_short => tracing::info!("there is room on the disks again"),
        _ => {}
    }
    seen.send_replace(shortage);
}

/// Off the runtime: a network disk that is gone does not answer.
async fn look(folders: &[PathBuf], min_free: u64) -> Option<String> {
    let folders = folders.to_vec();
    let looking = move || folders.iter().find_map(|folder| shortage(folder, min_free));
    tokio::task::spawn_blocking(looking).await.unwrap_or_default()
}

/// A disk that cannot be looked at counts as having room: work will say what is the matter with it.
fn shortage(folder: &Path, min_free: u64) -> Option<String> {
    // What does not exist yet will be made within what does.
    let existing = folder.ancestors().find(|folder| folder.exists())?;
    let disk = statvfs(existing).ok()?;
    let free = disk.blocks_available().saturating_mul(disk.fragment_size());
    (free < min_free).then(|| {
        let (free, wanted) = (free >> 20, min_free >> 20);
        format!("{} has {free} MiB free, {wanted} MiB are wanted: free some space", folder.display())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_disk_with_too_little_room_is_named_even_if_its_folder_does_not_exist_yet() {
        let folder = tempfile::tempdir().unwrap();
        let later = folder.path().join("made/later");
        let disk = Disk::watch(vec![later.clone()], u64::MAX).await;
        let shortage = disk.shortage().unwrap();
        assert!(shortage.contains(&later.display().to_string()) && shortage.contains("free some space"), "{shortage}");
        assert_eq!(Disk::watch(vec![later], 0).await.shortage(), None);
    }
}
