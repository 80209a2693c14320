//! What can go wrong, and with what.
//!
//! Not here, because it needs more than a process may do to itself: a disk that is full or loses what was written to it, a
//! network that loses single packets, and the clock of a whole machine.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use rand::Rng;

/// Coordinators that share one database.
pub const COORDINATORS: usize = 2;
/// Workers.
pub const WORKERS: usize = 3;

/// What a fault hits. Two faults that hit the same at the same time would hide each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// The process of a coordinator.
    Coordinator(usize),
    /// The process of a worker.
    Worker(usize),
    /// Whichever process trains.
    Trainer,
    /// All processes of Postgres.
    Postgres,
    /// The way from a coordinator to Postgres.
    DatabaseWay(usize),
    /// The way from everybody to the object store.
    StoreWay,
    /// The way from workers and clients to a coordinator.
    CoordinatorWay(usize),
    /// The room that all workers have together.
    Room,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Coordinator(which) => write!(f, "coordinator {which}"),
            Self::Worker(which) => write!(f, "worker {which}"),
            Self::Trainer => f.write_str("the trainer"),
            Self::Postgres => f.write_str("Postgres"),
            Self::DatabaseWay(which) => write!(f, "way of coordinator {which} to Postgres"),
            Self::StoreWay => f.write_str("way to the object store"),
            Self::CoordinatorWay(which) => write!(f, "way to coordinator {which}"),
            Self::Room => f.write_str("the room of the workers"),
        }
    }
}

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// SIGKILL; another one takes its place after a while.
    KillCoordinator,
    /// SIGKILL; another one takes its place after a while.
    KillWorker,
    /// SIGKILL; its worker has to notice.
    KillTrainer,
    /// SIGSTOP and SIGCONT, longer than leases live.
    FreezeCoordinator,
    /// SIGSTOP and SIGCONT within the life of a lease.
    PauseWorker,
    /// SIGSTOP and SIGCONT, longer than leases live: it comes back as a zombie.
    FreezeWorker,
    /// SIGSTOP and SIGCONT of every process of Postgres.
    FreezePostgres,
    /// SIGQUIT: recovered from its log when it is started again.
    CrashPostgres,
    /// Stopped in order, and started again.
    RestartPostgres,
    /// Every commit waits for a slow disk.
    SlowDisk,
    /// Connections are reset.
    CutDatabase,
    /// Connections are reset, and new ones refused for a while.
    RefuseDatabase,
    /// Bytes go nowhere for a while.
    SilenceDatabase,
    /// Connections hear nothing more for ever, not even an end; new ones are served.
    VanishDatabase,
    /// Connections are reset.
    CutStore,
    /// Connections are reset, and new ones refused for a while.
    RefuseStore,
    /// Bytes go nowhere for a while.
    SilenceStore,
    /// Bytes take their time.
    SlowStore,
    /// Connections are reset.
    CutCoordinator,
    /// Connections are reset, and new ones refused for a while.
    RefuseCoordinator,
    /// Bytes go nowhere for a while.
    SilenceCoordinator,
    /// The clock of a worker, and of the trainers that it starts, is an hour fast or a day slow.
    JumpClock,
    /// Somebody wants much that is urgent: what is not has to make room in the middle of it.
    Preempt,
}

impl Kind {
    /// All there are.
    pub const ALL: [Self; 23] = [
        Self::KillCoordinator,
        Self::KillWorker,
        Self::KillTrainer,
        Self::FreezeCoordinator,
        Self::PauseWorker,
        Self::FreezeWorker,
        Self::FreezePostgres,
        Self::CrashPostgres,
        Self::RestartPostgres,
        Self::SlowDisk,
        Self::CutDatabase,
        Self::RefuseDatabase,
        Self::SilenceDatabase,
        Self::VanishDatabase,
        Self::CutStore,
        Self::RefuseStore,
        Self::SilenceStore,
        Self::SlowStore,
        Self::CutCoordinator,
        Self::RefuseCoordinator,
        Self::SilenceCoordinator,
        Self::JumpClock,
        Self::Preempt,
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::KillCoordinator => "kill-coordinator",
            Self::KillWorker => "kill-worker",
            Self::KillTrainer => "kill-trainer",
            Self::FreezeCoordinator => "freeze-coordinator",
            Self::PauseWorker => "pause-worker",
            Self::FreezeWorker => "freeze-worker",
            Self::FreezePostgres => "freeze-postgres",
            Self::CrashPostgres => "crash-postgres",
            Self::RestartPostgres => "restart-postgres",
            Self::SlowDisk => "slow-disk",
            Self::CutDatabase => "cut-database",
            Self::RefuseDatabase => "refuse-database",
            Self::SilenceDatabase => "silence-database",
            Self::VanishDatabase => "vanish-database",
            Self::CutStore => "cut-store",
            Self::RefuseStore => "refuse-store",
            Self::SilenceStore => "silence-store",
            Self::SlowStore => "slow-store",
            Self::CutCoordinator => "cut-coordinator",
            Self::RefuseCoordinator => "refuse-coordinator",
            Self::SilenceCoordinator => "silence-coordinator",
            Self::JumpClock => "jump-clock",
            Self::Preempt => "preempt",
        }
    }

    /// Whether a process is killed by it: then what was at work has to go on elsewhere, from that moment on.
    pub fn kills(self) -> bool {
        matches!(self, Self::KillCoordinator | Self::KillWorker | Self::KillTrainer)
    }

    /// Whether it lasts so long that a worker loses what it holds.
    pub fn loses_leases(self) -> bool {
        matches!(self, Self::KillWorker | Self::FreezeWorker)
    }

    /// What it can hit.
    pub fn targets(self) -> Vec<Target> {
        match self {
            Self::KillCoordinator | Self::FreezeCoordinator => (0..COORDINATORS).map(Target::Coordinator).collect(),
            Self::KillWorker | Self::PauseWorker | Self::FreezeWorker | Self::JumpClock => {
                (0..WORKERS).map(Target::Worker).collect()
            }
            Self::KillTrainer => vec![Target::Trainer],
            Self::FreezePostgres | Self::CrashPostgres | Self::RestartPostgres | Self::SlowDisk => {
                vec![Target::Postgres]
            }
            Self::CutDatabase | Self::RefuseDatabase | Self::SilenceDatabase | Self::VanishDatabase => {
                (0..COORDINATORS).map(Target::DatabaseWay).collect()
            }
            Self::CutStore | Self::RefuseStore | Self::SilenceStore | Self::SlowStore => vec![Target::StoreWay],
            Self::CutCoordinator | Self::RefuseCoordinator | Self::SilenceCoordinator => {
                (0..COORDINATORS).map(Target::CoordinatorWay).collect()
            }
            Self::Preempt => vec![Target::Room],
        }
    }

    /// How long it lasts, in milliseconds. Of what is killed: until another one takes its place.
    fn lasts(self) -> RangeInclusive<u64> {
        match self {
            Self::KillTrainer | Self::CutDatabase | Self::VanishDatabase | Self::CutStore | Self::CutCoordinator => {
                0..=0
            }
            // As long as it takes until somebody has made room.
            Self::Preempt => 1000..=2000,
            Self::KillCoordinator | Self::KillWorker => 500..=3000,
            Self::PauseWorker => 300..=1500,
            Self::FreezeCoordinator | Self::FreezeWorker => 5000..=7000,
            Self::FreezePostgres | Self::CrashPostgres | Self::RestartPostgres => 500..=3000,
            Self::RefuseDatabase | Self::RefuseStore | Self::RefuseCoordinator => 1000..=4000,
            Self::SilenceDatabase | Self::SilenceStore | Self::SilenceCoordinator => 1500..=5000,
            Self::SlowStore | Self::SlowDisk => 3000..=6000,
            // The worker looks at its GPUs every five seconds, and says so with its time.
            Self::JumpClock => 7000..=9000,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// What happens.
    pub kind: Kind,
    /// To what.
    pub target: Target,
    /// For how long.
    pub lasts: Duration,
    /// How many seconds a clock jumps; 0 where none does.
    pub jump_seconds: i64,
}

impl Fault {
    /// Draws one of a kind.
    pub fn draw(kind: Kind, dice: &mut impl Rng) -> Self {
        let targets = kind.targets();
        let target = targets[dice.random_range(0..targets.len())];
        let lasts = Duration::from_millis(dice.random_range(kind.lasts()));
        let fast: bool = dice.random();
        let jump_seconds = match kind {
            Kind::JumpClock if fast => 3600,
            Kind::JumpClock => -86400,
            _ => 0,
        };
        Self { kind, target, lasts, jump_seconds }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.kind, self.target)?;
        if self.jump_seconds != 0 {
            write!(f, " by {} s", self.jump_seconds)?;
        }
        if !self.lasts.is_zero() {
            write!(f, " for {:.1} s", self.lasts.as_secs_f64())?;
        }
        Ok(())
    }
}
