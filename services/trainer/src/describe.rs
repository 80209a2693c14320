//! What this machine offers for training, for the worker that announces it.

use std::process::ExitCode;

use ursa_learner::{Device, Precision, best_device, libtorch_version, usable_cores};

/// `cpu` or `cuda:0`.
pub(crate) fn device_name(device: Device) -> String {
    match device {
        Device::Cuda(index) => format!("cuda:{index}"),
        _ => "cpu".to_owned(),
    }
}

/// Prints the description as one JSON object.
#[expect(clippy::print_stdout, reason = "the description is this call's result")]
pub(crate) fn print() -> ExitCode {
    let device = best_device();
    let description = serde_json::json!({
        "device": device_name(device),
        "precision": Precision::best(device).as_str(),
        "threads": usable_cores(),
        "libtorch": libtorch_version(),
        "code_version": ursa_version::NAME,
    });
    println!("{description}");
    ExitCode::SUCCESS
}
