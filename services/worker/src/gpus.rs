//! The graphics processors of this machine, as NVIDIA's own tool lists them.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use ursa_proto::v1;

const PATIENCE: Duration = Duration::from_secs(10);
const MEBIBYTE: u64 = 1 << 20;

/// Every GPU; none where the tool is not there.
pub(crate) async fn list() -> Vec<v1::Gpu> {
    let asked = Command::new("nvidia-smi")
        .args(["--query-gpu=name,memory.total", "--format=csv,noheader,nounits"])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(output)) if output.status.success() => read(&String::from_utf8_lossy(&output.stdout)),
        Ok(Ok(output)) => {
            tracing::warn!(status = %output.status, "nvidia-smi is here but lists no GPU");
            Vec::new()
        }
        Ok(Err(_)) => Vec::new(),
        Err(_) => {
            tracing::warn!("nvidia-smi does not answer; no GPU is offered");
            Vec::new()
        }
    }
}

/// Lines of `NVIDIA H100 80GB HBM3, 81559`: the memory in mebibytes.
fn read(text: &str) -> Vec<v1::Gpu> {
    let gpu = |line: &str| {
        let (model, memory) = line.rsplit_once(',')?;
        let memory_bytes = memory.trim().parse::<u64>().unwrap_or_default() * MEBIBYTE;
        Some(v1::Gpu { model: model.trim().to_owned(), memory_bytes })
    };
    text.lines().filter_map(gpu).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_gpu() {
        let gpus = read("NVIDIA H100 80GB HBM3, 81559\nNVIDIA A2, [N/A]\n");
        let seen: Vec<_> = gpus.iter().map(|gpu| (gpu.model.as_str(), gpu.memory_bytes)).collect();
        assert_eq!(seen, [("NVIDIA H100 80GB HBM3", 81559 << 20), ("NVIDIA A2", 0)]);
    }
}
