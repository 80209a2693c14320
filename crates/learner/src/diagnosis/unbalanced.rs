//! Unbalanced classes: usually that just works; it is a problem where the rare class fares worse.

use ursa_domain::recipe::{Balance, Recipe};

use super::Evidence;
use crate::recorder::Proportion;
use ursa_domain::run::{Finding, Problem};

/// A class with less than this share of the largest one's pictures is rare.
const RARE: f64 = 0.5;

pub(super) fn find(evidence: &Evidence<'_>) -> Option<Finding> {
    let errors = &evidence.last()?.valid.class_errors;
    let largest = *evidence.train_counts.iter().max()?;
    let worse = |&class: &usize| {
        let (own, others) = (errors[class], others(errors, class));
        let rare = (evidence.train_counts[class] as f64) < RARE * largest as f64;
        rare && own.interval().0 > others.rate() && own.rate() > 2.0 * others.rate()
    };
    let class =
        (0..errors.len().min(evidence.train_counts.len())).filter(worse).min_by_key(|&c| evidence.train_counts[c])?;
    let (name, count) = (&evidence.classes[class], evidence.train_counts[class]);
    let changed = Recipe { balance: Balance::Oversample, ..evidence.recipe.clone() };
    let already = changed == *evidence.recipe;
    Some(Finding {
        problem: Problem::UnbalancedClasses,
        seen: format!(
            "of {name:?} {} are wrong, of the other classes {}; it has {count} training pictures, the largest class {largest}",
            errors[class],
            others(errors, class)
        ),
        why: "a class that is seen rarely is rarely worth guessing, so the network learns it last".into(),
        advice: if already {
            format!("oversampling did not help enough: collect more pictures of {name:?}")
        } else {
            format!("show pictures of rare classes more often, or collect more of {name:?}")
        },
        recipe: (!already).then_some(changed),
        go_back_to: None,
    })
}

fn others(errors: &[Proportion], class: usize) -> Proportion {
    errors.iter().enumerate().filter(|(index, _)| *index != class).map(|(_, errors)| *errors).sum()
}
