//! Everything that can be set, each where it is declared. Flags win over environment variables, those over defaults.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use ursa_domain::JobKind;
use ursa_domain::size::ByteSize;
use ursa_fetch::Network;

use crate::gpus::{GpuChoice, PretendedGpus};
use crate::label::Label;

const TRAINER: &str = "ursa-trainer";
const MIN_SLOTS: u32 = 4;

/// Works on tasks for a coordinator: fetches pictures, verifies them, trains models.
#[derive(Debug, Clone, Parser)]
#[command(name = "ursa-worker", version)]
pub struct Config {
    /// The coordinator that gives out work; of several, given one by one or with commas between them, any that answers.
    /// While it is away, work that is begun goes on.
    #[arg(long = "coordinator", env = ursa_client::COORDINATOR_VARIABLE, value_delimiter = ',', value_name = "URL",
          default_value = ursa_client::DEFAULT_COORDINATOR)]
    pub coordinators: Vec<String>,

    /// Object store: a folder, `file:///folder` or `s3://bucket/prefix` (with the usual `AWS_*` variables).
    #[arg(long, env = "URSA_OBJECT_STORE")]
    pub object_store: String,

    /// Name for people; the host's name unless given.
    #[arg(long, env = "URSA_NAME")]
    pub name: Option<String>,

    /// Tasks to work on at a time; the cores this process may use, but four at least, unless given: fetching waits more than
    /// it computes. Decoding shares the threads, and training runs without a GPU take turns.
    #[arg(long, env = "URSA_SLOTS", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub slots: Option<u32>,

    /// Kind of task to take: scrape, verify, train or probe. May be given several times; all of them unless given.
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

    /// Something that jobs can ask for or avoid, for instance `zone=cellar`. May be given several times.
    #[arg(long = "label", env = "URSA_LABELS", value_delimiter = ',', value_name = "NAME=VALUE")]
    pub labels: Vec<Label>,

    /// Version of the code that does the work: what came of it is taken over by a pipeline that is run again only where the
    /// coordinator has the same. By default it changes with every change of that code.
    #[arg(long, env = "URSA_CODE_VERSION", default_value = ursa_version::CODE)]
    pub code_version: String,

    /// GPUs to offer, by their index, for instance `0,2`, or `none`; all of them unless given.
    #[arg(long, env = "URSA_GPUS", value_name = "INDICES")]
    pub gpus: Option<GpuChoice>,

    /// GPUs to claim, for tests of placement: `24GiB,80GiB:NVIDIA H100:550.54`.
    #[arg(long, hide = true, conflicts_with = "gpus", value_name = "MEMORY[:MODEL[:DRIVER]]")]
    pub pretend_gpus: Option<PretendedGpus>,

    /// Room that has to be free on the disks of the object store and the cache; with less, no task is taken.
    #[arg(long, env = "URSA_MIN_FREE_DISK", default_value = "64MiB", value_name = "SIZE")]
    pub min_free_disk: ByteSize,

    /// How long work that is begun may go on once the worker is told to stop; what is left then is stopped and given
    /// back. A second signal ends the worker at once.
    #[arg(long, env = "URSA_DRAIN_TIMEOUT", default_value = "8s", value_parser = humantime::parse_duration)]
    pub drain_timeout: Duration,

    /// How much of a training run is lost at most when its machine is: so often it stores a checkpoint, beside the one after
    /// every epoch; with `0s` after every batch.
    #[arg(long, env = "URSA_CHECKPOINT_EVERY", default_value = "1m", value_parser = humantime::parse_duration)]
    pub checkpoint_every: Duration,

    /// How long a training run that shall stop may take to store its checkpoint and end; then it is killed.
    #[arg(long, env = "URSA_STOP_GRACE", default_value = "10s", value_parser = humantime::parse_duration)]
    pub stop_grace: Duration,
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

    /// Folders that work is put in, as far as they are on this machine.
    pub(crate) fn folders(&self) -> Vec<PathBuf> {
        let objects = self.object_store.strip_prefix("file://").unwrap_or(&self.object_store);
        let objects = Some(PathBuf::from(objects)).filter(|folder| folder.is_absolute());
        objects.into_iter().chain([self.cache_dir()]).collect()
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
        let all: Vec<_> = JobKind::ALL.iter().copied().filter(|kind| kind.runs_on_workers()).collect();
        assert!(all.contains(&JobKind::Search) && !all.contains(&JobKind::Deploy));
        assert_eq!(parse(&[]).unwrap().kinds(), all);
        assert_eq!(parse(&["--kind", "train,scrape"]).unwrap().kinds(), [JobKind::Train, JobKind::Scrape]);
        for word in ["deploy", "cook"] {
            assert!(parse(&["--kind", word]).unwrap_err().to_string().contains(word));
        }
    }

    #[test]
    fn coordinators_and_labels_are_given_one_by_one_or_with_commas() {
        let several = parse(&["--coordinator", "http://a,http://b", "--coordinator", "http://c"]).unwrap();
        assert_eq!(several.coordinators, ["http://a", "http://b", "http://c"]);
        assert_eq!(parse(&[]).unwrap().coordinators, [ursa_client::DEFAULT_COORDINATOR]);
        assert_eq!(parse(&["--label", "zone=cellar,spot=", "--label", "a=b"]).unwrap().labels.len(), 3);
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_can() {
        let cases: [(&[&str], &str); 5] = [
            (&["--label", "cellar"], "zone=cellar"),
            (&["--gpus", "all"], "none"),
            (&["--pretend-gpus", "H100"], "40GiB"),
            (&["--min-free-disk", "much"], "40GiB"),
            (&["--drain-timeout", "soon"], "drain-timeout"),
        ];
        for (flags, expected) in cases {
            let refused = parse(flags).unwrap_err().to_string();
            assert!(refused.contains(expected), "{refused}");
        }
    }

    #[test]
    fn folders_are_those_of_this_machine() {
        let folders = |store: &str| {
            let flags = ["ursa-worker", "--object-store", store, "--cache-dir", "/cache"];
            Config::try_parse_from(flags).unwrap().folders()
        };
        assert_eq!(folders("/objects"), [Path::new("/objects"), Path::new("/cache")]);
        assert_eq!(folders("file:///objects"), [Path::new("/objects"), Path::new("/cache")]);
        assert_eq!(folders("s3://bucket/prefix"), [Path::new("/cache")]);
    }
}
