//! `ursa models interpret`: what a model gets wrong, and which pictures should be looked at first.

use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use ursa_client::Client;
use ursa_proto::{ApiError, v1};

use crate::output::{Column, Output, table};
use crate::plot::bar;
use crate::text;

/// Names of classes in a table of counts are cut here.
const NAME: usize = 16;
/// The length of a bar that stands for everything.
const BAR: usize = 20;

#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// The model's digest, or the first eight digits or more.
    digest: String,
    /// A snapshot that an evaluate job asked it about: the digest, or the first eight digits or more; without it, its own.
    #[arg(long)]
    snapshot: Option<String>,
    /// Which images; without it those it was measured on, and all of a snapshot that is named.
    #[arg(long, value_enum)]
    side: Option<Side>,
    /// At most this many entries in each list.
    #[arg(long, short = 'L', default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=200))]
    limit: u32,
}

/// A side of the split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Side {
    /// What it was measured on.
    Valid,
    /// What it learned from.
    Train,
    /// Both.
    All,
}

impl Side {
    fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Train => "train",
            Self::All => "all",
        }
    }
}

const CLASSES: &[Column] = &[("CLASS", "class"), ("WRONG", "wrong"), ("ERROR RATE", "rate"), ("95 %", "interval")];
const PAIRS: &[Column] = &[("IS", "actual"), ("TAKEN FOR", "predicted"), ("IMAGES", "count")];
const IMAGES: &[Column] = &[
    ("LOSS", "loss"),
    ("MARGIN", "margin"),
    ("LABEL", "actual"),
    ("PREDICTED", "predicted"),
    ("PROBABILITY", "probability"),
    ("IMAGE", "image"),
    ("URL", "url"),
];
const BINS: &[Column] = &[("CONFIDENCE", "confidence"), ("RIGHT", "accuracy"), ("IMAGES", "count"), ("", "bar")];

pub(crate) async fn run(flags: &Flags, client: &Client, output: &Output) -> anyhow::Result<()> {
    let request = v1::InterpretModelRequest {
        digest: flags.digest.clone(),
        side: flags.side.map_or_else(String::new, |side| side.as_str().to_owned()),
        limit: flags.limit,
        snapshot: flags.snapshot.clone().unwrap_or_default(),
    };
    let found = client.models().interpret_model(request).await.map_err(ApiError::from)?.into_inner();
    output.print_done(&found, "Interpretation", &told(&found))
}

fn told(found: &v1::Interpretation) -> String {
    let mut parts =
        vec![headline(found), class_errors(found), format!("Who is taken for whom\n\n{}", confusion(found))];
    if !found.most_confused.is_empty() {
        parts.push(format!("Most confused\n\n{}", pairs(found)));
    }
    parts.push(format!("Highest losses\n\n{}", images(found, &found.top_losses)));
    parts.push(format!(
        "Least sure, by the margin of the best class over the second\n\n{}",
        images(found, &found.most_unsure)
    ));
    parts.extend(found.calibration.as_ref().map(calibration));
    parts.join("\n\n")
}

/// `Model 9f2c4e1ab83d on the valid side of bears@3: 3 of 141 images wrong, 2.1 % (0.7–6.1 % with 95 % confidence)`.
fn headline(found: &v1::Interpretation) -> String {
    let digest = found.digest.get(..12).unwrap_or(&found.digest);
    let errors = found.errors.unwrap_or_default();
    format!(
        "Model {digest} on {}: {} of {} images wrong, {} ({} with 95 % confidence)",
        subject(found),
        errors.wrong,
        errors.of,
        text::percent(rate(errors)),
        text::percents((errors.low, errors.high))
    )
}

/// Which images; a coordinator of the version before does not name the snapshot.
fn subject(found: &v1::Interpretation) -> String {
    let snapshot = match found.dataset.as_str() {
        "" => "its own snapshot".to_owned(),
        dataset => format!("{dataset}@{}", found.snapshot_number),
    };
    if found.side == Side::All.as_str() { snapshot } else { format!("the {} side of {snapshot}", found.side) }
}

fn rate(errors: v1::ErrorShare) -> f64 {
    errors.wrong as f64 / errors.of.max(1) as f64
}

fn class_errors(found: &v1::Interpretation) -> String {
    let row = |(class, errors): (&String, &v1::ErrorShare)| {
        json!({
            "class": class, "wrong": format!("{}/{}", errors.wrong, errors.of), "rate": text::percent(rate(*errors)),
            "interval": text::percents((errors.low, errors.high)),
        })
    };
    table(&found.classes.iter().zip(&found.class_errors).map(row).collect::<Vec<_>>(), CLASSES)
}

/// Rows are what images are by their label, columns what they are taken for; none is a dot.
fn confusion(found: &v1::Interpretation) -> String {
    let names: Vec<String> = found.classes.iter().map(|name| name.chars().take(NAME).collect()).collect();
    let told = |count: &u64| if *count == 0 { "·".to_owned() } else { count.to_string() };
    let cells = |row: &v1::ConfusionRow| row.counts.iter().map(told).collect::<Vec<_>>();
    let rows: Vec<Vec<String>> = found.confusion.iter().map(cells).collect();
    let width = names.iter().chain(rows.iter().flatten()).map(|text| text.chars().count()).max().unwrap_or_default();
    let line = |name: &str, cells: &[String]| {
        let cells = cells.iter().map(|text| format!("  {text:>width$}"));
        std::iter::once(format!(" {name:<width$}")).chain(cells).collect::<String>()
    };
    let lines = names.iter().zip(&rows).map(|(name, cells)| line(name, cells));
    std::iter::once(line("", &names)).chain(lines).collect::<Vec<_>>().join("\n")
}

fn pairs(found: &v1::Interpretation) -> String {
    let row = |pair: &v1::ConfusedPair| {
        let of = found.class_errors.get(pair.actual as usize).map_or(0, |errors| errors.of);
        json!({
            "actual": class(found, pair.actual), "predicted": class(found, pair.predicted),
            "count": format!("{} of {of}", pair.count),
        })
    };
    table(&found.most_confused.iter().map(row).collect::<Vec<_>>(), PAIRS)
}

fn images(found: &v1::Interpretation, images: &[v1::JudgedImage]) -> String {
    let row = |image: &v1::JudgedImage| {
        json!({
            "loss": format!("{:.3}", image.loss), "margin": text::percent(image.margin.into()),
            "actual": class(found, image.actual), "predicted": class(found, image.predicted),
            "probability": text::percent(image.probability.into()), "image": image.image_id, "url": image.url,
        })
    };
    table(&images.iter().map(row).collect::<Vec<_>>(), IMAGES)
}

fn class(found: &v1::Interpretation, index: u32) -> &str {
    found.classes.get(index as usize).map_or("?", String::as_str)
}

fn calibration(calibration: &v1::Calibration) -> String {
    let row = |bin: &v1::CalibrationBin| -> Value {
        json!({
            "confidence": text::percent(bin.confidence), "accuracy": text::percent(bin.accuracy), "count": bin.count,
            "bar": bar(bin.accuracy, BAR),
        })
    };
    let bins: Vec<Value> = calibration.bins.iter().filter(|bin| bin.count > 0).map(row).collect();
    let error = text::percent(calibration.error);
    format!(
        "Calibration: what it says and how often that is right differ by {error} on average\n\n{}",
        table(&bins, BINS)
    )
}
