//! Compiles the protocol with a compiler written in Rust, so that no `protoc` is needed.

use std::error::Error;
use std::path::PathBuf;

const FILES: [&str; 6] = [
    "ursa/v1/types.proto",
    "ursa/v1/jobs.proto",
    "ursa/v1/datasets.proto",
    "ursa/v1/models.proto",
    "ursa/v1/workers.proto",
    "ursa/v1/nodes.proto",
];
const INFERENCE: &str = "inference/open_inference.proto";

fn main() -> Result<(), Box<dyn Error>> {
    let files = FILES.iter().copied().chain([INFERENCE]);
    for file in files.clone() {
        println!("cargo:rerun-if-changed={file}");
    }
    let descriptors = protox::compile(files, ["."])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), prost::Message::encode_to_vec(&descriptors))?;
    tonic_prost_build::configure()
        .bytes(".ursa.v1.GetImageResponse.data")
        .bytes(".inference")
        .compile_fds(descriptors)?;
    Ok(())
}
