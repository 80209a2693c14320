//! A run: set the stage, begin to work, do every fault of the schedule, wait for quiet, check.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use chrono::Utc;
use tokio::time::Instant;
use ursa_demo_web::{Class, DemoWeb};

use crate::history::{History, Reader, Truth};
use crate::load::{Asked, Load, UrlList};
use crate::recovery::recovery;
use crate::report::Report;
use crate::schedule::Schedule;
use crate::stage::Stage;
use crate::strikes::Strikes;
use crate::{acts, checker, logs};

/// How long the work may take to begin.
const WARM_UP: Duration = Duration::from_secs(30);
/// How long everything that was begun may take to end, once nothing goes wrong any more.
const QUIET: Duration = Duration::from_secs(90);
/// How long those who watch may take to see it.
const SEEN: Duration = Duration::from_secs(20);
/// How long it may take until nothing is left that does not count: the grace for late uploads, and some time for another
/// coordinator to take up the duty, and to look.
const CLEAN: Duration = Duration::from_secs(40);
const LOOK: Duration = Duration::from_millis(200);
/// So often one looks which fault is due.
const STEP: Duration = Duration::from_millis(20);

/// What to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// Decides what goes wrong, and when.
    pub seed: u64,
    /// How long at least things shall go wrong; every kind of fault strikes at least once.
    pub time: Duration,
    /// Folder for logs and the report.
    pub output: PathBuf,
}

/// Does it, and says on the way what happens.
pub async fn run(options: &Options, mut say: impl FnMut(String)) -> anyhow::Result<Report> {
    let rounds = Schedule::rounds_within(options.time);
    let schedule = Schedule::draw(options.seed, rounds);
    let agenda = acts::draw(options.seed, rounds, Schedule::round());
    say(schedule.to_string());
    let logs = options.output.join(format!("seed-{}", options.seed));
    prepare(&logs)?;
    let mut stage = Stage::set(&logs).await?;
    let (any, each, urgent) = (stage.client()?, stage.clients()?, Arc::clone(&stage.urgent));
    let mut load = Load::begin(any, each, &lists(&stage.web), urgent, agenda.clone());
    let mut reader = Reader::connect(&stage.database_url()).await?;
    warm_up(&mut reader).await?;
    drop(reader);

    let mut report = Report::new(options.seed);
    let begin = Instant::now();
    let begun_at = Utc::now();
    let mut strikes = Strikes::begin(&schedule);
    while !strikes.are_over() {
        load.check()?;
        strikes.step(&mut stage, &mut report, &mut say).await?;
        tokio::time::sleep(STEP).await;
    }
    report.chaos_seconds = begin.elapsed().as_secs_f64();
    let calm = Instant::now();
    load.stop();
    let mut reader = Reader::connect(&stage.database_url()).await?;
    wait_for_quiet(&mut reader, &mut load, &mut report).await?;
    report.quiet_after_seconds = calm.elapsed().as_secs_f64();

    wait_for_cleaning(&mut reader, &mut report).await?;
    wait_for_watcher(&mut reader, &load).await?;

    let asked = load.asked();
    for done in &asked.acts {
        report.add_act((done.at - begun_at).as_seconds_f64(), done);
    }
    for act in acts::left_undone(&agenda, &asked.acts) {
        report.violate("acts-done", format!("{act} was never done"));
    }
    let history = read(&mut reader, &stage, asked).await?;
    report.count(&history);
    report.violations.extend(checker::check(&history));
    for struck in strikes.done() {
        let (recovery, too_slow) = recovery(&history, struck);
        if let Some(what) = too_slow {
            report.violate("recovery", what);
        }
        let at = (struck.begun_at - begun_at).as_seconds_f64();
        report.add_fault(at, struck, recovery);
    }
    let postgres_log = std::fs::read_to_string(logs.join("postgres.log")).unwrap_or_default();
    for line in logs::alarming(&stage, &postgres_log) {
        report.violate("logs", line);
    }
    report.write(&logs.join("report.json"))?;
    history.write(&mut BufWriter::new(File::create(logs.join("history.txt"))?))?;
    Ok(report)
}

/// A folder without what the last run of the same seed has left.
fn prepare(logs: &Path) -> anyhow::Result<()> {
    match std::fs::remove_dir_all(logs) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot empty {}", logs.display()));
        }
        _ => {}
    }
    std::fs::create_dir_all(logs).with_context(|| format!("cannot make {}", logs.display()))
}

fn lists(web: &DemoWeb) -> Vec<UrlList> {
    let list = |class: Class| UrlList {
        class: class.to_string(),
        name: class.list_name().to_owned(),
        lines: web.url_list(class).lines().map(str::to_owned).collect(),
    };
    Class::ALL.map(list).to_vec()
}

async fn warm_up(reader: &mut Reader) -> anyhow::Result<()> {
    let begin = Instant::now();
    while reader.tasks_done().await? == 0 {
        ensure!(begin.elapsed() < WARM_UP, "no task ended well within {WARM_UP:?} with nothing going wrong");
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

async fn wait_for_quiet(reader: &mut Reader, load: &mut Load, report: &mut Report) -> anyhow::Result<()> {
    let begin = Instant::now();
    // Once nobody asks for more, that nothing is open is for good.
    match tokio::time::timeout(QUIET, load.end()).await {
        Ok(end) => end?,
        Err(_) => report.violate("quiet", format!("not everybody has seen the end after {QUIET:?}")),
    }
    while reader.open_jobs().await? > 0 {
        if begin.elapsed() > QUIET + SEEN {
            let open = reader.open_jobs().await?;
            report.violate("quiet", format!("{open} jobs are open after {:?}", begin.elapsed()));
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Waits until nobody has uploads left to look at that do not count.
async fn wait_for_cleaning(reader: &mut Reader, report: &mut Report) -> anyhow::Result<()> {
    let begin = Instant::now();
    loop {
        let left = reader.to_clean().await?;
        if left == 0 {
            return Ok(());
        }
        if begin.elapsed() > CLEAN {
            report.violate("nothing-is-left", format!("{left} attempts are to be cleaned after {CLEAN:?}"));
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Waits until whoever watches everything has seen the last event; where that takes too long, a rule finds it.
async fn wait_for_watcher(reader: &mut Reader, load: &Load) -> anyhow::Result<()> {
    let (begin, last) = (Instant::now(), reader.last_event().await?);
    while load.last_seen() < Some(last) && begin.elapsed() < SEEN {
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

async fn read(reader: &mut Reader, stage: &Stage, asked: Asked) -> anyhow::Result<History> {
    let expected = stage.web.expected();
    let of_dataset = |dataset: &String| {
        let truth = |picture: &ursa_demo_web::ListedPicture| Truth {
            dataset: dataset.clone(),
            class: picture.class.to_string(),
            url: picture.url.clone(),
            outcome: picture.outcome.clone(),
        };
        expected.iter().map(truth).collect::<Vec<_>>()
    };
    let truth = asked.datasets.iter().flat_map(of_dataset).collect();
    let history = reader.history(&stage.storage()?).await?;
    let Asked { submitted, watched, watched_everything, cancelled, drained, .. } = asked;
    let stored = stage.stored()?;
    Ok(History { submitted, truth, watched, watched_everything, cancelled, drained, stored, ..history })
}
