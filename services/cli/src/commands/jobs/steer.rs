//! Many jobs at once, by what they are.

use std::time::{Duration, SystemTime};

use anyhow::Context;
use clap::Args;
use ursa_client::{Client, pages};
pub(super) use ursa_proto::v1::steer_jobs_request::Action;
use ursa_proto::{ApiError, v1};

use super::super::Misuse;
use super::print_list;
use crate::output::{Column, Output};
use crate::say;

/// Jobs at a time: short transactions, and a word now and then on the way.
const AT_A_TIME: u32 = 500;

/// Which jobs; every flag narrows it down.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Filter {
    /// Jobs of this project.
    #[arg(long)]
    project: Option<String>,
    /// Jobs of this pipeline.
    #[arg(long)]
    pipeline: Option<String>,
    /// Jobs of this kind.
    #[arg(long)]
    kind: Option<String>,
    /// Jobs in this state.
    #[arg(long)]
    state: Option<String>,
    /// Jobs whose name begins so.
    #[arg(long)]
    name_prefix: Option<String>,
    /// Jobs submitted longer ago than this, for instance 12h or 2days.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    older_than: Option<Duration>,
    /// Jobs submitted within this time, for instance 90m.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    newer_than: Option<Duration>,
}

/// One job, or those that a filter finds.
#[derive(Debug, Args)]
pub(crate) struct Bulk {
    /// The id of one job.
    id: Option<String>,
    #[command(flatten)]
    pub filter: Filter,
    /// Only list the jobs that the filter finds.
    #[arg(long)]
    pub dry_run: bool,
}

impl Bulk {
    /// The one job that is meant; `None` when the filter says which.
    pub(super) fn subject(&self) -> Result<Option<&str>, Misuse> {
        match (&self.id, self.filter.is_empty()) {
            (Some(_), false) => Err(Misuse("give either the id of one job or a filter, not both".into())),
            (Some(_), true) if self.dry_run => Err(Misuse("--dry-run goes with a filter".into())),
            (id, _) => Ok(id.as_deref()),
        }
    }
}

impl Filter {
    fn is_empty(&self) -> bool {
        let words = [&self.project, &self.pipeline, &self.kind, &self.state, &self.name_prefix];
        words.iter().all(|word| word.as_deref().unwrap_or_default().is_empty())
            && self.older_than.is_none()
            && self.newer_than.is_none()
    }

    /// The same for the coordinator; `now` is what ages are counted from.
    fn message(&self, now: SystemTime) -> Result<v1::JobFilter, Misuse> {
        if self.is_empty() {
            return Err(Misuse(
                "say which jobs: give an id, or at least one of --project, --pipeline, --kind, --state, --name-prefix, \
                 --older-than and --newer-than"
                    .into(),
            ));
        }
        let word = |word: &Option<String>| word.clone().unwrap_or_default();
        let ago = |age: Option<Duration>| {
            let too_long = || Misuse("that long ago there was no time yet".into());
            age.map(|age| now.checked_sub(age).map(Into::into).ok_or_else(too_long)).transpose()
        };
        Ok(v1::JobFilter {
            project: word(&self.project),
            pipeline_id: word(&self.pipeline),
            kind: word(&self.kind),
            state: word(&self.state),
            name_prefix: word(&self.name_prefix),
            before: ago(self.older_than)?,
            after: ago(self.newer_than)?,
        })
    }
}

const COUNTS: &[Column] = &[("STEERED", "steered"), ("LEFT ALONE", "left_alone")];

pub(super) async fn run(
    client: &Client,
    output: &Output,
    filter: &Filter,
    action: Action,
    dry_run: bool,
) -> anyhow::Result<()> {
    let filter = filter.message(SystemTime::now())?;
    if dry_run {
        return list_found(client, output, &filter, action).await;
    }
    let mut done = v1::SteerJobsResponse::default();
    loop {
        let request = v1::SteerJobsRequest {
            filter: Some(filter.clone()),
            action: Some(action),
            limit: AT_A_TIME,
            token: done.next_token.clone(),
        };
        let part = client.jobs().steer_jobs(request).await.map_err(ApiError::from);
        let part = part.with_context(|| format!("stopped after {} jobs were {}", done.steered, past(action)))?;
        let part = part.into_inner();
        done = v1::SteerJobsResponse {
            steered: done.steered + part.steered,
            left_alone: done.left_alone + part.left_alone,
            next_token: part.next_token,
        };
        if done.next_token.is_empty() {
            return output.print(&done, "SteerJobsResponse", "", COUNTS);
        }
    }
}

fn past(action: Action) -> &'static str {
    match action {
        Action::Cancel(_) => "cancelled",
        Action::Retry(_) => "given another round",
        Action::Priority(_) => "given another priority",
    }
}

/// What the filter finds, as far as lists can be asked for it; names and ages are looked at here.
async fn list_found(client: &Client, output: &Output, filter: &v1::JobFilter, action: Action) -> anyhow::Result<()> {
    let request = |page| v1::ListJobsRequest {
        page,
        pipeline_id: filter.pipeline_id.clone(),
        state: filter.state.clone(),
        project: filter.project.clone(),
        kind: filter.kind.clone(),
    };
    let mut jobs = pages::all(async |page| client.jobs().list_jobs(request(page)).await).await?;
    jobs.retain(|job| is_found(filter, job));
    let found = jobs.len();
    print_list(output, &v1::ListJobsResponse { jobs, next_page_token: String::new() })?;
    say(&format!("without --dry-run those of these {found} jobs whose state allows it are {}", past(action)));
    Ok(())
}

fn is_found(filter: &v1::JobFilter, job: &v1::Job) -> bool {
    let at = job.created_at.map(|at| (at.seconds, at.nanos));
    job.name.starts_with(&filter.name_prefix)
        && filter.before.is_none_or(|before| at < Some((before.seconds, before.nanos)))
        && filter.after.is_none_or(|after| at >= Some((after.seconds, after.nanos)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)
    }

    #[test]
    fn nothing_is_steered_without_a_filter() {
        let refused = Filter::default().message(now()).unwrap_err().to_string();
        assert!(refused.contains("say which jobs") && refused.contains("--older-than"), "{refused}");
        let empty = Filter { project: Some(String::new()), ..Filter::default() };
        assert!(empty.message(now()).is_err(), "an empty word, as a script's unset variable makes one, is no filter");
    }

    #[test]
    fn a_job_and_a_filter_exclude_each_other() {
        let filter = Filter { kind: Some("train".into()), ..Filter::default() };
        let both = Bulk { id: Some("1".into()), filter: filter.clone(), dry_run: false };
        assert!(both.subject().is_err());
        let one = Bulk { id: Some("1".into()), filter: Filter::default(), dry_run: false };
        assert_eq!(one.subject().unwrap(), Some("1"));
        assert!(Bulk { dry_run: true, ..one }.subject().is_err());
        assert_eq!(Bulk { id: None, filter, dry_run: true }.subject().unwrap(), None);
    }

    #[test]
    fn ages_become_points_in_time() {
        let hour = Duration::from_hours(1);
        let filter = Filter { older_than: Some(hour), newer_than: Some(2 * hour), ..Filter::default() };
        let filter = filter.message(now()).unwrap();
        let job = |age: i64, name: &str| v1::Job {
            name: name.into(),
            created_at: Some(prost_types::Timestamp { seconds: NOW as i64 - age, nanos: 0 }),
            ..v1::Job::default()
        };
        let found = |age| is_found(&filter, &job(age, "train"));
        assert_eq!([found(10), found(3600), found(3601), found(7200), found(7201)], [false, false, true, true, false]);
        let by_name = v1::JobFilter { name_prefix: "tr".into(), ..v1::JobFilter::default() };
        assert!(is_found(&by_name, &job(0, "train")) && !is_found(&by_name, &job(0, "verify")));
    }
}
