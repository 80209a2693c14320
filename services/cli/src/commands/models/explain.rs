//! `ursa models explain`: what in images speaks for a class, as pictures.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use serde_json::{Value, json};
use ursa_client::Client;
use ursa_client::explanation;
use ursa_client::learned::Explained;
use ursa_proto::v1::explain_spec::Of;
use ursa_proto::v1::watch_events_request::Subject;
use ursa_proto::{ApiError, v1};

use super::super::watch;
use crate::output::{Column, Output};
use crate::{say, text};

#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// The model's digest, or the first eight digits or more.
    digest: String,
    /// Ids of images, as `ursa models interpret` tells them.
    #[arg(required = true, value_name = "IMAGE", num_args = 1..=64)]
    images: Vec<String>,
    /// What speaks for this class; without it, for that of each image's label.
    #[arg(long, value_name = "NAME")]
    class: Option<String>,
    /// What speaks for the class that the model takes each image for.
    #[arg(long, conflicts_with = "class")]
    predicted: bool,
    /// Where to write the pictures.
    #[arg(long, value_name = "DIR", default_value = ".")]
    folder: PathBuf,
}

const IMAGES: &[Column] = &[
    ("IMAGE", "image_id"),
    ("CLASS", "class"),
    ("PROBABILITY", "probability"),
    ("TAKEN FOR", "predicted"),
    ("PICTURE", "file"),
];

pub(crate) async fn run(flags: &Flags, client: &Client, output: &Output) -> anyhow::Result<()> {
    std::fs::create_dir_all(&flags.folder).with_context(|| format!("cannot make {}", flags.folder.display()))?;
    let explained = Explained::read(&ended(client, flags).await?.output_json);
    let digest = explained.model_digest.context("the job names no model")?;
    let mut heatmaps = Vec::with_capacity(explained.images.len());
    for image in explained.images {
        let request = v1::GetHeatmapRequest { digest: digest.clone(), image_id: image.image_id, class: image.class };
        let heatmap = client.models().get_heatmap(request).await.map_err(ApiError::from)?.into_inner();
        let file = write(&flags.folder, &heatmap)?;
        heatmaps.push((heatmap, file));
    }
    let json: Value = heatmaps.iter().map(|(heatmap, file)| whole(heatmap, file)).collect();
    let rows: Vec<Value> = heatmaps.iter().map(|(heatmap, file)| row(heatmap, file)).collect();
    output.print_rows(&json, &rows, IMAGES)
}

/// Submits the job and waits until it has ended well.
async fn ended(client: &Client, flags: &Flags) -> anyhow::Result<v1::Job> {
    let of = flags.class.clone().map(Of::Class).or(flags.predicted.then_some(Of::Predicted(true)));
    let request = explanation::request(&flags.digest, flags.images.clone(), of);
    let answer = client.jobs().submit_pipeline(request).await.map_err(ApiError::from)?.into_inner();
    let id = answer.pipeline.and_then(|pipeline| pipeline.jobs.into_iter().next()).map(|job| job.id);
    let id = id.context("the coordinator answered without a job")?;
    say(&format!("job {id} explains {} images", flags.images.len()));
    watch::end(client, Subject::JobId(id.clone())).await?;
    let detail = client.jobs().get_job(v1::GetJobRequest { id }).await.map_err(ApiError::from)?.into_inner();
    let job = detail.job.context("the coordinator's answer names no job")?;
    match job.state.as_str() {
        "succeeded" => Ok(job),
        state => bail!("job {} is {state}: {}", job.id, job.error),
    }
}

/// Where the picture is. Names of classes are not ours: what could lead elsewhere is left out.
fn write(folder: &Path, heatmap: &v1::Heatmap) -> anyhow::Result<PathBuf> {
    let name = format!("{}-{}.png", heatmap.image_id, heatmap.class).replace(['/', '\\'], "_");
    let file = folder.join(name);
    std::fs::write(&file, &heatmap.overlay_png).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

fn whole(heatmap: &v1::Heatmap, file: &Path) -> Value {
    json!({
        "digest": heatmap.digest, "image_id": heatmap.image_id, "class": heatmap.class,
        "probability": heatmap.probability, "predicted": heatmap.predicted, "side": heatmap.side,
        "values": heatmap.values, "file": file.display().to_string(),
    })
}

fn row(heatmap: &v1::Heatmap, file: &Path) -> Value {
    let is_dark = heatmap.values.iter().all(|value| *value <= 0.0);
    json!({
        "image_id": heatmap.image_id, "class": heatmap.class, "probability": text::percent(heatmap.probability.into()),
        "predicted": heatmap.predicted,
        "file": if is_dark { format!("{} (nothing speaks for it)", file.display()) } else { file.display().to_string() },
    })
}
