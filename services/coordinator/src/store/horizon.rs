//! How far the event log is whole for whoever reads all of it. Only within a pipeline do ids grow in the order of commits: of
//! two transactions on two pipelines the one that drew the smaller id may commit later, and whoever had gone on to the larger
//! one would never see it.
//!
//! Whoever records an event holds a lock on the table, as every `insert` does, from before it draws an id to the end of its
//! transaction. So one looks which id was drawn last, and after that who holds such a lock. Once all of those have ended, every
//! id up to that one is committed, or will never be. Writers do nothing for it, and wait for nobody. A transaction that only
//! reads the table, or writes others, has no such lock and is not waited for, however long it stays open; whoever deletes
//! events has one, and is.

use super::{Store, StoreResult};

/// See the module. One reader's; it begins without knowing anything.
#[derive(Debug, Default)]
pub(crate) struct Horizon {
    settled: Option<i64>,
    pending: Option<Pending>,
}

/// What is waited for.
#[derive(Debug)]
struct Pending {
    /// The id that had been drawn last.
    up_to: i64,
    /// The transactions that may have drawn it, or a smaller one, and are still open.
    writers: Vec<String>,
}

impl Horizon {
    /// No event will come any more whose id is this one or smaller; `None` while nothing is known.
    pub(crate) fn settled(&self) -> Option<i64> {
        self.settled
    }

    /// Whether more settles as soon as some transactions end that are at work now.
    pub(crate) fn is_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// Whether it matters who is at work, where `last` is the id that was drawn last.
    fn is_behind(&self, last: i64) -> bool {
        self.is_pending() || self.settled.is_none_or(|settled| settled < last)
    }

    /// `last` was the id that was drawn last, and after that `writers` were at work. Those that have begun since one began to
    /// wait are not waited for: there are always some.
    fn look(&mut self, last: i64, writers: Vec<String>) {
        if let Some(Pending { up_to, writers: before }) = self.pending.take() {
            let left: Vec<String> = before.into_iter().filter(|writer| writers.contains(writer)).collect();
            if !left.is_empty() {
                self.pending = Some(Pending { up_to, writers: left });
                return;
            }
            self.settled = Some(up_to);
        }
        if writers.is_empty() {
            self.settled = Some(last);
        } else if self.is_behind(last) {
            self.pending = Some(Pending { up_to: last, writers });
        }
    }
}

impl Store {
    /// Looks whether more of the event log has settled. What has is seen by every statement that begins later.
    #[tracing::instrument(skip_all, err(level = "debug"))]
    pub(crate) async fn look_ahead(&self, horizon: &mut Horizon) -> StoreResult<()> {
        let last = self.last_drawn_event_id().await?;
        if horizon.is_behind(last) {
            // Asked for after the id: whoever comes in between is waited for in vain, and nobody is overlooked.
            let writers = self.event_writers().await?;
            horizon.look(last, writers);
        }
        Ok(())
    }

    /// 0 before the first one. By the function, which locks the sequence: whoever reads it like a table may see one that is some
    /// way ahead, which stands there for a moment now and then.
    async fn last_drawn_event_id(&self) -> StoreResult<i64> {
        let last = sqlx::query_scalar!(r#"select coalesce(pg_sequence_last_value('events_id_seq'), 0) as "id!""#)
            .fetch_one(&self.pool)
            .await?;
        Ok(last)
    }

    /// The transactions that may have drawn ids of events, by names that no other transaction has.
    async fn event_writers(&self) -> StoreResult<Vec<String>> {
        let writers = sqlx::query_scalar!(
            r#"select virtualtransaction as "writer!" from pg_locks
            where locktype = 'relation' and relation = 'events'::regclass and mode = 'RowExclusiveLock' and granted
                and database = (select oid from pg_database where datname = current_database())"#,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(writers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(horizon: &mut Horizon, last: i64, writers: &[&str]) -> (Option<i64>, bool) {
        horizon.look(last, writers.iter().map(|writer| (*writer).to_owned()).collect());
        (horizon.settled(), horizon.is_pending())
    }

    #[test]
    fn what_was_drawn_settles_when_all_have_ended_who_were_at_work_then() {
        let mut horizon = Horizon::default();
        assert_eq!(look(&mut horizon, 7, &["3/1", "4/1"]), (None, true));
        assert_eq!(look(&mut horizon, 9, &["4/1", "5/1"]), (None, true));
        assert_eq!(look(&mut horizon, 9, &["5/1"]), (Some(7), true), "who began later is not waited for");
        assert_eq!(look(&mut horizon, 9, &[]), (Some(9), false));
    }

    #[test]
    fn who_comes_after_another_on_the_same_connection_is_not_taken_for_it() {
        let mut horizon = Horizon::default();
        assert_eq!(look(&mut horizon, 7, &["3/1"]), (None, true));
        assert_eq!(look(&mut horizon, 7, &["3/2"]), (Some(7), false));
    }

    #[test]
    fn where_everything_has_settled_nobody_is_waited_for_until_more_is_drawn() {
        let mut horizon = Horizon::default();
        assert!(horizon.is_behind(0));
        assert_eq!(look(&mut horizon, 12, &[]), (Some(12), false));
        assert_eq!([12, 13].map(|last| horizon.is_behind(last)), [false, true]);
        assert_eq!(look(&mut horizon, 12, &["3/1"]), (Some(12), false));
    }
}
