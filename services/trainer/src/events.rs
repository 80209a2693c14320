//! Standard output: one event per line, and nothing else ever.

use std::io::Write;

use ursa_domain::ErrorClass;
use ursa_domain::run::TrainerEvent;
use ursa_learner::is_recovered_from;

/// The supervisor is gone: nobody is left to report to.
pub(crate) const ORPHANED: i32 = 3;
const PANICKED: i32 = 101;

/// Writes one event. Where that fails the supervisor is gone, and so is this process.
pub(crate) fn emit(event: &TrainerEvent) {
    let Ok(mut line) = serde_json::to_vec(event) else {
        // Every event is plain data; a value JSON has no word for would be a bug, and not worth a run.
        tracing::error!(?event, "this event cannot be written");
        return;
    };
    line.push(b'\n');
    let mut out = std::io::stdout().lock();
    if out.write_all(&line).and_then(|()| out.flush()).is_err() {
        exit_now(ORPHANED);
    }
}

/// One measurement.
pub(crate) fn metric(name: &str, step: u64, epoch: u32, value: f64) {
    emit(&TrainerEvent::Metric { name: name.to_owned(), step, epoch, value });
}

/// Something a person may want to read.
pub(crate) fn log(level: &str, message: impl Into<String>) {
    emit(&TrainerEvent::Log { level: level.to_owned(), message: message.into() });
}

/// Makes a panic of any thread end the process as a failure that may be tried again.
pub(crate) fn tell_of_panics() {
    let previous = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if is_recovered_from(panic) {
            return;
        }
        previous(panic);
        let message = format!("the trainer panicked: {panic}").replace('\n', " ");
        emit(&TrainerEvent::Failed { class: ErrorClass::Retryable, message, findings: Vec::new() });
        exit_now(PANICKED);
    }));
}

/// Ends the process without waiting for anything: libtorch's threads may be in the middle of a batch, and destructors that
/// run under them could hang or crash.
#[expect(unsafe_code, reason = "an orderly exit would run libtorch's destructors while its threads compute")]
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit takes a number and does not return.
    unsafe { nix::libc::_exit(code) }
}
