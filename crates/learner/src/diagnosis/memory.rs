//! A batch that memory did not hold at once: it was learned from in parts.

use ursa_domain::recipe::Recipe;
use ursa_domain::run::{Finding, Problem};

use super::Evidence;

pub(super) fn find(evidence: &Evidence<'_>) -> Option<Finding> {
    let recipe = evidence.recipe;
    let held = evidence.micro_batch.filter(|held| recipe.micro_batch.is_none_or(|asked| *held < asked))?;
    Some(Finding {
        problem: Problem::MemoryRanOut,
        seen: format!(
            "memory did not hold {} pictures at once: gradients were summed up over parts of {held}",
            recipe.micro_batch.unwrap_or(recipe.batch_size)
        ),
        why:
            "every part is normalised by its own mean and variance, which are poor where it has few pictures; and the \
              first try of the next run would run out of memory again"
                .into(),
        advice: format!(
            "ask for parts of {held} from the beginning, or have the batch fit: lower image_size or batch_size, or take a \
             GPU with more memory"
        ),
        recipe: Some(Recipe { micro_batch: Some(held), ..recipe.clone() }),
        go_back_to: None,
    })
}
