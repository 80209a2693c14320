//! The demo: everything on this machine, from drawn bears on a web of our own to a classifier that answers.
//!
//! It does what a user would do, with what a user has: it writes URL lists and a pipeline file, runs `ursa up` and
//! `ursa pipeline run --watch`, and asks the nodes over HTTP and gRPC. What it finds is printed and written to
//! `result.json`. It fails unless the classifier is good and right.

mod ask;
mod programs;
mod report;
mod stage;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::ensure;
use clap::Parser;
use tokio_util::sync::CancellationToken;
use ursa_client::Client;
use ursa_demo_web::{DemoWeb, DemoWebConfig};

use programs::{Up, run_pipeline};
use report::Report;

/// Runs the bears from URL lists to predictions, and leaves the system up.
#[derive(Debug, Parser)]
#[command(name = "ursa-demo")]
struct Arguments {
    /// Where everything is kept; what an earlier demo left there is removed.
    #[arg(long, default_value = "target/demo")]
    folder: PathBuf,
    /// Stop the system and end when the result is there.
    #[arg(long)]
    once: bool,
}

// One thread: the services end with the thread that started them.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    ursa_telemetry::init_logging_at("warn");
    match run(&arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("demo: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let stop = ursa_telemetry::stop_on_signal()?;
    let folder = stage::clean(&arguments.folder)?;
    let web = DemoWeb::start(DemoWebConfig::default()).await?;
    say(&format!("The demo web draws bears at {}", web.base_url()));
    let pipeline = stage::write(&folder, &web)?;
    let begin = Instant::now();
    let mut up = Up::start(&folder, web.address().port()).await?;
    let outcome = tokio::select! {
        outcome = play(&up, &web, &pipeline, begin) => outcome,
        () = stop.cancelled() => return up.stop(),
    };
    match outcome {
        Ok(report) => {
            report.write(&folder.join("result.json"))?;
            say(&report.text(&up.record.dashboard));
            linger(arguments, &mut up, &stop).await?;
            up.stop()?;
            report.check()
        }
        Err(error) => {
            up.stop()?;
            Err(error)
        }
    }
}

/// Everything a user would do once the system is up.
async fn play(up: &Up, web: &DemoWeb, pipeline: &std::path::Path, begin: Instant) -> anyhow::Result<Report> {
    let seconds_up = begin.elapsed().as_secs_f64();
    let status = run_pipeline(&up.record.coordinator, pipeline).await?;
    ensure!(status.success(), "the pipeline did not succeed; the logs are in {}", up.logs().display());
    let client = Client::new(&up.record.coordinator)?;
    let mut report = Report::of(&client).await?;
    report.seconds.insert("up".into(), seconds_up);
    report.predictions = ask::about_fresh_pictures(web, &up.record.nodes).await?;
    report.seconds.insert("all".into(), begin.elapsed().as_secs_f64());
    Ok(report)
}

/// Leaves the system up until somebody has seen enough.
async fn linger(arguments: &Arguments, up: &mut Up, stop: &CancellationToken) -> anyhow::Result<()> {
    if arguments.once {
        return Ok(());
    }
    say("Everything stays up. Ctrl-C stops it.");
    tokio::select! {
        () = stop.cancelled() => Ok(()),
        status = up.ended() => anyhow::bail!("`ursa up` ended by itself: {status}"),
    }
}

#[expect(clippy::print_stderr, reason = "a demo is for whoever watches it")]
fn say(text: &str) {
    eprintln!("{text}");
}
