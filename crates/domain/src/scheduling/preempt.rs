//! What to ask back for the sake of a more urgent task.

use std::cmp::Ordering;

use uuid::Uuid;

use super::placement::{Lacking, Offer, cost, could_take, lacking, place};
use super::room::Room;
use super::views::LaneView;
use crate::JobKind;

/// How many sets of attempts are tried for the smallest; then one from which nothing can be left out has to do.
const TRIES: u32 = 20_000;

/// An attempt at work.
#[derive(Debug, Clone, PartialEq)]
pub struct Running {
    /// Its task and number.
    pub attempt: (Uuid, u32),
    /// Who has it.
    pub worker: Uuid,
    /// With which GPUs.
    pub gpus: Vec<u32>,
    /// What it asked for of GPUs that it shares, in bytes.
    pub shared_bytes: u64,
    /// Its kind.
    pub kind: JobKind,
    /// Its priority.
    pub priority: i32,
    /// Whether it may be asked back.
    pub preemptible: bool,
    /// When it began; any clock will do.
    pub started_at: f64,
}

/// The fewest preemptible attempts of lower priority, all on one worker, without which the lane's next task would have a
/// place; the lowest priority first, then the youngest. `None` when nothing helps, when it fits as it is, and for gangs.
pub fn preempt(lane: &LaneView, offers: &[Offer], running: &[Running]) -> Option<Vec<(Uuid, u32)>> {
    if lane.gang > 1 || offers.iter().any(|offer| place(offer, &lane.request).is_ok()) {
        return None;
    }
    let mut tries = TRIES;
    let mut best: Option<Vec<&Running>> = None;
    for site in offers.iter().filter_map(|offer| Site::of(lane, offer, running)) {
        let at_most = best.as_ref().map_or(usize::MAX, Vec::len);
        let found = site.smallest(at_most, &mut tries);
        best = found.into_iter().chain(best).min_by(|a, b| compare(a, b));
    }
    best.map(|victims| victims.into_iter().map(|victim| victim.attempt).collect())
}

/// Fewer, then of lower priority, then those that lose the least work.
fn compare(a: &[&Running], b: &[&Running]) -> Ordering {
    let priority = |victims: &[&Running]| victims.iter().map(|victim| victim.priority).max();
    let oldest = |victims: &[&Running]| victims.iter().map(|victim| victim.started_at).fold(f64::INFINITY, f64::min);
    let (first, second) = (oldest(a), oldest(b));
    a.len().cmp(&b.len()).then(priority(a).cmp(&priority(b))).then(second.total_cmp(&first))
}

/// A worker on which the lane's task could go if some attempts went.
struct Site<'a> {
    lane: &'a LaneView,
    offer: &'a Offer,
    room: Room,
    /// Which of its GPUs will do.
    suits: Vec<bool>,
    /// Those that stand in its way and may be asked back, in the order in which they would be.
    candidates: Vec<&'a Running>,
}

impl<'a> Site<'a> {
    /// `None` when even all of them would not make enough room.
    fn of(lane: &'a LaneView, offer: &'a Offer, running: &'a [Running]) -> Option<Self> {
        could_take(offer, &lane.request).ok()?;
        let room = Room::of(offer);
        let suits = |at: usize| offer.gpus[at].suits(&lane.request.resources);
        let wanted = lacking(offer, &room, &lane.request, &suits);
        let may_go = |attempt: &&Running| {
            let is_less_urgent = attempt.preemptible && attempt.priority < lane.priority;
            attempt.worker == offer.id && is_less_urgent && wanted.is_had_by(attempt)
        };
        let mut candidates: Vec<&Running> = running.iter().filter(may_go).collect();
        candidates.sort_by(|a, b| a.priority.cmp(&b.priority).then(b.started_at.total_cmp(&a.started_at)));
        let suits = (0..offer.gpus.len()).map(suits).collect();
        let site = Self { lane, offer, room, suits, candidates };
        site.is_enough(&site.candidates).then_some(site)
    }

    fn is_enough(&self, victims: &[&Running]) -> bool {
        let mut room = self.room.clone();
        for victim in victims {
            room.take_back(self.offer, victim);
        }
        self.fits(&room)
    }

    fn fits(&self, room: &Room) -> bool {
        cost(self.offer, room, &self.lane.request, &|at| self.suits[at]).is_some()
    }

    /// The smallest set that is enough; `None` when it has more than `at_most` members.
    fn smallest(&self, at_most: usize, tries: &mut u32) -> Option<Vec<&'a Running>> {
        let mut taken = Vec::new();
        for size in 1..=self.candidates.len().min(at_most) {
            if self.search(size, self.candidates.len(), &self.room, &mut taken, tries) {
                return Some(taken);
            }
        }
        (*tries == 0).then(|| self.irreducible())
    }

    /// Looks for `size` of the first `below` candidates. Those that would be asked back last are the last to be taken in.
    fn search(&self, size: usize, below: usize, room: &Room, taken: &mut Vec<&'a Running>, tries: &mut u32) -> bool {
        if size == 0 {
            return self.fits(room);
        }
        for last in size - 1..below {
            let Some(left) = tries.checked_sub(1) else { return false };
            *tries = left;
            let mut room = room.clone();
            room.take_back(self.offer, self.candidates[last]);
            taken.push(self.candidates[last]);
            if self.search(size - 1, last, &room, taken, tries) {
                return true;
            }
            taken.pop();
        }
        false
    }

    /// All of them but those that need not go.
    fn irreducible(&self) -> Vec<&'a Running> {
        let mut victims = self.candidates.clone();
        for index in (0..victims.len()).rev() {
            let victim = victims.remove(index);
            if !self.is_enough(&victims) {
                victims.insert(index, victim);
            }
        }
        victims
    }
}

impl Lacking {
    /// Whether an attempt has some of it.
    fn is_had_by(&self, attempt: &Running) -> bool {
        match self {
            Self::Gpus(gpus) => attempt.gpus.iter().any(|gpu| gpus.contains(gpu)),
            Self::CpuTraining => attempt.kind == JobKind::Train && attempt.gpus.is_empty(),
            Self::Slot => true,
        }
    }
}
