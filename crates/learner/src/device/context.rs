//! Settings of libtorch that hold for the whole process and that tch has no name for.

use std::ffi::c_void;

/// `at::Context`.
type Context = c_void;

#[expect(
    unsafe_code,
    reason = "tch has no name for these; they are bound by the names that the C++ compiler gives them"
)]
unsafe extern "C" {
    /// `at::globalContext()`
    #[link_name = "_ZN2at13globalContextEv"]
    fn global_context() -> *mut Context;
    /// `at::Context::setDeterministicAlgorithms(mode, warn_only)`
    #[link_name = "_ZN2at7Context26setDeterministicAlgorithmsEbb"]
    fn set_deterministic_algorithms(context: *mut Context, mode: bool, warn_only: bool);
    /// `at::Context::deterministicAlgorithms() const`
    #[cfg(test)]
    #[link_name = "_ZNK2at7Context23deterministicAlgorithmsEv"]
    fn deterministic_algorithms(context: *const Context) -> bool;
}

/// Whether only algorithms are used that give the same bits each time; an operation that has none fails.
pub(super) fn set_deterministic(wanted: bool) {
    #[expect(unsafe_code, reason = "see above")]
    // SAFETY: the context lives as long as the process; the function sets two flags of it.
    unsafe {
        set_deterministic_algorithms(global_context(), wanted, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_deterministic() -> bool {
        #[expect(unsafe_code, reason = "see above")]
        // SAFETY: the context lives as long as the process; the function reads a flag of it.
        unsafe {
            deterministic_algorithms(global_context())
        }
    }

    #[test]
    fn what_is_set_is_what_libtorch_goes_by() {
        assert!(!is_deterministic());
        set_deterministic(true);
        assert!(is_deterministic());
        set_deterministic(false);
        assert!(!is_deterministic());
    }
}
