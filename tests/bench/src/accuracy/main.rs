//! `make bench-accuracy`: what bfloat16 costs. The same recipe is trained on the demo's bears in float32 and in bfloat16, with
//! several seeds each, and the two are compared by what they come to on pictures that neither has seen. A difference counts
//! against its standard error: what seeds alone would make of it. How the runs went is drawn beside the figures.

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

mod bears;
mod curves;
mod spread;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use serde_json::json;
use ursa_bench::report::{Aim, Report};
use ursa_learner::{
    Advance, Architecture, Device, EpochReport, Precision, Rate, Recipe, RunIdentity, Stage, Training, keep_memory,
    libtorch_version, set_threads, usable_cores,
};

use bears::Bears;
use curves::Group;
use spread::{Spread, standard_errors};

/// Standard errors that the means may differ by: chance alone exceeds it one time in twenty.
const MOST: f64 = 2.0;

/// Compares precisions and writes `target/bench/accuracy.json`, and the curves beside it as SVG.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where the figures go.
    #[arg(long, default_value = "target/bench/accuracy.json")]
    output: PathBuf,
    /// Runs in each precision, three or more.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(3..))]
    seeds: u64,
    /// Epochs of each run.
    #[arg(long, default_value_t = 8)]
    epochs: u32,
    /// Pictures of each class to learn from.
    #[arg(long, default_value_t = 150)]
    train: u32,
    /// Pictures of each class to measure on.
    #[arg(long, default_value_t = 100)]
    valid: u32,
    /// Side of the pictures, in pixels.
    #[arg(long, default_value_t = 64)]
    image_size: u32,
}

fn main() -> ExitCode {
    keep_memory();
    match measure(&Arguments::parse()) {
        // Missed aims are said, and stand in the file: a figure is no failure of the run.
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &Arguments) -> anyhow::Result<()> {
    set_threads(usable_cores());
    let native = Precision::best(Device::Cpu) == Precision::BFloat16;
    if !native {
        println!("this CPU has no bfloat16 instructions: it computes the same numbers, slowly");
    }
    let hardware = json!({"bfloat16": native});
    let mut report = Report::new("float32", hardware, json!({"libtorch": libtorch_version()}))?;
    let bears = Bears::draw(arguments.image_size, arguments.train, arguments.valid);
    let mut runs = [Vec::new(), Vec::new()];
    for seed in 1..=arguments.seeds {
        // They take turns: a machine that drifts decides nothing.
        for (runs, precision) in runs.iter_mut().zip([Precision::Float32, Precision::BFloat16]) {
            let history = train(arguments, &bears, seed, precision)?;
            let last = history.last().context("there were no epochs")?;
            let (errors, loss) = (last.valid.errors(), last.valid.loss);
            println!("seed {seed}, {}: error_rate {errors}, valid_loss {loss:.4}", precision.as_str());
            runs.push(history);
        }
    }
    tell(arguments, &mut report, &runs);
    report.write(&arguments.output)?;
    draw(arguments, &runs)
}

fn draw(arguments: &Arguments, [float32, bfloat16]: &[Vec<Vec<EpochReport>>; 2]) -> anyhow::Result<()> {
    let title = format!("Bears after every epoch: {}", case(arguments));
    let groups = [
        Group { name: "float32", colour: "#1f6feb", runs: float32 },
        Group { name: "bfloat16", colour: "#d1570b", runs: bfloat16 },
    ];
    std::fs::write(arguments.output.with_extension("svg"), curves::draw(&title, &groups))?;
    Ok(())
}

fn case(arguments: &Arguments) -> String {
    let Arguments { train, epochs, image_size, seeds, .. } = arguments;
    format!("resnet18, {image_size} pixels, {} pictures, {epochs} epochs, {seeds} seeds", 3 * train)
}

fn train(arguments: &Arguments, bears: &Bears, seed: u64, precision: Precision) -> anyhow::Result<Vec<EpochReport>> {
    let recipe = Recipe {
        architecture: Architecture::ResNet18,
        image_size: arguments.image_size,
        batch_size: 32,
        stages: vec![Stage::one_cycle(arguments.epochs, Rate::Flat(3e-3))],
        seed,
        ..Recipe::default()
    };
    let data = bears.dataset()?;
    let identity = RunIdentity { recipe, classes: data.classes.clone(), snapshot: String::new() };
    let mut training = Training::new(identity, data, None, Device::Cpu, precision)?;
    while training.advance()? != Advance::Done {}
    Ok(training.history().to_vec())
}

/// One figure of an epoch.
type Measured = fn(&EpochReport) -> f64;

fn tell(arguments: &Arguments, report: &mut Report, [float32, bfloat16]: &[Vec<Vec<EpochReport>>; 2]) {
    let case = case(arguments);
    let measures: [(&str, &str, Measured); 3] = [
        ("error rate", "%", |last| 100.0 * last.error_rate()),
        ("validation loss", "nats", |last| last.valid.loss),
        ("training loss", "nats", |last| last.train.loss),
    ];
    for (what, unit, of) in measures {
        let [ours, peer] = [bfloat16, float32]
            .map(|runs| Spread::of(&runs.iter().filter_map(|run| run.last().map(of)).collect::<Vec<_>>()));
        report.beside(&format!("{case}: {what}, bfloat16"), unit, ours.mean, peer.mean, Aim::None);
        report.beside(&format!("{case}: {what}, deviation"), unit, ours.deviation, peer.deviation, Aim::None);
        let difference = standard_errors(&ours, &peer).abs();
        report.row(&format!("{case}: {what}, difference"), "std errors", difference, Aim::AtMost(MOST));
    }
}
