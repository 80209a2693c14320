//! Too little data: the rate is right, the run is long enough, the training pictures are known, and new ones are not.

use super::Evidence;
use ursa_domain::run::{Finding, Problem};

/// Below this error rate a model is good enough not to be talked about.
const GOOD: f64 = 0.1;

pub(super) fn find(evidence: &Evidence<'_>) -> Option<Finding> {
    let last = evidence.last().filter(|_| evidence.epochs.len() as u32 >= evidence.recipe.epochs())?;
    let (known, new) = (last.train.errors(), last.valid.errors());
    let differ = new.interval().0 > known.interval().1;
    if !differ || new.rate() < GOOD {
        return None;
    }
    let pictures: usize = evidence.train_counts.iter().sum();
    Some(Finding {
        problem: Problem::TooLittleData,
        seen: format!("of training pictures {known} are wrong, of new ones {new}; {pictures} pictures were learned from"),
        why: "what the network learned holds for the pictures it has seen only; no recipe makes up for pictures it has not".into(),
        advice: "collect more pictures of what goes wrong; usually fewer are needed than one thinks. A learning curve (25, 50 and \
                 100 % of the data) shows whether more would help"
            .into(),
        recipe: None,
        go_back_to: None,
    })
}
