//! What a recipe must fulfil before any work is done for it.

use std::ops::RangeInclusive;

use super::{Recipe, Stage};
use crate::setting::{InvalidSetting, at_least, require, share, within};

/// The network halves a picture five times; beyond the upper end pictures no longer fit a machine's memory.
pub(super) const IMAGE_SIZES: RangeInclusive<u32> = 32..=1024;
/// Batch normalisation needs several pictures.
const BATCH_SIZES: RangeInclusive<u32> = 2..=8192;
/// More is a mistake of whoever wrote it.
const MAX_STAGES: usize = 100;

impl Recipe {
    /// Refuses a recipe that cannot be followed, naming the key.
    pub fn check(&self) -> Result<(), InvalidSetting> {
        within("batch_size", self.batch_size, BATCH_SIZES)?;
        let micro_batches = *BATCH_SIZES.start()..=self.batch_size;
        self.micro_batch.map_or(Ok(()), |pictures| within("micro_batch", pictures, micro_batches))?;
        within("image_size", self.image_size, IMAGE_SIZES)?;
        self.check_stages()?;
        at_least("weight_decay", self.weight_decay, 0.0)?;
        self.momentum.check().map_err(|invalid| invalid.inside("momentum"))?;
        share("dropout", self.dropout)?;
        share("label_smoothing", self.label_smoothing)?;
        self.weight_average.map_or(Ok(()), |decay| share("weight_average", decay))?;
        self.augmentation.check().map_err(|invalid| invalid.inside("augmentation"))?;
        self.mix.map_or(Ok(()), |mix| mix.check().map_err(|invalid| invalid.inside("mix")))?;
        self.check_pretrained()
    }

    fn check_stages(&self) -> Result<(), InvalidSetting> {
        let count = self.stages.len();
        require(count <= MAX_STAGES, "stages", || format!("are {count}; there may be {MAX_STAGES} at most"))?;
        for (index, stage) in self.stages.iter().enumerate() {
            let in_stage = |invalid: InvalidSetting| invalid.inside(format_args!("stages[{index}]"));
            stage.check().and_then(|()| self.check_stage(stage)).map_err(in_stage)?;
        }
        require(self.epochs() > 0, "stages", || "have no epoch to train; give one of them epochs".into())
    }

    /// What a stage must fulfil within this recipe.
    fn check_stage(&self, stage: &Stage) -> Result<(), InvalidSetting> {
        require(!stage.frozen || self.pretrained.is_some(), "frozen", || {
            "(frozen_epochs, fine_tune) would freeze a random body; set `pretrained`, or train no frozen epochs".into()
        })?;
        let (size, largest) = (stage.image_size.unwrap_or(self.image_size), self.image_size);
        require(size <= largest, "image_size", || {
            format!("is {size}; the recipe's is {largest} and the largest there is")
        })
    }

    fn check_pretrained(&self) -> Result<(), InvalidSetting> {
        match &self.pretrained {
            Some(weights) => weights.check().map_err(|invalid| invalid.inside("pretrained")),
            None => require(!self.keep_head, "keep_head", || {
                "keeps no head without pretrained weights; set `pretrained`, or keep_head to false".into()
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::recipe::{Augmentation, Mix, Momentum, PretrainedWeights, Rate};

    use super::*;

    type Change = fn(&mut Recipe);

    fn weights(sha256: &str) -> PretrainedWeights {
        PretrainedWeights { location: "/weights".into(), sha256: sha256.into() }
    }

    #[test]
    fn impossible_recipes_are_refused_with_the_key_named() {
        let cases: [(&str, Change); 29] = [
            ("stages[0].rate", |recipe| recipe.stages[0].rate = Rate::Flat(0.0)),
            ("stages[0].rate", |recipe| recipe.stages[0].rate = Rate::Slice(f64::NAN, 1e-3)),
            ("weight_decay", |recipe| recipe.weight_decay = -1.0),
            ("weight_decay", |recipe| recipe.weight_decay = f64::INFINITY),
            ("momentum.high", |recipe| recipe.momentum.high = 1.0),
            ("momentum.high", |recipe| recipe.momentum.high = f64::NAN),
            ("momentum.low", |recipe| recipe.momentum.low = -0.1),
            ("momentum.low", |recipe| recipe.momentum = Momentum { high: 0.9, low: 0.95 }),
            ("batch_size", |recipe| recipe.batch_size = 1),
            ("micro_batch", |recipe| recipe.micro_batch = Some(1)),
            ("micro_batch", |recipe| recipe.micro_batch = Some(65)),
            ("image_size", |recipe| recipe.image_size = 8),
            ("stages[0].image_size", |recipe| recipe.stages[0].image_size = Some(8)),
            ("stages[0].image_size", |recipe| recipe.stages[0].image_size = Some(448)),
            ("stages[0].frozen", |recipe| recipe.stages[0].frozen = true),
            ("stages", |recipe| recipe.stages[0].epochs = 0),
            ("stages", |recipe| recipe.stages.clear()),
            ("stages", |recipe| recipe.stages = vec![Stage::one_cycle(1, Rate::Flat(1e-3)); 101]),
            ("stages[1].epochs", |recipe| recipe.stages.push(Stage::one_cycle(u32::MAX, Rate::Flat(1e-3)))),
            ("stages[0].warm_up_share", |recipe| recipe.stages[0].warm_up_share = Some(1.0)),
            ("stages[0].start_divisor", |recipe| recipe.stages[0].start_divisor = Some(0.5)),
            ("stages[0].final_divisor", |recipe| recipe.stages[0].final_divisor = Some(f64::NAN)),
            ("label_smoothing", |recipe| recipe.label_smoothing = 1.0),
            ("dropout", |recipe| recipe.dropout = -0.1),
            ("weight_average", |recipe| recipe.weight_average = Some(1.0)),
            ("augmentation.max_zoom", |recipe| {
                recipe.augmentation = Augmentation { max_zoom: 0.5, ..Augmentation::default() };
            }),
            ("mix.alpha", |recipe| recipe.mix = Some(Mix::MixUp { alpha: 0.0 })),
            ("keep_head", |recipe| recipe.keep_head = true),
            ("pretrained.sha256", |recipe| recipe.pretrained = Some(weights("0123"))),
        ];
        for (key, change) in cases {
            let mut recipe = Recipe::default();
            change(&mut recipe);
            let invalid = recipe.check().expect_err(key);
            assert_eq!(invalid.key, key, "{invalid}");
        }
        Recipe::default().check().unwrap();
        for momentum in [Momentum { high: 0.0, low: 0.0 }, Momentum { high: 0.9, low: 0.9 }] {
            Recipe { momentum, ..Recipe::default() }.check().unwrap();
        }
        Recipe { pretrained: Some(weights(&"0".repeat(64))), keep_head: true, ..Recipe::default() }.check().unwrap();
    }
}
