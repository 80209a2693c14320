//! What keeps a task from waiting for ever, from one plan to the next.
//!
//! - A task that needs more than ever comes free at once, several GPUs for instance, would be overtaken by small ones for
//!   ever. So once the next one in turn has waited [`RESERVE_AFTER`] and fits nowhere, what it needs of some workers is
//!   kept from all others, and it goes first as soon as it fits. One at a time, so that little stays idle.
//! - What a more urgent task had others asked back for is kept for it, whoever's turn it would be, and given before what is
//!   kept for another reason.
//! - A project that has more than its share of something has no turn as long as others want it, even where what it has is
//!   of no use to them. So a lane that got nothing for [`TURN_AFTER`], while others got more than twice what would have
//!   made it its turn by weights alone, gets one task.
//! - Several tasks or GPUs at once may never fit what the others leave of a quota. So the quota is saved up for them.

use std::collections::BTreeMap;
use std::time::Duration;

use uuid::Uuid;

use super::assign::Plan;
use super::lanes::{LaneView, Need, ProjectView};
use super::offer::Offer;
use super::preempt::{Running, Victims, victims};
use super::round::{LaneIndex, Round};

/// After so long, what a task that fits nowhere needs is kept free for it.
pub const RESERVE_AFTER: Duration = Duration::from_mins(1);
/// After so long without a task, a lane may have one out of turn.
pub const TURN_AFTER: Duration = Duration::from_mins(90);

/// What was promised to lanes that wait. It may be lost at any time: whoever waits then waits a little longer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Promises {
    kept: Vec<Kept>,
    neglected: BTreeMap<i64, Neglected>,
}

/// Room on some workers, for a lane's next tasks.
#[derive(Debug, Clone, PartialEq)]
struct Kept {
    lane: i64,
    priority: i32,
    workers: Vec<Uuid>,
    /// Whether others were asked back for it.
    by_preemption: bool,
    /// Whether it goes before those with a smaller share: what took long to gather would be lost. Otherwise it only goes
    /// before those with the same.
    is_gathered: bool,
    /// When all of the workers were last there, in seconds since the epoch: one that gives something back may be away
    /// for a moment.
    possible_at: f64,
}

/// A lane that gets nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Neglected {
    /// Seconds since the epoch.
    since: f64,
    /// Tasks of others that it could have had the place of, once it had waited long.
    passed_over: usize,
}

impl Promises {
    /// Gives out at most `limit` tasks. `now` is in seconds since the epoch.
    pub fn assign(
        &mut self,
        lanes: &[LaneView],
        projects: &[ProjectView],
        offers: &[Offer],
        now: f64,
        limit: usize,
    ) -> Plan {
        let mut round = Round::new(lanes, projects, offers, limit);
        round.save_quotas(|lane| self.need_to_save(lane, now));
        let open: Vec<LaneIndex> = round.lanes().filter(|lane| round.is_open(*lane)).collect();
        let is_kept = self.keep(&mut round, now);
        let overdue = self.give_out_of_turn(&mut round, &open, now);
        // Who got something at last may go on, before what it leaves is kept for the next.
        if !is_kept {
            self.promise(&mut round, &open, &overdue, now);
        }
        round.fill();
        self.note(&mut round, &open, now);
        round.finish()
    }

    /// The smallest set of attempts whose end would make room for the lane's next task, as [`preempt`] finds it. The room
    /// is kept for the lane, however long they take to end, and no more is asked back than it has tasks for. Nothing is asked
    /// back of workers that something is kept on for others, unless these are less urgent and no other worker will do; what is
    /// kept for them stays so.
    ///
    /// [`preempt`]: super::preempt
    pub fn preempt(
        &mut self,
        lane: &LaneView,
        offers: &[Offer],
        running: &[Running],
        least_at_work: Duration,
        now: f64,
    ) -> Option<Vec<(Uuid, u32)>> {
        let under_way = self.kept.iter().filter(|kept| kept.lane == lane.id && kept.by_preemption).count();
        if under_way >= (lane.ready / lane.at_once()) as usize {
            return None;
        }
        let is_mine = |kept: &Kept| kept.lane == lane.id && !kept.by_preemption;
        let without = |keeps_out: &dyn Fn(&Kept) -> bool| -> Vec<&Offer> {
            let is_kept =
                |offer: &Offer| self.kept.iter().any(|kept| keeps_out(kept) && kept.workers.contains(&offer.id));
            offers.iter().filter(|offer| !is_kept(offer)).collect()
        };
        let unkept = without(&|kept| !is_mine(kept));
        let Victims { attempts, workers } = victims(lane, &unkept, running, least_at_work).or_else(|| {
            let open = without(&|kept| !is_mine(kept) && (kept.by_preemption || kept.priority >= lane.priority));
            victims(lane, &open, running, least_at_work)
        })?;
        // What it was to have in the end, it is to have at once.
        self.kept.retain(|kept| !is_mine(kept));
        self.kept.push(Kept {
            lane: lane.id,
            priority: lane.priority,
            workers,
            by_preemption: true,
            is_gathered: true,
            possible_at: now,
        });
        Some(attempts)
    }

    /// Workers on which room is kept for others than that lane.
    pub fn kept_from(&self, lane: i64) -> Vec<Uuid> {
        self.kept.iter().filter(|kept| kept.lane != lane).flat_map(|kept| kept.workers.iter().copied()).collect()
    }

    /// What of its project's quotas is to be saved up for a lane.
    fn need_to_save(&self, lane: &LaneView, now: f64) -> Need {
        let need = lane.need();
        if self.kept.iter().any(|kept| kept.lane == lane.id) {
            return need;
        }
        if !has_waited(lane, now) {
            return Need::default();
        }
        let several = |count: u32| if count > 1 { count } else { 0 };
        Need { tasks: several(need.tasks), gpus: several(need.gpus) }
    }

    /// Keeps what was promised, or gives it where it has come free: whether any was.
    fn keep(&mut self, round: &mut Round<'_>, now: f64) -> bool {
        let mut is_any_given = false;
        let (asked_back, others): (Vec<Kept>, Vec<Kept>) =
            std::mem::take(&mut self.kept).into_iter().partition(|kept| kept.by_preemption);
        for mut kept in asked_back.into_iter().chain(others) {
            let Some(lane) = round.find_open(kept.lane) else { continue };
            let may_go_first = kept.is_gathered || !round.fits(lane) || round.is_in_turn(lane);
            let is_given = may_go_first && round.give(lane);
            is_any_given |= is_given;
            if is_given || !may_go_first {
                continue;
            }
            if round.could_ever(lane, &kept.workers) == kept.workers.len() {
                kept.possible_at = now;
            }
            let is_lost = now - kept.possible_at > RESERVE_AFTER.as_secs_f64();
            if !is_lost && (kept.by_preemption || !round.gives_way(lane, &kept.workers)) {
                round.keep(lane, &kept.workers);
                self.kept.push(kept);
            }
        }
        is_any_given
    }

    /// Gives the most urgent of the lanes that got nothing for long one task; those that it does not fit for, if any.
    fn give_out_of_turn(&self, round: &mut Round<'_>, open: &[LaneIndex], now: f64) -> Vec<LaneIndex> {
        let mut blocked = Vec::new();
        for lane in open.iter().copied() {
            if !self.is_overdue(round, lane, now) {
                continue;
            }
            if round.is_open(lane) && round.give(lane) {
                break;
            }
            blocked.push(lane);
        }
        blocked
    }

    fn is_overdue(&self, round: &Round<'_>, lane: LaneIndex, now: f64) -> bool {
        let neglected = self.neglected.get(&round.view(lane).id);
        neglected.is_some_and(|neglected| {
            now - neglected.since >= TURN_AFTER.as_secs_f64()
                && neglected.passed_over as f64 > 2.0 * round.weights(lane)
        })
    }

    /// Promises room to the next in turn that has waited long and fits nowhere.
    fn promise(&mut self, round: &mut Round<'_>, open: &[LaneIndex], overdue: &[LaneIndex], now: f64) {
        if self.kept.iter().any(|kept| !kept.by_preemption) {
            return;
        }
        let mut in_turn: Vec<LaneIndex> =
            open.iter().copied().filter(|lane| has_waited(round.view(*lane), now) && round.is_open(*lane)).collect();
        in_turn.sort_by(|a, b| {
            let is_late = |lane: &LaneIndex| !overdue.contains(lane);
            is_late(a).cmp(&is_late(b)).then(round.share(*a).total_cmp(&round.share(*b))).then(a.cmp(b))
        });
        for lane in in_turn {
            if round.fits(lane) {
                continue;
            }
            let Some(workers) = round.soonest(lane) else { continue };
            if overdue.contains(&lane) || !round.gives_way(lane, &workers) {
                let is_gathered = overdue.contains(&lane) || round.gathers(lane, &workers);
                round.keep(lane, &workers);
                let LaneView { id, priority, .. } = *round.view(lane);
                self.kept.push(Kept {
                    lane: id,
                    priority,
                    workers,
                    by_preemption: false,
                    is_gathered,
                    possible_at: now,
                });
                return;
            }
        }
    }

    /// Notes who got nothing though nothing of its own held it up.
    fn note(&mut self, round: &mut Round<'_>, open: &[LaneIndex], now: f64) {
        let before = std::mem::take(&mut self.neglected);
        for lane in open.iter().copied() {
            if round.was_given(lane) {
                continue;
            }
            let id = round.view(lane).id;
            let mut neglected = before.get(&id).copied().unwrap_or(Neglected { since: now, passed_over: 0 });
            if now - neglected.since >= TURN_AFTER.as_secs_f64() {
                neglected.passed_over = neglected.passed_over.saturating_add(round.passed_over(lane));
            }
            self.neglected.insert(id, neglected);
        }
    }
}

fn has_waited(lane: &LaneView, now: f64) -> bool {
    now - lane.head_ready_at > RESERVE_AFTER.as_secs_f64()
}
