//! Memory that runs out, of a GPU or of the machine, told from what else can go wrong.
//!
//! tch's operations panic with the words of libtorch's error. Work that can be done again in smaller parts is done inside
//! [`caught`]: everything that it held is freed on the way out. (libtorch gives back what its own cache holds before it
//! refuses, so nothing needs to be emptied here.)

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, resume_unwind};

/// Parts of what libtorch says: of a GPU, of its libraries, of the machine; the last two are oneDNN's, which has no words of its
/// own for memory. Where another cause is meant, the smallest part fails too, and says so.
const WORDS: [&str; 8] = [
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "can't allocate memory",
    "not enough memory",
    "std::bad_alloc",
    "could not create a primitive",
    "could not create a memory object",
];

thread_local! {
    static CATCHING: Cell<bool> = const { Cell::new(false) };
}

/// What memory did not hold, and what is done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shortage {
    /// Pictures that were to be computed at once.
    pub whole: usize,
    /// As many are, at most, from here on.
    pub parts: usize,
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { whole, parts } = self;
        write!(
            f,
            "memory ran out: it does not hold {whole} pictures at once; going on with parts of {parts}, over which \
             gradients are summed up to those of the batch"
        )
    }
}

/// Does `work`; the error is what libtorch said when memory ran out. Any other panic goes on. What `work` changes must not
/// matter after an error, or be put right by the caller.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let outer = CATCHING.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    CATCHING.set(outer);
    result.map_err(|payload| match text(payload.as_ref()) {
        Some(text) if is_out_of_memory(text) => without_trace(text),
        _ => resume_unwind(payload),
    })
}

/// Whether a panic is one that the learner recovers from by itself: a hook has nothing to do about it.
pub fn is_recovered_from(panic: &PanicHookInfo<'_>) -> bool {
    CATCHING.get() && text(panic.payload()).is_some_and(is_out_of_memory)
}

fn text(payload: &(dyn Any + Send)) -> Option<&str> {
    payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied())
}

/// What libtorch said, without where in itself it said it.
fn without_trace(text: &str) -> String {
    let said = text.split_once("Torch(\"").map_or(text, |(_, said)| said);
    let end = ["\\nframe #", "\nframe #", "\")"].iter().filter_map(|mark| said.find(mark)).min();
    said[..end.unwrap_or(said.len())].to_owned()
}

fn is_out_of_memory(text: &str) -> bool {
    WORDS.iter().any(|words| text.contains(words))
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, TchError, Tensor};

    use super::*;

    /// What tch's operations unwrap when libtorch refuses.
    fn refused(message: &str) -> Result<(), TchError> {
        Err(TchError::Torch(message.into()))
    }

    /// As tch's operations fail.
    fn fail(message: &str) {
        refused(message).unwrap();
    }

    #[test]
    fn libtorch_itself_says_so_in_known_words() {
        let error = caught(|| Tensor::zeros([1 << 50], (Kind::Float, Device::Cpu))).unwrap_err();
        assert!(error.contains("allocate") && !error.contains("frame #") && !error.contains("Torch("), "{error}");
        assert_eq!(caught(|| 7), Ok(7));
    }

    #[test]
    fn the_words_of_a_gpu_are_known_and_other_errors_go_on() {
        let cuda = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.10 GiB of which 1.2 GiB \
                    is free.";
        assert_eq!(caught(|| fail(cuda)).unwrap_err(), cuda);
        assert!(caught(|| fail("could not create a primitive")).is_err());
        assert!(caught(|| fail("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)")).is_err());
        let other = catch_unwind(|| caught(|| fail("The size of tensor a (3) must match the size of tensor b (4)")));
        assert!(text(other.unwrap_err().as_ref()).unwrap().contains("must match"));
        assert!(!CATCHING.get());
    }
}
