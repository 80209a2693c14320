//! Duties: what only one coordinator shall do at a time. It renews its right to several times before it runs out, and
//! stops when it cannot, by its own clock: one that was frozen does not take another step when it wakes up.
//!
//! What is done under a duty is harmless all the same when two do it: a statement that is on its way cannot be called
//! back.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::store::StoreResult;

/// After so long without a renewal another coordinator takes over.
const TTL: Duration = Duration::from_secs(3);
/// So many times in that long one asks: whoever has a duty for more of it, and the others for the duty.
const ASKS: u32 = 3;

/// So long after a coordinator's death another one has its duties at the latest, but for the time that asking takes: what
/// was just renewed has to run out, and to be asked for then.
pub fn takeover_time() -> Duration {
    TTL + TTL / ASKS
}

/// Does `work`, which never ends by itself, whenever the duty called `name` is this coordinator's, until told to stop.
pub(super) async fn hold<W, Fut>(name: &'static str, context: &Context, stop: &CancellationToken, work: W)
where
    W: Fn() -> Fut,
    Fut: Future<Output = ()>,
{
    let holder = context.hub.id();
    let take = || context.store.hold_duty(name, holder, TTL);
    stop.run_until_cancelled(keep(name, TTL, take, work)).await;
    // Whoever comes next waits until it runs out.
    if let Err(error) = context.store.leave_duty(name, holder).await {
        tracing::debug!(name, %error, "could not give up a duty");
    }
}

/// Tries for ever to get the duty, and does `work` as long as it has it.
async fn keep<T, TFut, W, WFut>(name: &'static str, ttl: Duration, take: T, work: W)
where
    T: Fn() -> TFut,
    TFut: Future<Output = StoreResult<bool>>,
    W: Fn() -> WFut,
    WFut: Future<Output = ()>,
{
    loop {
        let asked_at = Instant::now();
        match take().await {
            Ok(true) => {
                tracing::debug!(name, "took up a duty");
                while_held(name, ttl, asked_at, &take, work()).await;
                tracing::info!(name, "lost a duty; another coordinator has it, or the database is away");
            }
            Ok(false) => {}
            Err(error) => tracing::debug!(name, %error, "could not ask for a duty"),
        }
        sleep(ttl / ASKS).await;
    }
}

/// Does `work` from `asked_at` on for as long as nobody else can have the duty.
async fn while_held<T, TFut>(
    name: &'static str,
    ttl: Duration,
    asked_at: Instant,
    take: &T,
    work: impl Future<Output = ()>,
) where
    T: Fn() -> TFut,
    TFut: Future<Output = StoreResult<bool>>,
{
    let mut work = pin!(work);
    // Counted from before the question: the database began to count after it.
    let mut until = asked_at + ttl;
    let mut ask_at = asked_at + ttl / ASKS;
    loop {
        let guarded =
            poll_fn(|context| if Instant::now() < until { work.as_mut().poll(context) } else { Poll::Ready(()) });
        let renewal = async {
            sleep_until(ask_at).await;
            (Instant::now(), take().await)
        };
        let (asked_at, held) = tokio::select! {
            biased;
            () = guarded => return,
            () = sleep_until(until) => return,
            renewal = renewal => renewal,
        };
        match held {
            Ok(true) => until = asked_at + ttl,
            Ok(false) => return,
            Err(error) => tracing::debug!(name, %error, "could not renew a duty"),
        }
        ask_at = Instant::now() + ttl / ASKS;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const SHORT: Duration = Duration::from_millis(60);

    /// Steps that were taken while `take` answered, one every now and then.
    async fn steps<TFut: Future<Output = StoreResult<bool>>>(take: impl Fn() -> TFut, step: impl Fn(u32)) -> u32 {
        let steps = Cell::new(0);
        let work = async {
            loop {
                steps.set(steps.get() + 1);
                step(steps.get());
                sleep(Duration::from_millis(1)).await;
            }
        };
        while_held("test", SHORT, Instant::now(), &take, work).await;
        steps.get()
    }

    #[tokio::test]
    async fn who_cannot_renew_stops() {
        assert!(steps(std::future::pending, |_| {}).await > 0);
    }

    #[tokio::test]
    async fn who_hears_that_another_has_it_stops() {
        let asked_at = Instant::now();
        assert!(steps(|| std::future::ready(Ok(false)), |_| {}).await > 0);
        assert!(asked_at.elapsed() >= SHORT / ASKS);
    }

    #[tokio::test]
    async fn who_renews_goes_on_longer_than_one_term() {
        let (begun, renewals) = (Instant::now(), Cell::new(0));
        let take = || {
            renewals.set(renewals.get() + 1);
            std::future::ready(Ok(renewals.get() < 10))
        };
        steps(take, |_| {}).await;
        assert_eq!(renewals.get(), 10);
        assert!(begun.elapsed() > SHORT * 2);
    }

    #[tokio::test]
    async fn who_was_frozen_takes_no_further_step() {
        let freeze = |step| {
            if step == 3 {
                std::thread::sleep(SHORT * 2);
            }
        };
        assert_eq!(steps(|| std::future::ready(Ok(true)), freeze).await, 3);
    }
}
