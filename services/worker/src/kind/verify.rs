//! Verification: a raw shard in, a shard of normalised pictures and a verdict for every image out.

use futures::{StreamExt as _, stream};
use ursa_proto::v1;
use ursa_storage::shard::{self, ShardImage, ShardWriter};
use ursa_storage::{Digest, Key};
use ursa_vision::{Decoded, Limits, Normalised, Refusal};

use super::put;
use crate::attempt::Attempt;
use crate::error::WorkError;
use crate::tools::Tools;

/// What came of looking at one image; a picture only if it is kept.
type Judged = (v1::ImageVerdict, Option<Normalised>);

/// Decodes and judges every image of the task's shard.
pub(crate) async fn work(
    tools: &Tools,
    attempt: &Attempt,
    task: v1::VerifyTask,
) -> Result<v1::VerifyResult, WorkError> {
    let expected: Digest =
        task.shard_sha256.parse().map_err(|error| WorkError::fatal(format!("shard {}: {error}", task.shard_key)))?;
    let raw = tools.storage.get_verified(&task.shard_key.parse()?, &expected).await?;
    let images = shard::read(&raw)?;
    let options = task.options.unwrap_or_default();
    let total = images.len() as u64;
    let mut normal = ShardWriter::new();
    let mut verdicts = Vec::with_capacity(images.len());
    let mut judging = stream::iter(images).map(|image| judge(tools, image, &options)).buffered(tools.threads);
    attempt.progress(0, total, "images", "decoding");
    while let Some(judged) = judging.next().await {
        let (image, judged) = judged?;
        verdicts.push(take(&mut normal, &image, judged)?);
        attempt.progress(verdicts.len() as u64, total, "images", "decoding");
    }
    drop(judging);
    let kept = normal.images();
    attempt.log("info", format!("kept {kept} of {total} images of {}", task.shard_key));
    let key = Key::NormalShard { task: attempt.task_id(), attempt: attempt.number() };
    let shard = if kept == 0 { None } else { Some(put(tools, key, normal.finish()).await?) };
    Ok(v1::VerifyResult { shard, verdicts })
}

async fn judge(tools: &Tools, image: ShardImage, options: &v1::VerifySpec) -> Result<(ShardImage, Judged), WorkError> {
    let limits = Limits {
        // Fetching has capped it already, by the word of whoever submitted the job.
        max_bytes: u64::MAX,
        max_pixels: options.max_pixels,
        min_side: options.min_side,
        max_frames: options.max_frames,
    };
    let max_side = options.max_side;
    let _core = tools.decoding.acquire().await.map_err(WorkError::retryable)?;
    let decoding = tokio::task::spawn_blocking(move || {
        let judged = look_at(&image, &limits, max_side);
        (image, judged)
    });
    decoding.await.map_err(|error| WorkError::retryable(format!("decoding failed: {error}")))
}

fn look_at(image: &ShardImage, limits: &Limits, max_side: u32) -> Judged {
    let image_id = image.id.to_string();
    let seen = ursa_vision::decode(&image.bytes, limits)
        .and_then(|decoded| ursa_vision::normalise(&decoded, max_side).map(|normalised| (decoded, normalised)));
    match seen {
        Ok((decoded, normalised)) => {
            let licence = ursa_vision::licence(&image.bytes).unwrap_or_default();
            (v1::ImageVerdict { licence, ..kept(image_id, &decoded, &normalised) }, Some(normalised))
        }
        Err(Refusal { reason, detail }) => {
            (v1::ImageVerdict { image_id, reason: reason.to_string(), detail, ..v1::ImageVerdict::default() }, None)
        }
    }
}

fn kept(image_id: String, decoded: &Decoded, normalised: &Normalised) -> v1::ImageVerdict {
    let info = &decoded.info;
    v1::ImageVerdict {
        image_id,
        width: info.width,
        height: info.height,
        format: info.format.as_str().to_owned(),
        mode: info.mode.clone(),
        orientation: info.orientation.into(),
        pixel_sha256: hex::encode(normalised.pixel_sha256),
        perceptual_hash: normalised.perceptual_hash,
        normal_width: normalised.width,
        normal_height: normalised.height,
        ..v1::ImageVerdict::default()
    }
}

/// Puts a kept picture into the shard; its sidecar goes with it.
fn take(normal: &mut ShardWriter, image: &ShardImage, judged: Judged) -> Result<v1::ImageVerdict, WorkError> {
    let (mut verdict, picture) = judged;
    if let Some(picture) = picture {
        let entry = normal.push(image.id, picture.format.extension(), &picture.bytes, &image.sidecar)?;
        (verdict.shard_offset, verdict.shard_length) = (entry.offset, entry.length);
    }
    Ok(verdict)
}
