//! Finds PostgreSQL's programs: on PATH, or in the folders of Debian's packages, which put them on nobody's PATH.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::PostgresError;

const DEBIAN: &str = "/usr/lib/postgresql";
const NEEDED: [&str; 2] = ["initdb", "postgres"];

/// One installed version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Programs {
    pub(crate) folder: PathBuf,
    pub(crate) major: u32,
}

/// All installed versions: what PATH names first, then Debian's from the newest on.
///
/// # Errors
/// When there is none.
pub(crate) fn installed() -> Result<Vec<Programs>, PostgresError> {
    let folders = folders();
    let found: Vec<Programs> = folders.iter().filter_map(|folder| look(folder)).collect();
    if found.is_empty() { Err(PostgresError::NotInstalled { missing: missing(&folders) }) } else { Ok(found) }
}

/// The version that can open data of major version `data`; the first where there are no data yet.
pub(crate) fn choose(installed: &[Programs], data: Option<u32>, folder: &Path) -> Result<Programs, PostgresError> {
    let fits = |programs: &&Programs| data.is_none_or(|data| data == programs.major);
    installed.iter().find(fits).cloned().ok_or_else(|| PostgresError::OtherVersion {
        folder: folder.to_owned(),
        data: data.unwrap_or_default(),
        installed: installed.iter().map(|programs| programs.major.to_string()).collect::<Vec<_>>().join(", "),
    })
}

fn folders() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = std::env::var_os("PATH").iter().flat_map(std::env::split_paths).collect();
    let mut versions: Vec<PathBuf> =
        std::fs::read_dir(DEBIAN).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect();
    versions.sort_by_key(|path| std::cmp::Reverse(version_number(path)));
    folders.extend(versions.into_iter().map(|version| version.join("bin")));
    folders
}

/// `…/15` is newer than `…/9.6`.
fn version_number(path: &Path) -> u32 {
    major(&path.file_name().unwrap_or_default().to_string_lossy()).unwrap_or_default()
}

fn look(folder: &Path) -> Option<Programs> {
    if !NEEDED.iter().all(|name| folder.join(name).is_file()) {
        return None;
    }
    let output = Command::new(folder.join("postgres")).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Some(Programs { folder: folder.to_owned(), major: major(text.split(") ").nth(1)?)? })
}

/// The number that `text` begins with.
pub(crate) fn major(text: &str) -> Option<u32> {
    let digits = text.trim().split(|letter: char| !letter.is_ascii_digit()).next()?;
    digits.parse().ok()
}

fn missing(folders: &[PathBuf]) -> String {
    let absent = |name: &&str| !folders.iter().any(|folder| folder.join(name).is_file());
    match NEEDED.iter().copied().filter(absent).collect::<Vec<_>>().as_slice() {
        [one] => format!("{one} was"),
        [] => "no folder with both initdb and postgres was".to_owned(),
        all => format!("{} were", all.join(" and ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn programs(major: u32) -> Programs {
        Programs { folder: format!("/usr/lib/postgresql/{major}/bin").into(), major }
    }

    #[test]
    fn versions_are_read_and_ordered_as_numbers() {
        assert_eq!(major("15.14 (Debian 15.14-0+deb12u1)"), Some(15));
        assert_eq!(major("17beta1\n"), Some(17));
        assert_eq!(major("devel"), None);
        assert!(version_number(Path::new("/usr/lib/postgresql/15")) > version_number(Path::new("/x/9.6")));
    }

    #[test]
    fn data_are_opened_by_the_version_that_made_them() {
        let installed = [programs(17), programs(15)];
        assert_eq!(choose(&installed, None, Path::new("/d")).unwrap().major, 17);
        assert_eq!(choose(&installed, Some(15), Path::new("/d")).unwrap().major, 15);
        let refused = choose(&installed, Some(14), Path::new("/d")).unwrap_err().to_string();
        assert!(refused.contains("are of PostgreSQL 14") && refused.contains("installed is 17, 15"), "{refused}");
    }

    #[test]
    fn what_is_missing_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let folders = [folder.path().to_owned()];
        assert_eq!(missing(&folders), "initdb and postgres were");
        std::fs::write(folder.path().join("postgres"), "").unwrap();
        assert_eq!(missing(&folders), "initdb was");
    }
}
