//! `make bench-train`: how fast networks learn on this CPU or GPU, beside PyTorch with the same libtorch, on the same cores, in
//! the same run. The two take turns, and a figure is the median of its turns: a machine that drifts decides nothing.
//!
//! A turn on a GPU ends when the losses of all its batches have been read, and so when the GPU has done all of it.
//!
//! - `case`: what is trained. `device`: on what. `pictures`: what it is trained on.
//! - `ours`: by the learner, as the trainer does it. `peer`: by PyTorch, in `peer.py`.

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

mod case;
mod device;
mod ours;
mod peer;
mod pictures;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use serde_json::json;
use ursa_bench::report::{Aim, Report};
use ursa_learner::{Device, Precision, keep_memory, libtorch_version, set_threads, usable_cores};

use case::Case;
use device::Wanted;
use ours::Ours;
use peer::Peer;
use pictures::Pictures;

/// How much of a step's speed an epoch must keep, with all pictures loaded and altered.
const KEPT: f64 = 0.95;
/// How long a turn of steps lasts, about.
const TURN_SECONDS: f64 = 1.5;

/// Measures training and writes the figures.
#[derive(Debug, Parser)]
struct Arguments {
    /// A Python that has PyTorch with the libtorch that is linked here, and torchvision.
    #[arg(long, default_value = ".deps/pytorch/bin/python3")]
    python: PathBuf,
    /// What both sides train on: cpu, cuda or cuda:1; a GPU where there is one that libtorch can use, unless given.
    #[arg(long)]
    device: Option<Wanted>,
    /// Where the figures go; `target/bench/train.json` unless given, of a GPU `target/bench/train-cuda.json`.
    #[arg(long)]
    output: Option<PathBuf>,
    /// Pictures in a batch; 16 unless given, on a GPU 64.
    #[arg(long)]
    batch_size: Option<u32>,
    /// Batches in an epoch; 5 unless given, on a GPU 100.
    #[arg(long)]
    batches: Option<u32>,
    /// Turns of each side.
    #[arg(long, default_value_t = 4)]
    rounds: u32,
    /// One turn of each side: wrong by what the machine drifts.
    #[arg(long, conflicts_with = "rounds")]
    quick: bool,
    /// Only what has all of these words: resnet18, resnet34, 128, 224, float32, bfloat16.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

/// How everything is measured.
#[derive(Debug, Clone, Copy)]
struct Plan {
    device: Device,
    batch_size: u32,
    batches: u32,
    rounds: u32,
    /// Steps of a turn, at least and at most.
    steps: (u32, u32),
}

impl Plan {
    fn of(arguments: &Arguments, device: Device) -> Self {
        let (batch_size, batches, steps) = if device.is_cuda() { (64, 100, (16, 512)) } else { (16, 5, (2, 16)) };
        Self {
            device,
            batch_size: arguments.batch_size.unwrap_or(batch_size),
            batches: arguments.batches.unwrap_or(batches),
            rounds: if arguments.quick { 1 } else { arguments.rounds },
            steps,
        }
    }
}

/// Images per second of each side.
#[derive(Debug, Clone, Copy)]
struct Pair {
    ours: f64,
    peer: f64,
}

/// What was measured of a case.
#[derive(Debug)]
struct Measured {
    case: Case,
    step: Pair,
    epoch: Pair,
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
    let device = device::choose(arguments.device)?;
    let plan = Plan::of(arguments, device);
    set_threads(usable_cores());
    let has_bfloat16 = Precision::best(device) == Precision::BFloat16;
    if !has_bfloat16 {
        println!("{} has no bfloat16 instructions: nothing is aimed at in bfloat16", device::name(device));
    }
    let load = std::fs::read_to_string("/proc/loadavg")?;
    let load: f64 = load.split(' ').next().unwrap_or_default().parse().unwrap_or_default();
    let peer = peer::versions(&arguments.python, device)?;
    let mut hardware = json!({"device": device::name(device), "bfloat16": has_bfloat16, "load_before": load});
    if device.is_cuda() {
        hardware["gpu"] = peer["gpu"].clone();
        hardware["driver"] = device::driver()?.into();
    }
    let versions = json!({"libtorch": libtorch_version(), "peer": peer});
    let mut report = Report::new("PyTorch", hardware, versions)?;
    let mut all = Vec::new();
    for case in case::all().into_iter().filter(|case| arguments.only.iter().all(|word| case.has(word))) {
        let measured = compare(&arguments.python, plan, case)?;
        let aims = case.precision == Precision::Float32 || has_bfloat16;
        tell(plan, &mut report, &measured, aims);
        all.push(measured);
    }
    for measured in &all {
        let same = |other: &&Measured| other.case == Case { precision: Precision::Float32, ..measured.case };
        if let (Precision::BFloat16, Some(float)) = (measured.case.precision, all.iter().find(same)) {
            let name = format!("{}, bfloat16 over float32: step", measured.case.without_precision());
            let (ours, peer) = (measured.step.ours / float.step.ours, measured.step.peer / float.step.peer);
            report.beside(&name, "times", ours, peer, Aim::None);
        }
    }
    let file = if device.is_cuda() { "train-cuda.json" } else { "train.json" };
    report.write(arguments.output.as_deref().unwrap_or(&Path::new("target/bench").join(file)))
}

fn compare(python: &Path, plan: Plan, case: Case) -> anyhow::Result<Measured> {
    let pictures = Pictures::draw(case.size, plan.batch_size, plan.batches)?;
    let mut ours = Ours::prepare(case, &pictures, plan.device, plan.steps.1)?;
    let mut peer = Peer::start(python, case, &pictures, plan.device)?;
    // Everything has been used once before it is timed.
    let (fewest, most) = plan.steps;
    ours.steps(fewest)?;
    peer.steps(fewest)?;
    let seconds = f64::from(plan.batch_size) / ours.steps(fewest)?;
    let steps = ((TURN_SECONDS / seconds).ceil() as u32).clamp(fewest, most);
    if plan.device.is_cuda() {
        ours.epoch()?;
        peer.epoch()?;
    }
    let (mut step, mut epoch) = (Vec::new(), Vec::new());
    for round in 0..plan.rounds {
        // Who comes first changes too.
        let ours_first = round % 2 == 0;
        step.push(turns(ours_first, || ours.steps(steps), || peer.steps(steps))?);
        epoch.push(turns(ours_first, || ours.epoch(), || peer.epoch())?);
    }
    Ok(Measured { case, step: medians(&step), epoch: medians(&epoch) })
}

fn turns(
    ours_first: bool,
    ours: impl FnOnce() -> anyhow::Result<f64>,
    peer: impl FnOnce() -> anyhow::Result<f64>,
) -> anyhow::Result<Pair> {
    if ours_first {
        return Ok(Pair { ours: ours()?, peer: peer()? });
    }
    let peer = peer()?;
    Ok(Pair { ours: ours()?, peer })
}

fn tell(plan: Plan, report: &mut Report, measured: &Measured, aims: bool) {
    let Measured { case, step, epoch } = measured;
    let name = |what: &str| format!("{case}, batch {}: {what}", plan.batch_size);
    let aim = |aim| if aims { aim } else { Aim::None };
    report.beside(&name("step"), "images/s", step.ours, step.peer, aim(Aim::TimesPeer(1.0)));
    report.beside(&name("epoch"), "images/s", epoch.ours, epoch.peer, Aim::None);
    let (ours, peer) = (epoch.ours / step.ours, epoch.peer / step.peer);
    report.beside(&name("epoch over its own step"), "times", ours, peer, aim(Aim::AtLeast(KEPT)));
}

fn medians(turns: &[Pair]) -> Pair {
    let median = |of: fn(&Pair) -> f64| {
        let mut figures: Vec<f64> = turns.iter().map(of).collect();
        figures.sort_by(f64::total_cmp);
        let middle = |index: usize| figures.get(index).copied().unwrap_or_default();
        f64::midpoint(middle(figures.len().saturating_sub(1) / 2), middle(figures.len() / 2))
    };
    Pair { ours: median(|pair| pair.ours), peer: median(|pair| pair.peer) }
}
