//! What both sides train on.

use std::process::Command;
use std::str::FromStr;

use anyhow::{Context as _, bail, ensure};
use ursa_learner::{Device, best_device};

/// The device that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    Cpu,
    /// The GPU of that number.
    Cuda(usize),
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = match text {
            "cpu" => return Ok(Self::Cpu),
            "cuda" => Some(0),
            _ => text.strip_prefix("cuda:").and_then(|number| number.parse().ok()),
        };
        number.map(Self::Cuda).ok_or_else(|| format!("{text:?} is none of cpu, cuda, cuda:0, cuda:1"))
    }
}

/// What is trained on; an error where a GPU was asked for that libtorch cannot use. Call it before the first tensor is made.
pub(crate) fn choose(wanted: Option<Wanted>) -> anyhow::Result<Device> {
    match wanted {
        None => Ok(best_device()),
        Some(Wanted::Cpu) => Ok(Device::Cpu),
        Some(Wanted::Cuda(number)) => match best_device() {
            Device::Cuda(_) => Ok(Device::Cuda(number)),
            _ => {
                bail!("libtorch finds no GPU here: is the driver there, and its CUDA half where LD_LIBRARY_PATH says?")
            }
        },
    }
}

/// As PyTorch names it.
pub(crate) fn name(device: Device) -> String {
    match device {
        Device::Cuda(number) => format!("cuda:{number}"),
        _ => "cpu".to_owned(),
    }
}

/// The version of the GPUs' driver.
pub(crate) fn driver() -> anyhow::Result<String> {
    let mut command = Command::new("nvidia-smi");
    let output = command.args(["--query-gpu=driver_version", "--format=csv,noheader"]).output();
    let output = output.context("nvidia-smi, which tells the version of the driver, cannot be run")?;
    ensure!(output.status.success(), "nvidia-smi failed: {}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stdout);
    Ok(said.lines().next().unwrap_or_default().trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_named_as_pytorch_names_them() {
        let read = |text: &str| text.parse::<Wanted>();
        assert_eq!(["cpu", "cuda", "cuda:2"].map(read), [Ok(Wanted::Cpu), Ok(Wanted::Cuda(0)), Ok(Wanted::Cuda(2))]);
        assert!(["gpu", "cuda:", "cuda:x"].map(read).iter().all(Result::is_err));
        assert_eq!([Device::Cpu, Device::Cuda(1)].map(name), ["cpu", "cuda:1"]);
        assert_eq!(choose(Some(Wanted::Cpu)).unwrap(), Device::Cpu);
    }
}
