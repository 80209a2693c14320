//! GPUs that a worker claims to have, for tests of placement on machines without any. What is placed on them runs on the
//! processor.

use std::str::FromStr;

use ursa_domain::size::ByteSize;
use ursa_proto::v1;

/// For instance `24GiB,80GiB:NVIDIA H100:550.54`: of each the memory, perhaps the model, perhaps the driver.
#[derive(Debug, Clone, PartialEq)]
pub struct PretendedGpus(pub(super) Vec<v1::Gpu>);

impl FromStr for PretendedGpus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let gpus =
            text.split(',').enumerate().map(|(index, word)| gpu(index as u32, word)).collect::<Result<_, _>>()?;
        Ok(Self(gpus))
    }
}

fn gpu(index: u32, text: &str) -> Result<v1::Gpu, String> {
    let mut parts = text.splitn(3, ':');
    let ByteSize(memory) = parts.next().unwrap_or_default().trim().parse()?;
    Ok(v1::Gpu {
        index,
        model: parts.next().unwrap_or("pretended").to_owned(),
        driver: parts.next().unwrap_or_default().to_owned(),
        memory_bytes: memory,
        free_bytes: memory,
        utilisation_percent: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_memory_and_perhaps_a_model_and_a_driver() {
        let PretendedGpus(gpus) = "24GiB,80GiB:NVIDIA H100:550.54".parse().unwrap();
        let seen: Vec<_> =
            gpus.iter().map(|gpu| (gpu.index, gpu.free_bytes >> 30, &*gpu.model, &*gpu.driver)).collect();
        assert_eq!(seen, [(0, 24, "pretended", ""), (1, 80, "NVIDIA H100", "550.54")]);
        assert!("NVIDIA H100".parse::<PretendedGpus>().unwrap_err().contains("NVIDIA H100"));
    }
}
