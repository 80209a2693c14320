//! What to ask back for the sake of a more urgent task.
//!
//! What is asked back waits anew and begins again, so that a stream of tasks that are only slightly more urgent could have the
//! same run asked back for ever. So an attempt is left alone for a while, and longer with every attempt of its task before it:
//! a run that has checkpoints gets on each time, and one that has none is left alone for as long as it takes in the end. A
//! first attempt may be asked back at once: nobody was in its way yet, and those in a hurry need not wait.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::time::Duration;

use uuid::Uuid;

use super::lanes::LaneView;
use super::offer::{Offer, Request};
use super::placement::{GpuSet, suitable};
use super::room::Room;
use crate::JobKind;

/// Sets of attempts that are tried on one worker before one that is merely small will do.
const MAX_TRIES: u32 = 2000;

/// An attempt at work.
#[derive(Debug, Clone, PartialEq)]
pub struct Running {
    /// Its task and number.
    pub attempt: (Uuid, u32),
    /// Who has it.
    pub worker: Uuid,
    /// With which GPUs.
    pub gpus: Vec<u32>,
    /// What it asked for of each, in bytes, where it shares them; 0 where it does not.
    pub shared_bytes: u64,
    /// Its kind.
    pub kind: JobKind,
    /// Its priority.
    pub priority: i32,
    /// Whether it may be asked back.
    pub preemptible: bool,
    /// For how long it has been at work.
    pub at_work: Duration,
}

impl Running {
    /// Whether it may be asked back, now that `least_at_work` is what it has in peace for every attempt before it.
    pub fn may_make_room(&self, least_at_work: Duration) -> bool {
        let (_, number) = self.attempt;
        self.preemptible && self.at_work >= least_at_work.saturating_mul(number.saturating_sub(1))
    }
}

/// The smallest set of attempts of lower priority that may make room, all on one worker, whose end would make room for the
/// lane's next tasks: those of the lowest priority first, then the youngest. `None` when nothing helps, or nothing has to.
/// `least_at_work` as in [`Running::may_make_room`].
pub fn preempt(
    lane: &LaneView,
    offers: &[Offer],
    running: &[Running],
    least_at_work: Duration,
) -> Option<Vec<(Uuid, u32)>> {
    let offers: Vec<&Offer> = offers.iter().collect();
    victims(lane, &offers, running, least_at_work).map(|victims| victims.attempts)
}

/// What is to be asked back.
pub(super) struct Victims {
    /// The attempts, by task and number.
    pub attempts: Vec<(Uuid, u32)>,
    /// The workers that the lane's next tasks go to then: those that have room now, and the one that the attempts are on.
    pub workers: Vec<Uuid>,
}

/// As [`preempt`].
pub(super) fn victims(
    lane: &LaneView,
    offers: &[&Offer],
    running: &[Running],
    least_at_work: Duration,
) -> Option<Victims> {
    let request = &lane.request;
    let able = offers.iter().filter_map(|offer| Some((Room::new(offer), suitable(offer, request).ok()?)));
    let (free, full): (Vec<_>, Vec<_>) = able.partition(|(room, suitable)| room.spot(request, *suitable).is_some());
    if free.len() + 1 != lane.at_once() as usize {
        return None;
    }
    let candidates = candidates(lane, running, least_at_work);
    let found = full.into_iter().filter_map(|(room, suitable)| {
        let worker = room.offer.id;
        let candidates = candidates.get(&worker)?;
        Some((worker, Search { room, request, suitable, tries: MAX_TRIES }.smallest(candidates)?))
    });
    let (worker, attempts) = found.min_by(|(a, one), (b, other)| compare(one, other).then(a.cmp(b)))?;
    let workers = free.iter().map(|(room, _)| room.offer.id).chain([worker]).collect();
    Some(Victims { attempts: attempts.into_iter().map(|attempt| attempt.attempt).collect(), workers })
}

/// What may be asked back of each worker, what is missed least first.
fn candidates<'r>(lane: &LaneView, running: &'r [Running], least_at_work: Duration) -> HashMap<Uuid, Vec<&'r Running>> {
    let mut candidates: HashMap<Uuid, Vec<&Running>> = HashMap::new();
    let may_make_room = |attempt: &&Running| attempt.priority < lane.priority && attempt.may_make_room(least_at_work);
    for attempt in running.iter().filter(may_make_room) {
        candidates.entry(attempt.worker).or_default().push(attempt);
    }
    for attempts in candidates.values_mut() {
        attempts.sort_by(|a, b| missed_least(a, b).then(a.attempt.cmp(&b.attempt)));
    }
    candidates
}

fn missed_least(a: &Running, b: &Running) -> Ordering {
    a.priority.cmp(&b.priority).then(a.at_work.cmp(&b.at_work))
}

fn compare(one: &[&Running], other: &[&Running]) -> Ordering {
    let pairs = one.iter().zip(other);
    one.len()
        .cmp(&other.len())
        .then_with(|| pairs.map(|(a, b)| missed_least(a, b)).find(|o| o.is_ne()).unwrap_or(Ordering::Equal))
}

struct Search<'a> {
    room: Room<'a>,
    request: &'a Request,
    suitable: GpuSet,
    tries: u32,
}

impl Search<'_> {
    fn smallest<'r>(mut self, candidates: &[&'r Running]) -> Option<Vec<&'r Running>> {
        let missing = self.room.gpus_missing(self.request, self.suitable);
        let useful: Vec<&Running> =
            candidates.iter().copied().filter(|attempt| missing == 0 || self.has_suitable_gpu(attempt)).collect();
        if !self.fits_without(&useful) {
            return None;
        }
        let most = useful.iter().map(|attempt| attempt.gpus.len()).max().unwrap_or(0).max(1);
        let at_least = missing.div_ceil(most).max(1);
        for size in at_least..useful.len() {
            let mut chosen = Vec::with_capacity(size);
            if self.choose(&useful, size, &mut chosen) {
                return Some(chosen);
            }
        }
        Some(self.without_what_does_not_matter(useful))
    }

    /// The first set of a size that helps, in the order of the candidates.
    fn choose<'r>(&mut self, from: &[&'r Running], more: usize, chosen: &mut Vec<&'r Running>) -> bool {
        if more == 0 {
            self.tries = self.tries.saturating_sub(1);
            return self.fits_without(chosen);
        }
        for (position, attempt) in from.iter().enumerate() {
            if self.tries == 0 || from.len() - position < more {
                return false;
            }
            chosen.push(attempt);
            if self.choose(&from[position + 1..], more - 1, chosen) {
                return true;
            }
            chosen.pop();
        }
        false
    }

    /// Leaves out what would be missed most, as long as it helps.
    fn without_what_does_not_matter<'r>(&self, mut attempts: Vec<&'r Running>) -> Vec<&'r Running> {
        for position in (0..attempts.len()).rev() {
            let left_out = attempts.remove(position);
            if !self.fits_without(&attempts) {
                attempts.insert(position, left_out);
            }
        }
        attempts
    }

    fn fits_without(&self, attempts: &[&Running]) -> bool {
        let mut room = self.room.clone();
        for attempt in attempts {
            let trained_on_cpu = attempt.kind.learns() && attempt.gpus.is_empty();
            room.take_back(&attempt.gpus, attempt.shared_bytes, trained_on_cpu);
        }
        room.spot(self.request, self.suitable).is_some()
    }

    fn has_suitable_gpu(&self, attempt: &Running) -> bool {
        let gpus = self.room.offer.gpus.iter().enumerate();
        gpus.filter(|(position, _)| self.suitable.contains(*position)).any(|(_, gpu)| attempt.gpus.contains(&gpu.index))
    }
}
