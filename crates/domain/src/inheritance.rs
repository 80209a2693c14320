//! Priority inheritance: a job is as urgent as the most urgent of those that wait for it. Else it would hold them up behind
//! everything in the middle.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use uuid::Uuid;

/// What a job has of a more urgent one that waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inherited {
    /// The priority.
    pub priority: i32,
    /// Whose it is.
    pub from: Uuid,
}

/// What jobs inherit, given the `priorities` of those that have not ended, and who waits for whom (`waits`: first who
/// waits).
///
/// A job inherits the highest priority of those that wait for it, directly or for one that does, where its own is lower. Who
/// has ended waits for nobody, and lends nothing. Of several that are equally urgent, it inherits from the one with the
/// smallest id.
pub fn inherited(priorities: &BTreeMap<Uuid, i32>, waits: &[(Uuid, Uuid)]) -> BTreeMap<Uuid, Inherited> {
    let mut awaited: BTreeMap<Uuid, Vec<Uuid>> = BTreeMap::new();
    for (waiting, job) in waits.iter().filter(|(_, job)| priorities.contains_key(job)) {
        awaited.entry(*waiting).or_default().push(*job);
    }
    let mut most_urgent_first: Vec<(Uuid, i32)> = priorities.iter().map(|(job, priority)| (*job, *priority)).collect();
    most_urgent_first.sort_unstable_by_key(|(job, priority)| (Reverse(*priority), *job));
    let mut inherited = BTreeMap::new();
    for (from, priority) in most_urgent_first {
        let mut waiting = vec![from];
        while let Some(job) = waiting.pop() {
            for job in awaited.get(&job).into_iter().flatten() {
                // Whoever has inherited already has it of one at least as urgent, and so has everything that it waits for.
                if !inherited.contains_key(job) {
                    inherited.insert(*job, Inherited { priority, from });
                    waiting.push(*job);
                }
            }
        }
    }
    inherited.retain(|job, of| priorities.get(job).is_some_and(|own| *own < of.priority));
    inherited
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn id(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    /// The priorities of those of twelve jobs that have not ended, and who waits for whom: later ones for earlier ones.
    fn pipeline() -> impl Strategy<Value = (BTreeMap<Uuid, i32>, Vec<(Uuid, Uuid)>)> {
        let priorities = prop::collection::btree_map((0..12_u128).prop_map(id), 0..10_i32, 0..12);
        let waits = prop::collection::vec((0..12_u128, 0..12_u128), 0..30).prop_map(|pairs| {
            pairs
                .into_iter()
                .filter(|(waiting, job)| waiting > job)
                .map(|(waiting, job)| (id(waiting), id(job)))
                .collect::<Vec<_>>()
        });
        (priorities, waits)
    }

    /// Those that wait for `job`, by looking for more until there are none.
    fn waiting_for(job: Uuid, priorities: &BTreeMap<Uuid, i32>, waits: &[(Uuid, Uuid)]) -> BTreeSet<Uuid> {
        let mut found = BTreeSet::new();
        loop {
            let before = found.len();
            let of_interest = |(_, awaited): &&(Uuid, Uuid)| *awaited == job || found.contains(awaited);
            let more: Vec<Uuid> = waits.iter().filter(of_interest).map(|(waiting, _)| *waiting).collect();
            found.extend(more.into_iter().filter(|waiting| priorities.contains_key(waiting)));
            if found.len() == before {
                return found;
            }
        }
    }

    proptest! {
        #[test]
        fn a_job_is_as_urgent_as_the_most_urgent_that_waits_for_it((priorities, waits) in pipeline()) {
            let inherited = inherited(&priorities, &waits);
            for (job, own) in &priorities {
                let waiting = waiting_for(*job, &priorities, &waits);
                let most = waiting.iter().map(|waiting| priorities[waiting]).max().unwrap_or(*own);
                let effective = inherited.get(job).map_or(*own, |of| of.priority);
                prop_assert_eq!(effective, most.max(*own));
                if let Some(of) = inherited.get(job) {
                    prop_assert!(waiting.contains(&of.from) && priorities[&of.from] == of.priority && of.priority > *own);
                }
            }
            prop_assert!(inherited.keys().all(|job| priorities.contains_key(job)));
        }

        #[test]
        fn the_order_in_which_they_are_told_says_nothing(
            (priorities, waits, shuffled) in pipeline().prop_flat_map(|(priorities, waits)| {
                (Just(priorities), Just(waits.clone()), Just(waits).prop_shuffle())
            }),
        ) {
            prop_assert_eq!(inherited(&priorities, &waits), inherited(&priorities, &shuffled));
        }
    }

    #[test]
    fn it_goes_over_several_steps_and_ends_at_one_that_has_ended() {
        let waits = [(id(2), id(1)), (id(3), id(2)), (id(4), id(3))];
        let mut priorities: BTreeMap<Uuid, i32> = [(id(1), 0), (id(2), 1), (id(3), 5), (id(4), 9)].into();
        let nine = Inherited { priority: 9, from: id(4) };
        assert_eq!(inherited(&priorities, &waits), [(id(1), nine), (id(2), nine), (id(3), nine)].into());
        priorities.remove(&id(3));
        let one = Inherited { priority: 1, from: id(2) };
        assert_eq!(inherited(&priorities, &waits), [(id(1), one)].into());
    }
}
