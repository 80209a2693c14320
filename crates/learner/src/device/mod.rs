//! What the machine offers: processor cores, an accelerator, fast number types.

mod context;
mod cuda;
mod processor;
mod transfer;

use std::sync::Once;

pub use tch::Device;
use tch::Kind;
pub(crate) use transfer::{pinned, send, upload};
use ursa_domain::conditions::Conditions;

/// The number type that convolutions compute in while training; parameters are always float32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// float32.
    Float32,
    /// bfloat16: twice as fast where the processor has instructions for it, and slower where not.
    BFloat16,
}

impl Precision {
    /// The fastest that the device computes natively.
    pub fn best(device: Device) -> Self {
        let has_bfloat16 = match device {
            Device::Cpu => cpu_has_bfloat16(),
            Device::Cuda(index) => cuda::compute_capability(index).is_some_and(|major| major >= cuda::AMPERE),
            _ => false,
        };
        if has_bfloat16 { Self::BFloat16 } else { Self::Float32 }
    }

    /// Its usual name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Float32 => "float32",
            Self::BFloat16 => "bfloat16",
        }
    }

    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::Float32 => Kind::Float,
            Self::BFloat16 => Kind::BFloat16,
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn cpu_has_bfloat16() -> bool {
    std::arch::is_x86_feature_detected!("avx512bf16")
}

#[cfg(not(target_arch = "x86_64"))]
fn cpu_has_bfloat16() -> bool {
    false
}

/// The first CUDA device where there is one that works, else the CPU. Call it before the first tensor is made.
///
/// Ursa is linked against libtorch's CPU half only; where the CUDA half is installed it is loaded here.
pub fn best_device() -> Device {
    static LOADED: Once = Once::new();
    LOADED.call_once(cuda::load);
    Device::cuda_if_available()
}

/// The device of one of several processes that learn together: each has a GPU of its own, or all share the CPU.
pub fn device_of(rank: usize) -> Device {
    match best_device() {
        Device::Cuda(first) => Device::Cuda(first + rank),
        other => other,
    }
}

/// From here on, all of this process gives the same bits each time, or says which operation does not. A CPU always does: it is
/// left alone. cuBLAS wants the environment variable `CUBLAS_WORKSPACE_CONFIG` for it, as the worker sets it.
pub(crate) fn compute_deterministically(device: Device, wanted: bool) {
    if device.is_cuda() && wanted {
        context::set_deterministic(true);
    }
}

/// Processor cores that this process may use: its affinity mask and its cgroup's quota count, not the machine's size.
pub fn usable_cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Lets libtorch compute with this many threads. Equal results need equal numbers of threads.
pub fn set_threads(threads: usize) {
    tch::set_num_threads(i32::try_from(threads.max(1)).unwrap_or(i32::MAX));
}

/// What decides the bits of what software of that version computes here from now on.
pub(crate) fn conditions(version: &str, device: Device, precision: Precision) -> Conditions {
    Conditions {
        version: version.to_owned(),
        libtorch: libtorch_version().to_owned(),
        device: if device.is_cuda() { "cuda" } else { "cpu" }.to_owned(),
        processor: match device {
            Device::Cuda(gpu) => {
                let major = cuda::compute_capability(gpu).map(|major| major.to_string());
                format!("compute capability {}", major.as_deref().unwrap_or("unknown"))
            }
            _ => processor::describe(),
        },
        precision: precision.as_str().to_owned(),
        threads: tch::get_num_threads().max(1) as u32,
    }
}

/// Version of the libtorch that was linked.
pub fn libtorch_version() -> &'static str {
    option_env!("URSA_LIBTORCH_VERSION").unwrap_or("unknown")
}
