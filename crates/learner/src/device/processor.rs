//! What a CPU has libraries choose from. libtorch, and oneDNN and MKL in it, have kernels for each set of vector instructions,
//! MKL for each maker, too, and each kernel adds up in an order of its own.

use std::env;

/// Environment variables that hold them back: of libtorch itself, of oneDNN under either of its names, of MKL.
const LIMITS: [&str; 5] =
    ["ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "MKL_CBWR"];

/// Architecture, maker, vector instructions, and what holds the libraries back; for instance
/// `x86_64 AuthenticAMD avx2 ATEN_CPU_CAPABILITY=default`.
pub(super) fn describe() -> String {
    told(kind(), |name| env::var(name).ok())
}

/// A limit is told as it is set: no library minds those of the others, so a processor that is held back is not for that a
/// lesser one.
fn told(mut words: Vec<String>, limit: impl Fn(&str) -> Option<String>) -> String {
    words.extend(LIMITS.iter().filter_map(|name| Some(format!("{name}={}", limit(name)?))));
    words.join(" ")
}

fn kind() -> Vec<String> {
    let instructions = instructions().into_iter().filter(|(_, there)| *there).map(|(name, _)| name.to_owned());
    [env::consts::ARCH.to_owned()].into_iter().chain(maker()).chain(instructions).collect()
}

/// Those for float32 and bfloat16, which is all we compute in, as far as kernels are made for them.
#[cfg(target_arch = "x86_64")]
fn instructions() -> Vec<(&'static str, bool)> {
    use std::arch::is_x86_feature_detected as has;
    vec![
        ("avx2", has!("avx2") && has!("fma")),
        ("avx-ne-convert", has!("avxneconvert")),
        ("avx512", has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl")),
        ("avx512-bf16", has!("avx512bf16")),
        ("avx512-fp16", has!("avx512fp16")),
        ("amx-bf16", has_amx_bf16()),
    ]
}

/// As the processor says, for the standard library cannot say it yet: bit 22 of edx in leaf 7 of `cpuid`.
#[cfg(target_arch = "x86_64")]
fn has_amx_bf16() -> bool {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    __cpuid(0).eax >= 7 && __cpuid_count(7, 0).edx & (1 << 22) != 0
}

#[cfg(target_arch = "x86_64")]
fn maker() -> Option<String> {
    let leaf = std::arch::x86_64::__cpuid(0);
    let name: Vec<u8> = [leaf.ebx, leaf.edx, leaf.ecx].into_iter().flat_map(u32::to_le_bytes).collect();
    String::from_utf8(name).ok()
}

#[cfg(target_arch = "aarch64")]
fn instructions() -> Vec<(&'static str, bool)> {
    use std::arch::is_aarch64_feature_detected as has;
    vec![("bf16", has!("bf16")), ("i8mm", has!("i8mm")), ("sve", has!("sve")), ("sve2", has!("sve2"))]
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn instructions() -> Vec<(&'static str, bool)> {
    Vec::new()
}

#[cfg(not(target_arch = "x86_64"))]
fn maker() -> Option<String> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_that_is_held_back_is_told_from_one_that_is_not() {
        let words = || vec!["x86_64".to_owned(), "avx2".to_owned()];
        assert_eq!(told(words(), |_| None), "x86_64 avx2");
        let held_back = told(words(), |name| (name == "ATEN_CPU_CAPABILITY").then(|| "default".to_owned()));
        assert_eq!(held_back, "x86_64 avx2 ATEN_CPU_CAPABILITY=default");
    }

    /// What Linux says of the same processor.
    #[test]
    #[cfg(target_arch = "x86_64")]
    fn what_is_told_is_what_the_system_knows() {
        let cores = std::fs::read_to_string("/proc/cpuinfo").unwrap();
        let fact = |name: &str| {
            let line = cores.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_once(": ").unwrap().1.to_owned()
        };
        assert_eq!(maker(), Some(fact("vendor_id")));
        let flags = fact("flags");
        let known = |flag: &str| flags.split(' ').any(|known| known == flag);
        for (name, flag) in [
            ("avx2", "avx2"),
            ("avx512", "avx512dq"),
            ("avx512-bf16", "avx512_bf16"),
            ("avx512-fp16", "avx512_fp16"),
            ("amx-bf16", "amx_bf16"),
        ] {
            assert_eq!(kind().iter().any(|word| word == name), known(flag), "{name}");
        }
    }
}
