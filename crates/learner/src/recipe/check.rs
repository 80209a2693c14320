//! What a recipe must fulfil before any work is done for it.

use super::{Recipe, Stage};
use crate::LearnError;
use crate::augment::Mix;

/// The network halves a picture five times; beyond the upper end pictures no longer fit a machine's memory.
const IMAGE_SIZES: std::ops::RangeInclusive<u32> = 32..=1024;

impl Recipe {
    /// Refuses a recipe that cannot be followed, naming the key. [`crate::Training::new`] asks too.
    pub fn check(&self) -> Result<(), LearnError> {
        self.find_fault().map_or(Ok(()), |fault| Err(LearnError::InvalidRecipe(fault)))
    }

    fn find_fault(&self) -> Option<String> {
        if self.batch_size < 2 {
            return Some("batch_size must be at least 2: batch normalisation needs several pictures".into());
        }
        if self.epochs() == 0 {
            return Some("there is no epoch to train".into());
        }
        if self.keep_head && self.pretrained.is_none() {
            return Some("keep_head without pretrained weights: there is no head to keep".into());
        }
        image_size(self.image_size)
            .or_else(|| self.stages.iter().zip(1..).find_map(|(stage, number)| self.fault_of_stage(stage, number)))
            .or_else(|| not_within("weight_decay", self.weight_decay, 0.0, f64::MAX))
            .or_else(|| share("dropout", self.dropout))
            .or_else(|| share("label_smoothing", self.label_smoothing))
            .or_else(|| self.weight_average.and_then(|decay| share("weight_average", decay)))
            .or_else(|| self.augmentation.find_fault())
            .or_else(|| self.mix.and_then(Mix::find_fault))
    }

    fn fault_of_stage(&self, stage: &Stage, number: u32) -> Option<String> {
        let of_stage = |fault: String| format!("stage {number}: {fault}");
        if let Some(rate) = stage.rate.of_groups().into_iter().find(|rate| !rate.is_finite() || *rate <= 0.0) {
            return Some(of_stage(format!("a learning rate (max_learning_rate) is {rate}, it must be above 0")));
        }
        if stage.frozen && self.pretrained.is_none() {
            return Some(of_stage(
                "frozen epochs (frozen_epochs) without pretrained weights would freeze a random body".into(),
            ));
        }
        let size = stage.image_size.unwrap_or(self.image_size);
        if size > self.image_size {
            return Some(of_stage(format!(
                "image_size is {size}, the recipe's is {} and the largest there is",
                self.image_size
            )));
        }
        let warm_up = stage.warm_up_share.filter(|share| !(*share > 0.0 && *share < 1.0));
        if let Some(share) = warm_up {
            return Some(of_stage(format!("warm_up_share is {share}, it must be above 0 and below 1")));
        }
        image_size(size)
            .or_else(|| stage.start_divisor.and_then(|value| not_within("start_divisor", value, 1.0, f64::MAX)))
            .or_else(|| stage.final_divisor.and_then(|value| not_within("final_divisor", value, 1.0, f64::MAX)))
            .map(of_stage)
    }
}

fn image_size(size: u32) -> Option<String> {
    let (least, most) = IMAGE_SIZES.into_inner();
    (!IMAGE_SIZES.contains(&size)).then(|| format!("image_size is {size}, it must be from {least} to {most} pixels"))
}

/// What to say of a `value` outside [0, 1).
fn share(key: &str, value: f64) -> Option<String> {
    (!(0.0..1.0).contains(&value)).then(|| format!("{key} is {value}, it must be at least 0 and below 1"))
}

/// What to say of a `value` outside [least, most].
pub(crate) fn not_within(key: &str, value: f64, least: f64, most: f64) -> Option<String> {
    if (least..=most).contains(&value) {
        return None;
    }
    let range = if most < f64::MAX { format!("from {least} to {most}") } else { format!("at least {least}") };
    Some(format!("{key} is {value}, it must be {range}"))
}

#[cfg(test)]
mod tests {
    use crate::augment::Augmentation;
    use crate::recipe::Rate;

    use super::*;

    type Change = fn(&mut Recipe);

    #[test]
    fn impossible_recipes_are_refused_with_the_key_named() {
        let cases: [(&str, Change); 17] = [
            ("learning rate", |recipe| recipe.stages[0].rate = Rate::Flat(0.0)),
            ("learning rate", |recipe| recipe.stages[0].rate = Rate::Slice(f64::NAN, 1e-3)),
            ("weight_decay", |recipe| recipe.weight_decay = -1.0),
            ("weight_decay", |recipe| recipe.weight_decay = f64::INFINITY),
            ("batch_size", |recipe| recipe.batch_size = 1),
            ("image_size", |recipe| recipe.image_size = 8),
            ("image_size", |recipe| recipe.stages[0].image_size = Some(8)),
            ("image_size", |recipe| recipe.stages[0].image_size = Some(448)),
            ("frozen", |recipe| recipe.stages[0].frozen = true),
            ("epoch", |recipe| recipe.stages[0].epochs = 0),
            ("epoch", |recipe| recipe.stages.clear()),
            ("warm_up_share", |recipe| recipe.stages[0].warm_up_share = Some(1.0)),
            ("start_divisor", |recipe| recipe.stages[0].start_divisor = Some(0.5)),
            ("label_smoothing", |recipe| recipe.label_smoothing = 1.0),
            ("dropout", |recipe| recipe.dropout = -0.1),
            ("max_zoom", |recipe| recipe.augmentation = Augmentation { max_zoom: 0.5, ..Augmentation::default() }),
            ("alpha", |recipe| recipe.mix = Some(Mix::MixUp { alpha: 0.0 })),
        ];
        for (key, change) in cases {
            let mut recipe = Recipe::default();
            change(&mut recipe);
            let error = recipe.check().expect_err(key).to_string();
            assert!(error.contains(key), "{key}: {error}");
        }
        Recipe::default().check().unwrap();
    }
}
