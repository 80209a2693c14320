//! Claims: what is kept free for a task that needs several things at once, a few GPUs or a gang's workers. Such a task
//! would never begin beside a stream of small ones that take each thing as it comes free.
//!
//! A task that needs one thing has no claim: once that is free, it goes to whose turn it is.

use super::placement::{Offer, Request};
use super::room::Room;
use super::views::Need;

/// Everything that is kept. Lanes go by their place in the order of urgency, offers by their index.
#[derive(Debug)]
pub(super) struct Claims<'a> {
    on_offers: Vec<Option<Claim<'a>>>,
    on_quotas: Vec<QuotaClaim>,
}

#[derive(Debug, Clone, Copy)]
struct Claim<'a> {
    lane: usize,
    request: &'a Request,
    binds: Binding,
}

/// Who has to leave a claim alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binding {
    /// Lanes that are less urgent.
    LessUrgent,
    /// Every other lane.
    Everybody,
}

#[derive(Debug)]
struct QuotaClaim {
    lane: usize,
    project: usize,
    need: Need,
}

impl<'a> Claims<'a> {
    pub(super) fn new(offers: usize) -> Self {
        Self { on_offers: vec![None; offers], on_quotas: Vec::new() }
    }

    /// Keeps an offer for a lane.
    pub(super) fn keep(&mut self, offer: usize, lane: usize, request: &'a Request, binds: Binding) {
        self.on_offers[offer] = Some(Claim { lane, request, binds });
    }

    /// Keeps a part of its project's quotas for a lane.
    pub(super) fn keep_quota(&mut self, lane: usize, project: usize, need: Need) {
        self.on_quotas.push(QuotaClaim { lane, project, need });
    }

    /// Drops what is kept for a lane; whether there was anything.
    pub(super) fn release(&mut self, lane: usize) -> bool {
        let mut released = false;
        for claim in self.on_offers.iter_mut().filter(|claim| claim.is_some_and(|claim| claim.lane == lane)) {
            *claim = None;
            released = true;
        }
        self.on_quotas.retain(|claim| claim.lane != lane);
        released
    }

    /// Offers that are kept from less urgent lanes, or from everybody.
    pub(super) fn offers(&self, binds: Binding) -> impl Iterator<Item = usize> {
        let claims = self.on_offers.iter().enumerate();
        claims.filter(move |(_, claim)| claim.is_some_and(|claim| claim.binds == binds)).map(|(offer, _)| offer)
    }

    /// Whether nobody has a claim on an offer.
    pub(super) fn is_free(&self, offer: usize) -> bool {
        self.on_offers[offer].is_none()
    }

    /// Whether a lane's task may go to an offer.
    pub(super) fn allow(&self, offer: usize, lane: usize, request: &Request, on: &Offer, room: &Room) -> bool {
        self.on_offers[offer].is_none_or(|claim| {
            let is_bound = claim.binds == Binding::Everybody || lane > claim.lane;
            lane == claim.lane || !is_bound || leaves_enough(claim.request, request, on, room)
        })
    }

    /// What a lane has to leave of its project's quotas for more urgent ones.
    pub(super) fn ahead_of(&self, lane: usize, project: usize) -> Need {
        let ahead = self.on_quotas.iter().filter(|claim| claim.project == project && claim.lane < lane);
        ahead.fold(Need::default(), |sum, claim| Need {
            tasks: sum.tasks.saturating_add(claim.need.tasks),
            gpus: sum.gpus.saturating_add(claim.need.gpus),
        })
    }
}

/// Whether a task takes nothing of a worker that `claim` needs: neither GPUs nor the last slot.
fn leaves_enough(claim: &Request, task: &Request, on: &Offer, room: &Room) -> bool {
    let gpus = on.gpus.len();
    room.slots > 1 && task.gpus_on(gpus) == 0 && !(task.trains_on_cpu(gpus) && claim.trains_on_cpu(gpus))
}
