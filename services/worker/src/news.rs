//! When the coordinator has to hear of a change: at once, or soon and together with others. A thousand attempts that come
//! and go within a second are ten reports, not two thousand.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// How long a change may wait that the coordinator hears of by other ways too.
const GATHER: Duration = Duration::from_millis(100);

/// When the next report is due, if there is anything to report. Cheap to clone; clones are one.
#[derive(Debug, Clone, Default)]
pub(crate) struct News(watch::Sender<Option<Instant>>);

impl News {
    /// Something changed that the coordinator waits for.
    pub(crate) fn now(&self) {
        self.by(Instant::now());
    }

    /// Something changed.
    pub(crate) fn soon(&self) {
        self.by(Instant::now() + GATHER);
    }

    /// Everything so far is about to be reported.
    pub(crate) fn told(&self) {
        self.0.send_if_modified(|due| due.take().is_some());
    }

    /// Resolves when a report is due. May be cancelled and called again.
    pub(crate) async fn due(&self) {
        let mut changes = self.0.subscribe();
        loop {
            let due = *changes.borrow_and_update();
            let wait = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = wait => return,
                // It cannot fail: the sender is ours.
                _ = changes.changed() => {}
            }
        }
    }

    fn by(&self, at: Instant) {
        self.0.send_if_modified(|due| {
            let is_sooner = due.is_none_or(|due| at < due);
            if is_sooner {
                *due = Some(at);
            }
            is_sooner
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn wait_for(news: &News) -> Duration {
        let begin = Instant::now();
        tokio::time::timeout(Duration::from_mins(1), news.due()).await.unwrap();
        begin.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn small_changes_wait_for_each_other_and_a_great_one_takes_them_along() {
        let news = News::default();
        news.soon();
        tokio::time::advance(GATHER / 2).await;
        news.soon();
        assert!(wait_for(&news).await <= GATHER / 2 + Duration::from_millis(1), "counted from the first");
        news.told();
        news.soon();
        news.now();
        assert!(wait_for(&news).await <= Duration::from_millis(1));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_told_is_no_news() {
        let news = News::default();
        news.now();
        news.told();
        assert!(tokio::time::timeout(Duration::from_mins(1), news.due()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn news_that_come_while_somebody_waits_wake_him() {
        let news = News::default();
        let other = news.clone();
        tokio::spawn(async move { other.now() });
        assert!(wait_for(&news).await <= Duration::from_millis(1));
    }
}
