//! Webhooks: which events are sent, how deliveries are signed, and how long they are tried.

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::retry::Backoff;

/// The waits between the tries of a delivery, unless the operator says otherwise.
pub const FIRST_WAIT: Duration = Duration::from_secs(5);
/// The longest wait between two tries.
pub const LONGEST_WAIT: Duration = Duration::from_hours(1);
/// The longest URL of a webhook, in bytes.
pub const MAX_URL_BYTES: usize = 2000;
/// What a webhook hears of that does not say.
pub const DEFAULT_KINDS: [&str; 2] = ["job.", "model."];
/// How the kinds of event begin that can be asked for. What happens to many tasks at once is told once, as
/// `tasks.deadline` for instance: whoever asks for `task.deadline`, or for `task.`, hears of that, too.
pub const FAMILIES: [&str; 5] = ["job.", "model.", "task.", "epoch", "checkpoint"];

/// The waits between the tries of a delivery.
pub fn backoff(first: Duration) -> Backoff {
    Backoff { base: first, cap: LONGEST_WAIT.max(first) }
}

/// Whether an event may have a kind that begins like this.
pub fn is_beginning_of_a_kind(beginning: &str) -> bool {
    let letters = beginning.chars().all(|c| c.is_ascii_lowercase() || c == '.');
    let length = (1..=50).contains(&beginning.len());
    letters && length && FAMILIES.iter().any(|family| beginning.starts_with(family) || family.starts_with(beginning))
}

/// The value of the header `Ursa-Signature` for a body sent at `unix_seconds`. The secret is used as it is written.
#[expect(clippy::expect_used, reason = "HMAC hashes keys that do not fit")]
#[expect(clippy::missing_panics_doc, reason = "a key of any length will do")]
pub fn signature(secret: &str, unix_seconds: i64, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key of any length will do");
    mac.update(format!("{unix_seconds}.").as_bytes());
    mac.update(body.as_bytes());
    format!("t={unix_seconds},v1={}", hex::encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_what_any_other_implementation_makes_of_it() {
        // printf '1700000000.{"id":"1"}' | openssl dgst -sha256 -hmac 0f0f
        let expected = "t=1700000000,v1=4b24dfb7a496229658443cda12adf4a00f4e23a121b35e05cdbbe3c62e70ac65";
        assert_eq!(signature("0f0f", 1_700_000_000, r#"{"id":"1"}"#), expected);
    }

    #[test]
    fn kinds_that_no_event_has_are_refused() {
        for beginning in ["job.", "job.failed", "jo", "model.created", "task.", "epoch"] {
            assert!(is_beginning_of_a_kind(beginning), "{beginning}");
        }
        for beginning in ["", "jobs.", "Job.", "job.%", "job failed", &"job.".repeat(20)] {
            assert!(!is_beginning_of_a_kind(beginning), "{beginning}");
        }
    }

    #[test]
    fn the_first_wait_is_short_and_the_longest_an_hour() {
        let backoff = backoff(FIRST_WAIT);
        assert_eq!(backoff.check(), Ok(()));
        assert_eq!([1, 2, 20].map(|attempt| backoff.delay(attempt, 1.0).as_secs()), [5, 10, 3600]);
    }
}
