//! Compiles the protocol with a compiler written in Rust, so that no `protoc` is needed.

use std::error::Error;
use std::path::PathBuf;

const FILES: [&str; 9] = [
    "ursa/v1/types.proto",
    "ursa/v1/jobs.proto",
    "ursa/v1/datasets.proto",
    "ursa/v1/models.proto",
    "ursa/v1/workers.proto",
    "ursa/v1/nodes.proto",
    "ursa/v1/queues.proto",
    "ursa/v1/schedules.proto",
    "ursa/v1/webhooks.proto",
];
/// Protocols that others agreed on.
const FOREIGN: [&str; 2] = ["inference/open_inference.proto", "externalscaler/externalscaler.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    let files = FILES.iter().chain(&FOREIGN).copied();
    for file in files.clone() {
        println!("cargo:rerun-if-changed={file}");
    }
    let descriptors = protox::compile(files, ["."])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), prost::Message::encode_to_vec(&descriptors))?;
    tonic_prost_build::configure()
        .codec_path("crate::SmallBuffers")
        // In order, so that the same is always written the same: requests are told apart by their bytes.
        .btree_map(".")
        .bytes(".ursa.v1.GetImageResponse.data")
        .bytes(".ursa.v1.Heatmap.overlay_png")
        .bytes(".inference")
        .compile_fds(descriptors)?;
    Ok(())
}
