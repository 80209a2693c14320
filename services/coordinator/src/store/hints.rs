//! Hints between the coordinators of one database: which part has something to look at.

use sqlx::postgres::PgListener;
use uuid::Uuid;

use super::{Store, StoreResult};

/// Of the database, through which they go.
const CHANNEL: &str = "ursa";

/// Which part of the system has something to look at. Only a hint: sweeps find it anyway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Topic {
    /// A task became ready.
    Tasks,
    /// Tasks have ended: quotas have room, and workers.
    Room,
    /// A job may be able to move.
    Jobs,
    /// A node shall serve something else.
    Endpoints,
    /// There are new events.
    Events,
    /// A schedule may be due.
    Schedules,
    /// There is something to send to a webhook.
    Deliveries,
    /// An attempt shall stop.
    Stops,
}

impl Topic {
    /// Every one.
    pub(crate) const ALL: [Self; 8] = [
        Self::Tasks,
        Self::Room,
        Self::Jobs,
        Self::Endpoints,
        Self::Events,
        Self::Schedules,
        Self::Deliveries,
        Self::Stops,
    ];

    /// As it is sent.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Tasks => "tasks",
            Self::Room => "room",
            Self::Jobs => "jobs",
            Self::Endpoints => "endpoints",
            Self::Events => "events",
            Self::Stops => "stops",
            Self::Schedules => "schedules",
            Self::Deliveries => "deliveries",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.as_str() == word)
    }
}

impl Store {
    /// A stream of hints from every coordinator on this database.
    pub(crate) async fn listen(&self) -> StoreResult<Hints> {
        let mut listener = PgListener::connect_with(&self.pool).await?;
        listener.listen(CHANNEL).await?;
        Ok(Hints { listener })
    }

    /// Tells the other coordinators on this database that `topics` have something to look at. A hint is not worth waiting
    /// for the disk: it may get lost.
    pub(crate) async fn announce(&self, topics: &[Topic]) -> StoreResult<()> {
        let from = self.hub.id();
        let hints: Vec<String> = topics.iter().map(|topic| format!("{from} {}", topic.as_str())).collect();
        sqlx::query!(
            "select set_config('synchronous_commit', 'off', true), pg_notify($1, hint) from unnest($2::text[]) as hint",
            CHANNEL,
            &hints,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(())
    }
}

/// See [`Store::listen`].
#[derive(Debug)]
pub(crate) struct Hints {
    listener: PgListener,
}

impl Hints {
    /// The next hint: who gave it, and about what; `None` after a connection loss, when some may have been missed.
    pub(crate) async fn next(&mut self) -> StoreResult<Option<(Uuid, Topic)>> {
        let Some(notification) = self.listener.try_recv().await? else { return Ok(None) };
        let hint = notification
            .payload()
            .split_once(' ')
            .and_then(|(from, topic)| Some((Uuid::try_parse(from).ok()?, Topic::parse(topic)?)));
        Ok(hint)
    }
}
