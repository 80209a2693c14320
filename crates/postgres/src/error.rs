//! What can go wrong, said so that whoever reads it knows what to do.

use std::path::PathBuf;

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// Programs are missing.
    #[error(
        "PostgreSQL is not installed: {missing} found neither on PATH nor under /usr/lib/postgresql; \
         install it with: sudo apt-get install postgresql"
    )]
    NotInstalled {
        /// For instance `initdb was`.
        missing: String,
    },
    /// Started by root, and nobody else is there to run it.
    #[error(
        "Postgres refuses to run as root, and there is no system user called postgres to run it as; \
         it comes with: sudo apt-get install postgresql"
    )]
    NoUser,
    /// The data were made by another version than those installed.
    #[error(
        "the data in {} are of PostgreSQL {data}, but installed is {installed}; \
         install the old version with: sudo apt-get install postgresql-{data}", folder.display()
    )]
    OtherVersion {
        /// The data.
        folder: PathBuf,
        /// Major version that made them.
        data: u32,
        /// Major versions there are.
        installed: String,
    },
    /// A folder that is in the way.
    #[error("{} {problem}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// The operating system refused something.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was tried.
        doing: String,
        /// Why it did not work.
        source: std::io::Error,
    },
    /// A program of PostgreSQL failed.
    #[error("{program} failed: {output}")]
    Program {
        /// Which.
        program: &'static str,
        /// What it said.
        output: String,
    },
    /// The server ended instead of starting.
    #[error("Postgres ended instead of starting ({status}); the end of its log {}:\n{tail}", log.display())]
    Ended {
        /// How it ended.
        status: String,
        /// Where it logs.
        log: PathBuf,
        /// What it logged last.
        tail: String,
    },
    /// The server takes too long.
    #[error("Postgres did not start within {seconds} s; the end of its log {}:\n{tail}", log.display())]
    TooSlow {
        /// How long was waited.
        seconds: u64,
        /// Where it logs.
        log: PathBuf,
        /// What it logged last.
        tail: String,
    },
    /// A server that does not go.
    #[error("another Postgres server (process {pid}) works on {} and does not stop; end it first", data.display())]
    StillRunning {
        /// Its process.
        pid: i32,
        /// What it works on.
        data: PathBuf,
    },
}

impl PostgresError {
    /// For `map_err`: the operating system refused `doing`.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }

    pub(crate) fn folder(path: impl Into<PathBuf>, problem: impl Into<String>) -> Self {
        Self::Folder { path: path.into(), problem: problem.into() }
    }
}
