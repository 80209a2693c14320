//! `ursa schedule`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use ursa_client::{Client, pipeline_file};
use ursa_proto::{ApiError, v1};

use super::pages::Limit;
use crate::output::{Column, Format, Output, facts, line};
use crate::text;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Submit a pipeline file by the clock: makes a schedule, or changes it.
    #[command(after_help = "Examples:
  ursa schedule put nightly --cron \"0 3 * * *\" --file nightly.yaml
  ursa schedule put weekly --cron \"30 6 * * mon\" --time-zone Europe/Berlin --missed skip --file weekly.yaml")]
    Put(Put),
    /// List schedules.
    List {
        #[command(flatten)]
        limit: Limit,
    },
    /// Show one schedule.
    Show {
        /// Its name.
        name: String,
    },
    /// Stop a schedule from submitting; what is due meanwhile counts as missed.
    Pause {
        /// Its name.
        name: String,
    },
    /// Let a paused schedule submit again.
    Resume {
        /// Its name.
        name: String,
    },
    /// Forget a schedule; what it submitted stays.
    Delete {
        /// Its name.
        name: String,
    },
}

/// How a schedule shall be.
#[derive(Debug, Args)]
pub(crate) struct Put {
    /// Its name.
    name: String,
    /// When: minute, hour, day of the month, month, day of the week.
    #[arg(long)]
    cron: String,
    /// Where the clock hangs, for instance Europe/Berlin.
    #[arg(long, default_value = "UTC")]
    time_zone: String,
    /// What happens to times that passed while no coordinator was there.
    #[arg(long, value_enum, default_value_t = Missed::Once)]
    missed: Missed,
    /// The pipeline file to submit, as it is now.
    #[arg(long)]
    file: PathBuf,
}

/// What happens to times that passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Missed {
    /// Nothing.
    Skip,
    /// One submission stands for all of them.
    Once,
    /// Each is made up for, the last hundred at most.
    All,
}

impl Missed {
    fn word(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Once => "once",
            Self::All => "all",
        }
    }
}

const SCHEDULES: &[Column] = &[
    ("NAME", "name"),
    ("CRON", "cron"),
    ("TIME ZONE", "time_zone"),
    ("PAUSED", "paused"),
    ("PIPELINE", "pipeline/name"),
    ("NEXT", "next_at"),
    ("LAST", "last_at"),
    ("LAST ERROR", "last_error"),
];

pub(crate) async fn run(command: &Command, client: &Client, output: &Output) -> anyhow::Result<()> {
    let mut schedules = client.schedules();
    match command {
        Command::Put(put) => {
            let request = v1::PutScheduleRequest {
                name: put.name.clone(),
                cron: put.cron.clone(),
                time_zone: put.time_zone.clone(),
                missed: put.missed.word().into(),
                pipeline: Some(pipeline_file::load(&put.file)?),
            };
            let schedule = schedules.put_schedule(request).await.map_err(ApiError::from)?;
            output.print(schedule.get_ref(), "Schedule", "", SCHEDULES)
        }
        Command::List { limit } => {
            let ask = async |page| client.schedules().list_schedules(v1::ListSchedulesRequest { page }).await;
            output.print(&limit.walk(ask).await?, "ListSchedulesResponse", "schedules", SCHEDULES)
        }
        Command::Show { name } => {
            let request = v1::GetScheduleRequest { name: name.clone() };
            let schedule = schedules.get_schedule(request).await.map_err(ApiError::from)?.into_inner();
            match output.format() {
                Format::Json => output.print(&schedule, "Schedule", "", SCHEDULES),
                Format::Table => line(&facts(&all_of(&schedule))),
            }
        }
        Command::Pause { name } => pause(name, true, client, output).await,
        Command::Resume { name } => pause(name, false, client, output).await,
        Command::Delete { name } => {
            let request = v1::DeleteScheduleRequest { name: name.clone() };
            let answer = schedules.delete_schedule(request).await.map_err(ApiError::from)?;
            output.print_done(answer.get_ref(), "DeleteScheduleResponse", &format!("schedule {name} is forgotten"))
        }
    }
}

async fn pause(name: &str, paused: bool, client: &Client, output: &Output) -> anyhow::Result<()> {
    let request = v1::PauseScheduleRequest { name: name.to_owned(), paused };
    let schedule = client.schedules().pause_schedule(request).await.map_err(ApiError::from)?;
    output.print(schedule.get_ref(), "Schedule", "", SCHEDULES)
}

fn all_of(schedule: &v1::Schedule) -> Vec<(&'static str, String)> {
    let pipeline = schedule.pipeline.clone().unwrap_or_default();
    let jobs: Vec<_> = pipeline.jobs.iter().map(|job| job.name.as_str()).collect();
    let next = match (&schedule.next_at, schedule.paused) {
        (_, true) => "paused".to_owned(),
        (None, false) => "never".to_owned(),
        (at, false) => text::time(at.as_ref()),
    };
    vec![
        ("Schedule", schedule.name.clone()),
        ("Cron", schedule.cron.clone()),
        ("Time zone", schedule.time_zone.clone()),
        ("Missed", schedule.missed.clone()),
        ("Next", next),
        ("Last", text::time(schedule.last_at.as_ref())),
        ("Last made", schedule.last_pipeline_id.clone()),
        ("Last error", schedule.last_error.clone()),
        ("Pipeline", pipeline.name.clone()),
        ("Project", pipeline.project.clone()),
        ("Jobs", jobs.join(", ")),
    ]
}
