//! Everything that can be set, each where it is declared. Flags win over environment variables, those over defaults.

use std::path::{Path, PathBuf};

use clap::Parser;
use ursa_domain::JobKind;
use ursa_fetch::Network;

const TRAINER: &str = "ursa-trainer";
const MIN_SLOTS: u32 = 4;

/// Works on tasks for a coordinator: fetches pictures, verifies them, trains models.
#[derive(Debug, Clone, Parser)]
#[command(name = "ursa-worker", version)]
pub struct Config {
    /// The coordinator that gives out work. While it is away, work that is begun goes on.
    #[arg(long, env = ursa_client::COORDINATOR_VARIABLE, default_value = ursa_client::DEFAULT_COORDINATOR)]
    pub coordinator: String,

    /// Object store: a folder, `file:///folder` or `s3://bucket/prefix` (with the usual `AWS_*` variables).
    #[arg(long, env = "URSA_OBJECT_STORE")]
    pub object_store: String,

    /// Name for people; the host's name unless given.
    #[arg(long, env = "URSA_NAME")]
    pub name: Option<String>,

    /// Tasks to work on at a time; the cores this process may use, but four at least, unless given: fetching waits more than
    /// it computes. Decoding shares the threads, and one task at most is a training run.
    #[arg(long, env = "URSA_SLOTS", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub slots: Option<u32>,

    /// Kind of task to take: scrape, verify or train. May be given several times; all of them unless given.
    #[arg(long = "kind", env = "URSA_KINDS", value_delimiter = ',', value_name = "KIND", value_parser = worker_kind)]
    pub kinds: Vec<JobKind>,

    /// Threads that pictures are decoded with, and that a training run computes with; the cores this process may use
    /// unless given.
    #[arg(long, env = "URSA_THREADS", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,

    /// Private network that URLs may lead to, as CIDR with an optional port, for instance `127.0.0.1/32:8080`. May be
    /// given several times.
    #[arg(long = "allow-network", env = "URSA_ALLOW_NETWORK", value_delimiter = ',', value_name = "CIDR[:PORT]")]
    pub allow_networks: Vec<Network>,

    /// The program that trains; `ursa-trainer` beside this program, else on PATH, unless given.
    #[arg(long, env = "URSA_TRAINER")]
    pub trainer: Option<PathBuf>,

    /// Folder for what training runs on this machine share, such as downloaded weights; `~/.cache/ursa` unless given.
    #[arg(long, env = "URSA_CACHE_DIR")]
    pub cache_dir: Option<PathBuf>,
}

impl Config {
    /// The configured name, or the host's.
    pub(crate) fn name(&self) -> String {
        self.name.clone().unwrap_or_else(|| {
            let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
            if host.trim().is_empty() { "worker".to_owned() } else { host.trim().to_owned() }
        })
    }

    /// The configured slots, or one per core and four at least.
    pub(crate) fn slots(&self) -> u32 {
        self.slots.unwrap_or_else(|| (usable_cores() as u32).max(MIN_SLOTS))
    }

    /// The configured threads, or the cores this process may use.
    pub(crate) fn threads(&self) -> usize {
        self.threads.map_or_else(usable_cores, usize::from)
    }

    /// The configured kinds, or all there are for workers.
    pub(crate) fn kinds(&self) -> Vec<JobKind> {
        if self.kinds.is_empty() {
            return JobKind::ALL.iter().copied().filter(|kind| kind.runs_on_workers()).collect();
        }
        self.kinds.clone()
    }

    /// The program that trains.
    pub(crate) fn trainer(&self) -> PathBuf {
        let beside = || std::env::current_exe().ok().map(|myself| myself.with_file_name(TRAINER));
        let found = self.trainer.clone().or_else(|| beside().filter(|path| path.is_file()));
        found.unwrap_or_else(|| PathBuf::from(TRAINER))
    }

    /// The configured cache, or the user's.
    pub(crate) fn cache_dir(&self) -> PathBuf {
        let of = |variable: &str| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
        self.cache_dir
            .clone()
            .or_else(|| Some(of("XDG_CACHE_HOME")?.join("ursa")))
            .or_else(|| Some(of("HOME")?.join(Path::new(".cache/ursa"))))
            .unwrap_or_else(|| std::env::temp_dir().join("ursa-cache"))
    }
}

/// Cores that this process may use: its affinity mask and its cgroup's quota count, not the machine's size.
fn usable_cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn worker_kind(word: &str) -> Result<JobKind, String> {
    let kind = word.parse::<JobKind>().map_err(|error| error.to_string())?;
    if kind.runs_on_workers() { Ok(kind) } else { Err(format!("{kind} jobs are executed by the coordinator itself")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(flags: &[&str]) -> Result<Config, clap::Error> {
        Config::try_parse_from(["ursa-worker", "--object-store", "/tmp/objects"].iter().chain(flags))
    }

    #[test]
    fn the_declaration_is_sound() {
        use clap::CommandFactory as _;
        Config::command().debug_assert();
    }

    #[test]
    fn a_worker_takes_everything_that_workers_can_do_unless_told() {
        assert_eq!(parse(&[]).unwrap().kinds(), [JobKind::Scrape, JobKind::Verify, JobKind::Train]);
        assert_eq!(parse(&["--kind", "train,scrape"]).unwrap().kinds(), [JobKind::Train, JobKind::Scrape]);
        for word in ["deploy", "cook"] {
            assert!(parse(&["--kind", word]).unwrap_err().to_string().contains(word));
        }
    }
}
