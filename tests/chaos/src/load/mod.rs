//! The work that is done while things go wrong: what users ask for, asked until it is answered, and watched to its end.
//!
//! - here: who wants what, again and again. `wanted`: the jobs.
//! - `user`: somebody who asks until there is an answer, and watches. `ledger`: what all of them write down.
//! - `operator`: what one of them does to work on its way.

mod ledger;
mod operator;
mod user;
mod wanted;

use std::sync::Arc;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use ursa_client::Client;

pub use ledger::Asked;
pub use wanted::UrlList;

use crate::acts::Due;
use ledger::Ledger;
use operator::Operator;
use user::{User, watch_everything};
use wanted::{bears, probes, urgent_probes};

/// Pipelines of probes that a user waits for at a time.
const WANTED_PROBES: usize = 2;

/// Work that goes on until it is told to stop.
pub struct Load {
    users: JoinSet<anyhow::Result<()>>,
    /// Sees no end.
    watcher: JoinSet<anyhow::Result<()>>,
    ledger: Ledger,
    stop: CancellationToken,
}

impl Load {
    /// Users begin: one wants one model after the other of the lists, and one has urgent probes whenever `urgent` says so,
    /// both from whichever coordinator is there; the others always wait for some probes that are not urgent, each by a
    /// coordinator of their own. One more does what is on `agenda` to work on its way, and one only watches, everything.
    pub fn begin(any: Client, each: Vec<Client>, lists: &[UrlList], urgent: Arc<Notify>, agenda: Vec<Due>) -> Self {
        let (mut users, ledger, stop) = (JoinSet::new(), Ledger::default(), CancellationToken::new());
        let mut watcher = JoinSet::new();
        watcher.spawn(watch_everything(any.clone(), ledger.clone()));
        users.spawn(want_models(User::new(any.clone(), ledger.clone()), lists.to_vec(), stop.clone()));
        users.spawn(want_urgently(User::new(any.clone(), ledger.clone()), urgent, stop.clone()));
        let operator = Operator::new(User::new(any, ledger.clone()), lists.to_vec(), stop.clone());
        users.spawn(operator.work(agenda));
        for (which, client) in each.into_iter().enumerate() {
            users.spawn(want_probes(User::new(client, ledger.clone()), which, stop.clone()));
        }
        Self { users, watcher, ledger, stop }
    }

    /// Nothing new is asked for from now on.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits until those who watch have seen everything end.
    pub async fn end(&mut self) -> anyhow::Result<()> {
        while let Some(end) = self.users.join_next().await {
            end??;
        }
        Ok(())
    }

    /// What was asked for, and seen of it so far.
    pub fn asked(&self) -> Asked {
        self.ledger.lock().clone()
    }

    /// The id of the last event that whoever watches everything has seen.
    pub fn last_seen(&self) -> Option<i64> {
        self.ledger.lock().watched_everything.last().copied()
    }

    /// Fails when a user has given up, which none of them may.
    pub fn check(&mut self) -> anyhow::Result<()> {
        match self.users.try_join_next().or_else(|| self.watcher.try_join_next()) {
            None => Ok(()),
            Some(Ok(Ok(()))) => anyhow::bail!("a user stopped asking"),
            Some(Ok(Err(error))) => Err(error.context("a user gave up")),
            Some(Err(error)) => Err(error.into()),
        }
    }
}

async fn want_models(mut user: User, lists: Vec<UrlList>, stop: CancellationToken) -> anyhow::Result<()> {
    let mut number = 0;
    while !stop.is_cancelled() {
        number += 1;
        let dataset = format!("bears-{number}");
        let pipeline = user.submit(&dataset, bears(&dataset, &lists)?).await?;
        user.ledger.lock().datasets.push(dataset);
        if let Some(seen) = stop.run_until_cancelled(user.until_seen(pipeline)).await {
            seen?;
        }
    }
    user.leave().await
}

async fn want_probes(mut user: User, which: usize, stop: CancellationToken) -> anyhow::Result<()> {
    let mut number = 0;
    while !stop.is_cancelled() {
        number += 1;
        user.submit(&format!("probes-{which}-{number}"), probes()?).await?;
        if let Some(seen) = stop.run_until_cancelled(user.until_fewer(WANTED_PROBES)).await {
            seen?;
        }
    }
    user.leave().await
}

async fn want_urgently(mut user: User, urgent: Arc<Notify>, stop: CancellationToken) -> anyhow::Result<()> {
    let mut number = 0;
    while stop.run_until_cancelled(urgent.notified()).await.is_some() {
        number += 1;
        user.submit(&format!("urgent-{number}"), urgent_probes()?).await?;
    }
    user.leave().await
}
