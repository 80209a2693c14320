//! What to ask back for the sake of a more urgent task.

use uuid::Uuid;

use super::assign::LaneView;
use super::placement::{Offer, place};
use crate::JobKind;

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
    let mut found: Vec<Vec<&Running>> =
        offers.iter().filter_map(|offer| victims(lane, offer, running)).collect();
    found.sort_by_key(|victims| (victims.len(), victims.iter().map(|victim| victim.priority).max()));
    found.into_iter().next().map(|victims| victims.into_iter().map(|victim| victim.attempt).collect())
}

fn victims<'a>(lane: &LaneView, offer: &Offer, running: &'a [Running]) -> Option<Vec<&'a Running>> {
    let mut candidates: Vec<&Running> = running
        .iter()
        .filter(|attempt| attempt.worker == offer.id && attempt.preemptible && attempt.priority < lane.priority)
        .collect();
    candidates.sort_by(|a, b| a.priority.cmp(&b.priority).then(b.started_at.total_cmp(&a.started_at)));
    let mut without = offer.clone();
    let mut taken = Vec::new();
    for candidate in candidates {
        without.slots += 1;
        without.cpu_training |= candidate.kind == JobKind::Train && candidate.gpus.is_empty();
        for gpu in without.gpus.iter_mut().filter(|gpu| candidate.gpus.contains(&gpu.index)) {
            gpu.take_back(candidate.shared_bytes);
        }
        taken.push(candidate);
        if place(&without, &lane.request).is_ok() {
            return Some(needed(lane, offer, taken));
        }
    }
    None
}

/// Leaves out those whose place turned out not to matter.
fn needed<'a>(lane: &LaneView, offer: &Offer, mut taken: Vec<&'a Running>) -> Vec<&'a Running> {
    for index in (0..taken.len().saturating_sub(1)).rev() {
        let mut fewer = taken.clone();
        fewer.remove(index);
        let mut without = offer.clone();
        for victim in &fewer {
            without.slots += 1;
            without.cpu_training |= victim.kind == JobKind::Train && victim.gpus.is_empty();
            for gpu in without.gpus.iter_mut().filter(|gpu| victim.gpus.contains(&gpu.index)) {
                gpu.take_back(victim.shared_bytes);
            }
        }
        if place(&without, &lane.request).is_ok() {
            taken = fewer;
        }
    }
    taken
}
