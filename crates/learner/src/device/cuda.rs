//! The CUDA half of libtorch, and what it says of a GPU. Everything is looked for when it is needed: where there is none, the
//! program is one for the CPU.

use std::ffi::{CStr, c_int, c_void};

use nix::libc::{RTLD_DEFAULT, RTLD_GLOBAL, RTLD_NOW, dlopen, dlsym};

/// The first generation that computes in bfloat16.
pub(super) const AMPERE: i32 = 8;

/// `cudaDevAttrComputeCapabilityMajor`.
const CAPABILITY: c_int = 75;

/// `cudaDeviceGetAttribute(value, attribute, device)`: 0 is success.
type GetAttribute = unsafe extern "C" fn(*mut c_int, c_int, c_int) -> c_int;

#[expect(unsafe_code, reason = "the CUDA half of libtorch registers itself when it is loaded; there is no other way")]
pub(super) fn load() {
    // SAFETY: the name is a C string; the library's initialisers are libtorch's own, of the version linked here.
    unsafe {
        dlopen(c"libtorch_cuda.so".as_ptr(), RTLD_NOW | RTLD_GLOBAL);
    }
}

/// The major number of what a GPU can do (8 is Ampere); `None` where there is no such GPU.
pub(super) fn compute_capability(gpu: usize) -> Option<i32> {
    let mut major = 0;
    let status = get_attribute(&mut major, c_int::try_from(gpu).ok()?)?;
    (status == 0).then_some(major)
}

#[expect(
    unsafe_code,
    reason = "tch says nothing of a GPU's abilities; the CUDA runtime that libtorch is linked to does"
)]
fn get_attribute(value: &mut c_int, gpu: c_int) -> Option<c_int> {
    let symbol = look_up(c"cudaDeviceGetAttribute");
    if symbol.is_null() {
        return None;
    }
    // SAFETY: that is the function's type in every version of the runtime.
    let function = unsafe { std::mem::transmute::<*mut c_void, GetAttribute>(symbol) };
    // SAFETY: it writes one number to where `value` points, and answers with an error where there is no such GPU.
    Some(unsafe { function(value, CAPABILITY, gpu) })
}

#[expect(unsafe_code, reason = "looks up a function that may not be there")]
fn look_up(name: &CStr) -> *mut c_void {
    // SAFETY: the name is a C string.
    unsafe { dlsym(RTLD_DEFAULT, name.as_ptr()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The runtime is there wherever libtorch is, GPU or not: what is asked of it has an answer.
    #[test]
    fn the_runtime_answers_for_a_gpu_that_nobody_has() {
        let mut major = 0;
        let status = get_attribute(&mut major, 4096);
        assert!(status.is_some_and(|status| status != 0), "{status:?}");
        assert_eq!(compute_capability(4096), None);
    }
}
