//! Where a cluster lies and who owns it.
//!
//! Postgres refuses to run as root, so root's server runs as the system user `postgres`, and that user must be able to
//! walk to its data. Where it cannot (root's home is closed to everybody), the folder that was asked for becomes a link
//! into `/var/lib/ursa`. The link is the only record of it: a new data folder never meets an old one's cluster.

use std::fs::{DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::{User, geteuid};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::PostgresError;

/// Where clusters go whose own place the server's user cannot reach.
const ELSEWHERE: &str = "/var/lib/ursa";
/// A socket's path has room for 107 bytes; `/.s.PGSQL.5432` takes 14 of them.
const MAX_SOCKET_FOLDER_BYTES: usize = 107 - 14;

/// Who runs the server: nobody else, unless root starts it.
pub(crate) fn server_user() -> Result<Option<User>, PostgresError> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    match User::from_name("postgres") {
        Ok(Some(user)) => Ok(Some(user)),
        _ => Err(PostgresError::NoUser),
    }
}

/// Makes `folder` if need be and returns where it really is. `probe` is a harmless program, to find out what the user may.
pub(crate) fn settle(folder: &Path, user: Option<&User>, probe: &Path) -> Result<PathBuf, PostgresError> {
    make_folder(folder)?;
    let real = folder.canonicalize().map_err(PostgresError::io(format!("find {}", folder.display())))?;
    let is_new = std::fs::read_dir(&real).is_ok_and(|mut entries| entries.next().is_none());
    if is_new {
        own(&real, user)?;
    }
    let Some(user) = user else { return Ok(real) };
    if can_enter(user, &real, probe) {
        return Ok(real);
    }
    if is_new && !folder.is_symlink() {
        return settle_elsewhere(folder, user, probe);
    }
    let problem = format!("cannot be entered by the system user {}; make it and its parents accessible", user.name);
    Err(PostgresError::folder(real, problem))
}

fn make_folder(folder: &Path) -> Result<(), PostgresError> {
    match std::fs::symlink_metadata(folder) {
        Ok(found) if found.is_symlink() && !folder.exists() => {
            let target = std::fs::read_link(folder).unwrap_or_default();
            let problem = format!("leads to {}, which is gone, and the database with it", target.display());
            Err(PostgresError::folder(folder, problem))
        }
        Ok(_) if folder.is_dir() => Ok(()),
        Ok(_) => Err(PostgresError::folder(folder, "is in the way: it is no folder")),
        Err(_) => std::fs::create_dir_all(folder).map_err(PostgresError::io(format!("make {}", folder.display()))),
    }
}

/// Makes a folder in [`ELSEWHERE`] and puts a link to it in the place of `folder`, which is empty.
fn settle_elsewhere(folder: &Path, user: &User, probe: &Path) -> Result<PathBuf, PostgresError> {
    let base = Path::new(ELSEWHERE);
    if !base.exists() {
        std::fs::create_dir_all(base).map_err(PostgresError::io(format!("make {ELSEWHERE}")))?;
        set_mode(base, 0o755)?;
    }
    let real = base.join(format!("postgres-{}", Uuid::new_v4()));
    make_folder(&real)?;
    own(&real, Some(user))?;
    if !can_enter(user, &real, probe) {
        let problem = format!("cannot be entered by the system user {}; make {ELSEWHERE} accessible", user.name);
        return Err(PostgresError::folder(real, problem));
    }
    let linked = std::fs::remove_dir(folder).and_then(|()| symlink(&real, folder));
    linked.map_err(PostgresError::io(format!("link {} to {}", folder.display(), real.display())))?;
    Ok(real)
}

/// Closes a folder to everybody but the server's user.
fn own(folder: &Path, user: Option<&User>) -> Result<(), PostgresError> {
    set_mode(folder, 0o700)?;
    let Some(user) = user else { return Ok(()) };
    chown(folder, Some(user.uid.as_raw()), Some(user.gid.as_raw())).map_err(PostgresError::io(format!(
        "give {} to the system user {}",
        folder.display(),
        user.name
    )))
}

fn set_mode(folder: &Path, mode: u32) -> Result<(), PostgresError> {
    std::fs::set_permissions(folder, Permissions::from_mode(mode))
        .map_err(PostgresError::io(format!("set the permissions of {}", folder.display())))
}

/// Asks the kernel, the only one that knows all the rules: a child changes its user first and its folder then.
fn can_enter(user: &User, folder: &Path, probe: &Path) -> bool {
    let mut child = Command::new(probe);
    child.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    child.uid(user.uid.as_raw()).gid(user.gid.as_raw()).current_dir(folder);
    child.status().is_ok_and(|status| status.success())
}

/// The folder for the socket of the cluster in `folder`: in it, or, where that path is too long for a socket, a short one
/// in the system's folder for such things. Made if need be, and entered by the server's user only.
pub(crate) fn socket_folder(folder: &Path, user: Option<&User>) -> Result<PathBuf, PostgresError> {
    let inside = folder.join("socket");
    let socket = if fits(&inside) { inside } else { short_folder(folder, user.is_some()) };
    match DirBuilder::new().mode(0o700).create(&socket) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => refuse_strangers(&socket, user)?,
        Err(error) => return Err(PostgresError::io(format!("make {}", socket.display()))(error)),
    }
    own(&socket, user)?;
    Ok(socket)
}

fn fits(folder: &Path) -> bool {
    folder.to_str().is_some_and(|path| path.len() <= MAX_SOCKET_FOLDER_BYTES)
}

/// The same for the same cluster every time.
fn short_folder(folder: &Path, other_user: bool) -> PathBuf {
    let digest = hex::encode(&Sha256::digest(folder.as_os_str().as_encoded_bytes())[..8]);
    let name = format!("ursa-{digest}");
    let own = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|base| !other_user && base.is_absolute());
    match own {
        Some(base) if base.is_dir() && fits(&base.join(&name)) => base.join(name),
        _ => Path::new("/tmp").join(name),
    }
}

/// In a folder that is everybody's, somebody else may have been there first.
fn refuse_strangers(socket: &Path, user: Option<&User>) -> Result<(), PostgresError> {
    let found =
        std::fs::symlink_metadata(socket).map_err(PostgresError::io(format!("look at {}", socket.display())))?;
    let is_ours = found.uid() == geteuid().as_raw() || user.is_some_and(|user| found.uid() == user.uid.as_raw());
    if found.is_dir() && is_ours {
        return Ok(());
    }
    Err(PostgresError::folder(socket, "is needed for the server's socket but belongs to somebody else; remove it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_folder_holds_its_socket_itself() {
        let folder = tempfile::tempdir().unwrap();
        let socket = socket_folder(folder.path(), None).unwrap();
        assert_eq!(socket, folder.path().join("socket"));
        assert_eq!(std::fs::metadata(&socket).unwrap().mode() & 0o777, 0o700);
        assert_eq!(socket_folder(folder.path(), None).unwrap(), socket, "a second time, too");
    }

    #[test]
    fn a_long_folder_has_its_socket_in_a_short_one_that_stays_the_same() {
        let folder = PathBuf::from(format!("/tmp/{}", "long/".repeat(30)));
        let socket = short_folder(&folder, true);
        assert!(fits(&socket) && !fits(&folder.join("socket")));
        assert_eq!(socket, short_folder(&folder, true));
        assert_ne!(socket, short_folder(&folder.join("other"), true));
    }

    #[test]
    fn a_link_that_leads_nowhere_is_said_and_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("postgres");
        symlink("/nowhere/at/all", &link).unwrap();
        let refused = settle(&link, None, Path::new("true")).unwrap_err().to_string();
        assert!(refused.contains("/nowhere/at/all, which is gone"), "{refused}");
        assert!(link.is_symlink());
    }

    #[test]
    fn a_folder_is_made_with_its_parents_and_closed() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("a/b/postgres");
        let real = settle(&folder, None, Path::new("true")).unwrap();
        assert_eq!(std::fs::metadata(&real).unwrap().mode() & 0o777, 0o700);
    }
}
