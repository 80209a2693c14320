//! Bounded waiting that says what it last saw.

use std::fmt::Debug;
use std::future::Future;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(20);

/// Asks `look` until `fits`, and returns what fitted.
///
/// # Panics
/// With the last answer, when that takes too long.
pub async fn until<T, Fut>(what: &str, mut look: impl FnMut() -> Fut, fits: impl Fn(&T) -> bool) -> T
where
    T: Debug,
    Fut: Future<Output = T>,
{
    let begin = Instant::now();
    loop {
        let seen = look().await;
        if fits(&seen) {
            return seen;
        }
        assert!(begin.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}; last seen: {seen:#?}");
        tokio::time::sleep(LOOK).await;
    }
}
