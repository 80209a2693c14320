//! The workers as a plan takes shape, and for every request those that would take it, best first.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use uuid::Uuid;

use super::offer::{Offer, Request};
use super::placement::{GpuSet, suitable};
use super::room::{Cost, Room, Spot};

/// A request by its number in [`Workers`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WishId(usize);

/// See the module.
///
/// A worker stands once in each heap. As giving only ever makes room less, one that no longer fits is dropped for good;
/// what a heap says of one that has changed since is put right when it comes to the top.
pub(super) struct Workers<'a> {
    rooms: Vec<Room<'a>>,
    /// How often each has changed.
    changes: Vec<u32>,
    wishes: Vec<Wish<'a>>,
    by_request: HashMap<(&'a Request, bool), WishId>,
}

struct Wish<'a> {
    request: &'a Request,
    /// Whether only workers that have no GPU are asked.
    without_gpus: bool,
    eligible: Option<Vec<(usize, GpuSet)>>,
    best: Option<BinaryHeap<Reverse<Candidate>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    cost: Cost,
    worker: usize,
    change: u32,
    suitable: GpuSet,
}

impl<'a> Workers<'a> {
    pub(super) fn new(offers: &'a [Offer]) -> Self {
        let mut rooms: Vec<Room<'a>> = offers.iter().map(Room::new).collect();
        rooms.sort_by_key(|room| room.offer.id);
        Self { changes: vec![0; rooms.len()], rooms, wishes: Vec::new(), by_request: HashMap::new() }
    }

    pub(super) fn room(&self, worker: usize) -> &Room<'a> {
        &self.rooms[worker]
    }

    pub(super) fn id(&self, worker: usize) -> Uuid {
        self.rooms[worker].offer.id
    }

    /// The number of a request, of all workers or only of those that have no GPU.
    pub(super) fn wish(&mut self, request: &'a Request, without_gpus: bool) -> WishId {
        let wishes = &mut self.wishes;
        *self.by_request.entry((request, without_gpus)).or_insert_with(|| {
            wishes.push(Wish { request, without_gpus, eligible: None, best: None });
            WishId(wishes.len() - 1)
        })
    }

    /// The workers that could take it if nothing of ours were on them.
    pub(super) fn eligible(&mut self, wish: WishId) -> &[(usize, GpuSet)] {
        let Wish { request, without_gpus, eligible, .. } = &mut self.wishes[wish.0];
        let rooms = &self.rooms;
        eligible.get_or_insert_with(|| {
            let asked = rooms.iter().enumerate().filter(|(_, room)| !*without_gpus || room.offer.gpus.is_empty());
            asked.filter_map(|(worker, room)| Some((worker, suitable(room.offer, request).ok()?))).collect()
        })
    }

    /// Whether `count` workers have room for it.
    pub(super) fn fits(&mut self, wish: WishId, count: usize) -> bool {
        self.eligible(wish);
        let Wish { request, eligible, .. } = &self.wishes[wish.0];
        let has_room = |(worker, suitable): &&(usize, GpuSet)| self.rooms[*worker].spot(request, *suitable).is_some();
        count == 0 || eligible.iter().flatten().filter(has_room).nth(count - 1).is_some()
    }

    /// Gives `count` workers one such task each, or none at all: who, and the numbers of the GPUs.
    pub(super) fn give(&mut self, wish: WishId, count: usize) -> Option<Vec<(usize, Vec<u32>)>> {
        let found = self.best(wish, count)?;
        let given = found.iter().map(|(candidate, spot)| {
            let room = &mut self.rooms[candidate.worker];
            let gpus = room.numbers(spot);
            room.lend(self.wishes[wish.0].request, spot);
            self.changes[candidate.worker] += 1;
            (candidate.worker, gpus)
        });
        let given = given.collect();
        for (candidate, _) in found {
            self.put_back(wish, candidate);
        }
        Some(given)
    }

    /// Keeps a place on a worker that has no room yet, so that others find less.
    pub(super) fn set_aside(&mut self, wish: WishId, worker: usize, suitable: GpuSet, with_slot: bool) {
        self.rooms[worker].set_aside(self.wishes[wish.0].request, suitable, with_slot);
        self.changes[worker] += 1;
    }

    /// Takes the best out of a request's heap.
    fn best(&mut self, wish: WishId, count: usize) -> Option<Vec<(Candidate, Spot)>> {
        self.fill_heap(wish);
        let mut found = Vec::with_capacity(count);
        while found.len() < count {
            let Some((candidate, spot)) = self.pop(wish) else {
                for (candidate, _) in found {
                    self.put_back(wish, candidate);
                }
                return None;
            };
            found.push((candidate, spot));
        }
        Some(found)
    }

    fn pop(&mut self, wish: WishId) -> Option<(Candidate, Spot)> {
        let Wish { request, best, .. } = &mut self.wishes[wish.0];
        let heap = best.as_mut()?;
        loop {
            let Reverse(mut candidate) = heap.pop()?;
            let worker = candidate.worker;
            let Some(spot) = self.rooms[worker].spot(request, candidate.suitable) else { continue };
            if candidate.change != self.changes[worker] {
                candidate = Candidate { cost: spot.cost, change: self.changes[worker], ..candidate };
                if heap.peek().is_some_and(|Reverse(next)| *next < candidate) {
                    heap.push(Reverse(candidate));
                    continue;
                }
            }
            return Some((candidate, spot));
        }
    }

    fn put_back(&mut self, wish: WishId, candidate: Candidate) {
        let Wish { request, best, .. } = &mut self.wishes[wish.0];
        let spot = self.rooms[candidate.worker].spot(request, candidate.suitable);
        if let (Some(heap), Some(spot)) = (best, spot) {
            let change = self.changes[candidate.worker];
            heap.push(Reverse(Candidate { cost: spot.cost, change, ..candidate }));
        }
    }

    fn fill_heap(&mut self, wish: WishId) {
        if self.wishes[wish.0].best.is_some() {
            return;
        }
        self.eligible(wish);
        let Wish { request, eligible, best, .. } = &mut self.wishes[wish.0];
        let candidate = |(worker, suitable): &(usize, GpuSet)| {
            let cost = self.rooms[*worker].spot(request, *suitable)?.cost;
            let change = self.changes[*worker];
            Some(Reverse(Candidate { cost, worker: *worker, change, suitable: *suitable }))
        };
        *best = Some(eligible.iter().flatten().filter_map(candidate).collect());
    }
}
