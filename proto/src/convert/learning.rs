//! What a network learns: recipes, and the jobs that follow them.

use ursa_domain::checkpoints::KeepCheckpoints;
use ursa_domain::recipe::{
    Architecture, Augmentation, Balance, Method, Mix, Momentum, Numerics, PretrainedWeights, Rate, RateEnd, RateTest,
    Recipe, Short, Stage,
};
use ursa_domain::run::CheckpointInfo;
use ursa_domain::sgd_lab::{Noise, SgdLab};
use ursa_domain::spec::{CheckpointRef, FindLrSpec, FoundRate, Learning, ModelRef, SnapshotRef, TrainSpec};
use uuid::Uuid;

use super::{BadField, or_default, required};
use crate::v1;

impl TryFrom<v1::TrainSpec> for TrainSpec {
    type Error = BadField;

    fn try_from(spec: v1::TrainSpec) -> Result<Self, BadField> {
        use v1::train_spec::{Model, Snapshot};
        let snapshot = match required("snapshot", spec.snapshot)? {
            Snapshot::SnapshotFromJob(job) => SnapshotRef::FromJob(job),
            Snapshot::SnapshotName(name) => name.into(),
        };
        let model = spec.model.map(|model| match model {
            Model::ModelFromJob(job) => ModelRef::FromJob(job),
            Model::ModelDigest(digest) => ModelRef::Digest(digest),
        });
        let recipe = read_recipe(spec.recipe.unwrap_or_default(), model.is_some())?;
        let once = Self::once(Learning { snapshot, recipe, model });
        Ok(Self {
            rate: spec.rate.filter(|rate| !rate.job.is_empty()).map(found_rate).transpose()?,
            seeds: or_default(spec.seeds, once.seeds),
            train_percents: if spec.train_percents.is_empty() { once.train_percents } else { spec.train_percents },
            checkpoint: spec.checkpoint.filter(|name| !name.job_id.is_empty()).map(checkpoint_ref).transpose()?,
            keep_checkpoints: spec.keep_checkpoints.unwrap_or_default().into(),
            from: once.from,
        })
    }
}

impl From<v1::SnapshotName> for SnapshotRef {
    fn from(name: v1::SnapshotName) -> Self {
        Self::Numbered { dataset: name.dataset, number: (name.number > 0).then_some(name.number) }
    }
}

impl From<&TrainSpec> for v1::TrainSpec {
    fn from(spec: &TrainSpec) -> Self {
        let found = |rate: &FoundRate| v1::FoundRate {
            job: rate.job.clone(),
            method: rate.method.to_string(),
            r#as: rate.end.to_string(),
        };
        Self {
            rate: spec.rate.as_ref().map(found),
            seeds: spec.seeds,
            train_percents: spec.train_percents.clone(),
            checkpoint: spec.checkpoint.map(|checkpoint| v1::CheckpointName {
                job_id: checkpoint.job.to_string(),
                epochs: checkpoint.epochs.unwrap_or_default(),
            }),
            keep_checkpoints: Some(spec.keep_checkpoints.into()),
            ..(&spec.from).into()
        }
    }
}

impl From<&Learning> for v1::TrainSpec {
    /// Stages that a few numbers say are said so: whoever changes one of the numbers changes the stages.
    fn from(from: &Learning) -> Self {
        use v1::train_spec::{Model, Snapshot};
        let from_weights = from.model.is_some() || from.recipe.pretrained.is_some();
        let recipe = v1::TrainRecipe::from(&from.recipe);
        let recipe = match Short::of(&from.recipe.stages, from_weights) {
            None => recipe,
            Some(Short { epochs, frozen_epochs, max_learning_rate }) => {
                v1::TrainRecipe { stages: Vec::new(), epochs, frozen_epochs, max_learning_rate, ..recipe }
            }
        };
        Self {
            snapshot: Some(match &from.snapshot {
                SnapshotRef::FromJob(job) => Snapshot::SnapshotFromJob(job.clone()),
                SnapshotRef::Numbered { dataset, number } => Snapshot::SnapshotName(v1::SnapshotName {
                    dataset: dataset.clone(),
                    number: number.unwrap_or_default(),
                }),
            }),
            recipe: Some(recipe),
            model: from.model.as_ref().map(|model| match model {
                ModelRef::FromJob(job) => Model::ModelFromJob(job.clone()),
                ModelRef::Digest(digest) => Model::ModelDigest(digest.clone()),
            }),
            ..Self::default()
        }
    }
}

impl TryFrom<v1::FindLrSpec> for FindLrSpec {
    type Error = BadField;

    fn try_from(spec: v1::FindLrSpec) -> Result<Self, BadField> {
        let training = TrainSpec::try_from(required("training", spec.training)?)?;
        if training != TrainSpec::once(training.from.clone()) {
            let reason = "is tried once and on everything: leave out rate, seeds, train_percents and checkpoint";
            return Err(BadField::new("training", reason));
        }
        Ok(Self { from: training.from, test: spec.test.unwrap_or_default().into() })
    }
}

impl From<&FindLrSpec> for v1::FindLrSpec {
    fn from(spec: &FindLrSpec) -> Self {
        Self { training: Some((&spec.from).into()), test: Some(spec.test.into()) }
    }
}

fn checkpoint_ref(name: v1::CheckpointName) -> Result<CheckpointRef, BadField> {
    let job = Uuid::try_parse(&name.job_id)
        .map_err(|_| BadField::new("checkpoint", format!("{:?} is not the id of a job", name.job_id)))?;
    Ok(CheckpointRef { job, epochs: (name.epochs > 0).then_some(name.epochs) })
}

fn found_rate(rate: v1::FoundRate) -> Result<FoundRate, BadField> {
    let method = word("rate.method", &rate.method, Method::Valley, Method::ALL)?;
    let end = word("rate.as", &rate.r#as, RateEnd::Highest, RateEnd::ALL)?;
    Ok(FoundRate { job: rate.job, method, end })
}

impl TryFrom<v1::TrainRecipe> for Recipe {
    type Error = BadField;

    fn try_from(recipe: v1::TrainRecipe) -> Result<Self, BadField> {
        read_recipe(recipe, false)
    }
}

/// `goes_on`: whether a model of ours is what it starts from, so that there are weights though it names none.
fn read_recipe(recipe: v1::TrainRecipe, goes_on: bool) -> Result<Recipe, BadField> {
    let default = Recipe::default();
    let from_weights = goes_on || recipe.pretrained.is_some();
    let augmentation = read_augmentation(recipe.augment.unwrap_or(true), recipe.augmentation);
    Ok(Recipe {
        architecture: word("recipe.architecture", &recipe.architecture, default.architecture, Architecture::ALL)?,
        numerics: word("recipe.numerics", &recipe.numerics, default.numerics, Numerics::ALL)?,
        stages: read_stages(&recipe, from_weights)?,
        image_size: or_default(recipe.image_size, default.image_size),
        batch_size: or_default(recipe.batch_size, default.batch_size),
        micro_batch: (recipe.micro_batch > 0).then_some(recipe.micro_batch),
        weight_decay: recipe.weight_decay.unwrap_or(default.weight_decay),
        momentum: recipe.momentum.unwrap_or_default().into(),
        dropout: recipe.dropout.unwrap_or(default.dropout),
        label_smoothing: recipe.label_smoothing,
        augmentation,
        mix: recipe.mix.map(|mix| match mix {
            v1::train_recipe::Mix::MixUp(alpha) => Mix::MixUp { alpha },
            v1::train_recipe::Mix::CutMix(alpha) => Mix::CutMix { alpha },
        }),
        balance: word("recipe.balance", &recipe.balance, default.balance, Balance::ALL)?,
        weight_average: (recipe.weight_average != 0.0).then_some(recipe.weight_average),
        seed: recipe.seed.unwrap_or(default.seed),
        pretrained: recipe
            .pretrained
            .map(|weights| PretrainedWeights { location: weights.location, sha256: weights.sha256 }),
        keep_head: recipe.keep_head,
        stop_early: recipe.stop_early.unwrap_or(default.stop_early),
        deterministic: recipe.deterministic,
    })
}

fn read_stages(recipe: &v1::TrainRecipe, from_weights: bool) -> Result<Vec<Stage>, BadField> {
    let v1::TrainRecipe { epochs, frozen_epochs, max_learning_rate, ref stages, .. } = *recipe;
    if stages.is_empty() {
        let default = Short::default();
        let max_learning_rate = or_default(max_learning_rate, default.max_learning_rate);
        let short = Short { epochs: or_default(epochs, default.epochs), frozen_epochs, max_learning_rate };
        return Ok(short.stages(from_weights));
    }
    if epochs > 0 || frozen_epochs > 0 || max_learning_rate != 0.0 {
        let reason = "say it all: leave out epochs, frozen_epochs and max_learning_rate";
        return Err(BadField::new("recipe.stages", reason));
    }
    stages.iter().enumerate().map(|(index, stage)| read_stage(index, stage)).collect()
}

fn read_stage(index: usize, stage: &v1::Stage) -> Result<Stage, BadField> {
    let rate = match (&stage.rates[..], stage.slice) {
        (&[rate], false) => Rate::Flat(rate),
        (&[rate], true) => Rate::SliceTo(rate),
        (&[low, high], false) => Rate::Slice(low, high),
        (&[early, late, head], false) => Rate::Groups([early, late, head]),
        (rates, slice) => {
            let reason =
                format!("has {} rates{}; one, two or three say it", rates.len(), if slice { " and slice" } else { "" });
            return Err(BadField::new(format!("recipe.stages[{index}]"), reason));
        }
    };
    Ok(Stage {
        epochs: stage.epochs,
        rate,
        frozen: stage.frozen,
        warm_up_share: stage.warm_up_share,
        start_divisor: stage.start_divisor,
        final_divisor: stage.final_divisor,
        image_size: stage.image_size,
    })
}

fn read_augmentation(augment: bool, given: Option<v1::Augmentation>) -> Augmentation {
    if !augment {
        return Augmentation::none();
    }
    let (given, default) = (given.unwrap_or_default(), Augmentation::default());
    Augmentation {
        do_flip: given.do_flip.unwrap_or(default.do_flip),
        flip_vert: given.flip_vert.unwrap_or(default.flip_vert),
        max_rotate: given.max_rotate.unwrap_or(default.max_rotate),
        max_zoom: given.max_zoom.unwrap_or(default.max_zoom),
        max_lighting: given.max_lighting.unwrap_or(default.max_lighting),
        max_warp: given.max_warp.unwrap_or(default.max_warp),
        p_affine: given.p_affine.unwrap_or(default.p_affine),
        p_lighting: given.p_lighting.unwrap_or(default.p_lighting),
        min_scale: given.min_scale.unwrap_or(default.min_scale),
        max_ratio: given.max_ratio.unwrap_or(default.max_ratio),
    }
}

/// A word of a list; empty is the default.
fn word<T: std::str::FromStr + std::fmt::Display>(
    field: &str,
    word: &str,
    default: T,
    known: &[T],
) -> Result<T, BadField> {
    if word.is_empty() {
        return Ok(default);
    }
    word.parse().map_err(|_| {
        let known: Vec<String> = known.iter().map(ToString::to_string).collect();
        BadField::new(field, format!("{word:?} is not known; known are {}", known.join(", ")))
    })
}

impl From<&Recipe> for v1::TrainRecipe {
    /// With every default filled in and the stages in full.
    fn from(recipe: &Recipe) -> Self {
        Self {
            architecture: recipe.architecture.to_string(),
            numerics: recipe.numerics.to_string(),
            stages: recipe.stages.iter().map(v1::Stage::from).collect(),
            batch_size: recipe.batch_size,
            micro_batch: recipe.micro_batch.unwrap_or_default(),
            image_size: recipe.image_size,
            weight_decay: Some(recipe.weight_decay),
            momentum: Some(recipe.momentum.into()),
            augment: Some(true),
            seed: Some(recipe.seed),
            pretrained: recipe.pretrained.as_ref().map(|weights| v1::PretrainedWeights {
                location: weights.location.clone(),
                sha256: weights.sha256.clone(),
            }),
            dropout: Some(recipe.dropout),
            label_smoothing: recipe.label_smoothing,
            augmentation: Some((&recipe.augmentation).into()),
            mix: recipe.mix.map(|mix| match mix {
                Mix::MixUp { alpha } => v1::train_recipe::Mix::MixUp(alpha),
                Mix::CutMix { alpha } => v1::train_recipe::Mix::CutMix(alpha),
            }),
            balance: recipe.balance.to_string(),
            weight_average: recipe.weight_average.unwrap_or_default(),
            keep_head: recipe.keep_head,
            stop_early: Some(recipe.stop_early),
            deterministic: recipe.deterministic,
            ..Self::default()
        }
    }
}

impl From<v1::Momentum> for Momentum {
    fn from(momentum: v1::Momentum) -> Self {
        let default = Self::default();
        Self { high: momentum.high.unwrap_or(default.high), low: momentum.low.unwrap_or(default.low) }
    }
}

impl From<Momentum> for v1::Momentum {
    fn from(momentum: Momentum) -> Self {
        Self { high: Some(momentum.high), low: Some(momentum.low) }
    }
}

impl From<&Augmentation> for v1::Augmentation {
    fn from(augmentation: &Augmentation) -> Self {
        Self {
            do_flip: Some(augmentation.do_flip),
            flip_vert: Some(augmentation.flip_vert),
            max_rotate: Some(augmentation.max_rotate),
            max_zoom: Some(augmentation.max_zoom),
            max_lighting: Some(augmentation.max_lighting),
            max_warp: Some(augmentation.max_warp),
            p_affine: Some(augmentation.p_affine),
            p_lighting: Some(augmentation.p_lighting),
            min_scale: Some(augmentation.min_scale),
            max_ratio: Some(augmentation.max_ratio),
        }
    }
}

impl From<&Stage> for v1::Stage {
    fn from(stage: &Stage) -> Self {
        let rates = match stage.rate {
            Rate::Flat(rate) | Rate::SliceTo(rate) => vec![rate],
            Rate::Slice(low, high) => vec![low, high],
            Rate::Groups(rates) => rates.to_vec(),
        };
        Self {
            epochs: stage.epochs,
            rates,
            slice: matches!(stage.rate, Rate::SliceTo(_)),
            frozen: stage.frozen,
            warm_up_share: stage.warm_up_share,
            start_divisor: stage.start_divisor,
            final_divisor: stage.final_divisor,
            image_size: stage.image_size,
        }
    }
}

impl From<CheckpointInfo> for v1::Checkpoint {
    fn from(checkpoint: CheckpointInfo) -> Self {
        let CheckpointInfo { attempt, epoch, step, key, sha256, bytes, error_rate } = checkpoint;
        Self { attempt, epoch, key, sha256, bytes, step, error_rate }
    }
}

impl From<v1::Checkpoint> for CheckpointInfo {
    fn from(checkpoint: v1::Checkpoint) -> Self {
        let v1::Checkpoint { attempt, epoch, key, sha256, bytes, step, error_rate } = checkpoint;
        Self { attempt, epoch, step, key, sha256, bytes, error_rate }
    }
}

impl From<v1::KeepCheckpoints> for KeepCheckpoints {
    fn from(keep: v1::KeepCheckpoints) -> Self {
        let default = Self::default();
        Self {
            last: or_default(keep.last, default.last),
            best: keep.best.unwrap_or(default.best),
            every: (keep.every > 0).then_some(keep.every),
        }
    }
}

impl From<KeepCheckpoints> for v1::KeepCheckpoints {
    fn from(keep: KeepCheckpoints) -> Self {
        Self { last: keep.last, best: Some(keep.best), every: keep.every.unwrap_or_default() }
    }
}

impl From<v1::RateTest> for RateTest {
    fn from(test: v1::RateTest) -> Self {
        let default = Self::default();
        Self {
            start: or_default(test.start, default.start),
            end: or_default(test.end, default.end),
            steps: or_default(test.steps, default.steps),
            stop_when_diverging: test.stop_when_diverging.unwrap_or(default.stop_when_diverging),
        }
    }
}

impl From<RateTest> for v1::RateTest {
    fn from(test: RateTest) -> Self {
        let RateTest { start, end, steps, stop_when_diverging } = test;
        Self { start, end, steps, stop_when_diverging: Some(stop_when_diverging) }
    }
}

impl From<v1::SgdLabSpec> for SgdLab {
    fn from(spec: v1::SgdLabSpec) -> Self {
        let default = Self::default();
        Self {
            points: or_default(spec.points, default.points),
            coefficients: [
                spec.slope.unwrap_or(default.coefficients[0]),
                spec.intercept.unwrap_or(default.coefficients[1]),
            ],
            noise: match spec.noise {
                None => default.noise,
                Some(v1::sgd_lab_spec::Noise::UniformNoise(width)) => Noise::Uniform(width),
                Some(v1::sgd_lab_spec::Noise::NormalNoise(deviation)) => Noise::Normal(deviation),
            },
            learning_rate: spec.learning_rate.unwrap_or(default.learning_rate),
            batch_size: (spec.batch_size > 0).then_some(spec.batch_size),
            steps: or_default(spec.steps, default.steps),
            seed: spec.seed.unwrap_or(default.seed),
        }
    }
}

impl From<&SgdLab> for v1::SgdLabSpec {
    fn from(lab: &SgdLab) -> Self {
        Self {
            points: lab.points,
            slope: Some(lab.coefficients[0]),
            intercept: Some(lab.coefficients[1]),
            noise: Some(match lab.noise {
                Noise::Uniform(width) => v1::sgd_lab_spec::Noise::UniformNoise(width),
                Noise::Normal(deviation) => v1::sgd_lab_spec::Noise::NormalNoise(deviation),
            }),
            learning_rate: Some(lab.learning_rate),
            batch_size: lab.batch_size.unwrap_or_default(),
            steps: lab.steps,
            seed: Some(lab.seed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_survives_the_wire() {
        let recipe = Recipe {
            architecture: Architecture::ResNet50,
            numerics: Numerics::FastaiV2,
            stages: vec![
                Stage::one_cycle(1, Rate::SliceTo(2e-3)).frozen(),
                Stage {
                    warm_up_share: Some(0.3),
                    image_size: Some(128),
                    ..Stage::one_cycle(2, Rate::Slice(1e-5, 1e-3))
                },
                Stage::one_cycle(3, Rate::Groups([1e-5, 1e-4, 1e-3])),
                Stage { final_divisor: Some(1e4), ..Stage::one_cycle(4, Rate::Flat(1e-3)) },
            ],
            weight_decay: 0.0,
            momentum: Momentum { high: 0.5, low: 0.0 },
            dropout: 0.0,
            label_smoothing: 0.1,
            augmentation: Augmentation { max_rotate: 5.0, ..Augmentation::default() },
            mix: Some(Mix::CutMix { alpha: 1.0 }),
            balance: Balance::Oversample,
            weight_average: Some(0.99),
            seed: 0,
            pretrained: Some(PretrainedWeights { location: "/weights".into(), sha256: "00".into() }),
            keep_head: true,
            stop_early: false,
            deterministic: true,
            ..Recipe::default()
        };
        assert_eq!(Recipe::try_from(v1::TrainRecipe::from(&recipe)), Ok(recipe));
        let bare = Recipe { augmentation: Augmentation::none(), ..Recipe::default() };
        assert_eq!(Recipe::try_from(v1::TrainRecipe::from(&bare)), Ok(bare));
    }

    #[test]
    fn momentum_of_which_nothing_is_said_is_the_default() {
        let read = |momentum| Recipe::try_from(v1::TrainRecipe { momentum, ..Default::default() }).unwrap().momentum;
        assert_eq!(read(None), Momentum::default());
        let high = Some(v1::Momentum { high: Some(0.9), low: None });
        assert_eq!(read(high), Momentum { high: 0.9, ..Momentum::default() });
    }

    #[test]
    fn the_stages_of_fine_tune_survive_the_wire() {
        let recipe = Recipe { stages: Recipe::fine_tune_stages(3, 2e-3), ..Recipe::default() };
        let model = Some(ModelRef::FromJob("head".into()));
        let train = TrainSpec::once(Learning { snapshot: SnapshotRef::FromJob("snapshot".into()), recipe, model });
        assert_eq!(TrainSpec::try_from(v1::TrainSpec::from(&train)), Ok(train));
    }

    #[test]
    fn few_numbers_mean_stages() {
        let recipe = v1::TrainRecipe { epochs: 2, max_learning_rate: 1e-3, augment: Some(false), ..Default::default() };
        let read = Recipe::try_from(recipe).unwrap();
        assert_eq!(read.stages, [Stage::one_cycle(2, Rate::Flat(1e-3))]);
        assert!(read.augmentation.is_none());
    }

    #[test]
    fn what_contradicts_itself_or_is_unknown_is_named() {
        let stage = |rates: &[f64], slice| v1::Stage { epochs: 1, rates: rates.to_vec(), slice, ..Default::default() };
        let of_stage = |stage| v1::TrainRecipe { stages: vec![stage], ..Default::default() };
        let cases = [
            (v1::TrainRecipe { architecture: "vgg".into(), ..Default::default() }, "resnet18, resnet34, resnet50"),
            (v1::TrainRecipe { numerics: "fastai-v3".into(), ..Default::default() }, "fastai-v1, fastai-v2"),
            (v1::TrainRecipe { balance: "fair".into(), ..Default::default() }, "none, class_weights, oversample"),
            (v1::TrainRecipe { epochs: 3, ..of_stage(stage(&[1e-3], false)) }, "leave out epochs"),
            (of_stage(stage(&[], false)), "recipe.stages[0]: has 0 rates"),
            (of_stage(stage(&[1e-5, 1e-3], true)), "has 2 rates and slice"),
        ];
        for (recipe, said) in cases {
            let message = Recipe::try_from(recipe).unwrap_err().to_string();
            assert!(message.contains(said), "{said}: {message}");
        }
    }

    #[test]
    fn jobs_survive_the_wire() {
        let short = Short { epochs: 3, frozen_epochs: 2, max_learning_rate: 2e-3 };
        let recipe = Recipe { stages: short.stages(true), ..Recipe::default() };
        let from = Learning {
            snapshot: SnapshotRef::FromJob("snapshot".into()),
            recipe,
            model: Some(ModelRef::FromJob("head".into())),
        };
        let rate = Some(FoundRate { job: "rate".into(), method: Method::Steepest, end: RateEnd::Lowest });
        let checkpoint = Some(CheckpointRef { job: Uuid::from_u128(7), epochs: Some(3) });
        let keep_checkpoints = KeepCheckpoints { last: 1, best: false, every: Some(5) };
        let train = TrainSpec {
            rate,
            seeds: 3,
            train_percents: vec![25, 100],
            checkpoint,
            keep_checkpoints,
            ..TrainSpec::once(from.clone())
        };
        let wire = v1::TrainSpec::from(&train);
        assert_eq!(wire.recipe.as_ref().map(|recipe| (recipe.epochs, recipe.stages.len())), Some((3, 0)));
        assert_eq!(TrainSpec::try_from(wire.clone()), Ok(train));
        let find_lr = FindLrSpec { from, test: RateTest { steps: 20, ..RateTest::default() } };
        assert_eq!(FindLrSpec::try_from(v1::FindLrSpec::from(&find_lr)), Ok(find_lr));
        let refused = v1::FindLrSpec { training: Some(wire), test: None };
        assert!(FindLrSpec::try_from(refused).unwrap_err().to_string().contains("leave out rate"));
    }

    #[test]
    fn an_empty_name_takes_a_rate_or_a_checkpoint_away_and_a_wrong_one_is_refused() {
        let snapshot = Some(v1::train_spec::Snapshot::SnapshotFromJob("snapshot".into()));
        let named = |job: &str| v1::TrainSpec {
            snapshot: snapshot.clone(),
            rate: Some(v1::FoundRate { job: job.into(), ..v1::FoundRate::default() }),
            checkpoint: Some(v1::CheckpointName { job_id: job.into(), epochs: 2 }),
            ..v1::TrainSpec::default()
        };
        let spec = TrainSpec::try_from(named("")).unwrap();
        assert_eq!((spec.rate, spec.checkpoint), (None, None));
        let refusal = TrainSpec::try_from(named("train")).unwrap_err().to_string();
        assert!(refusal.contains("checkpoint") && refusal.contains("is not the id of a job"), "{refusal}");
    }

    #[test]
    fn experiments_survive_the_wire() {
        let lab =
            SgdLab { batch_size: Some(5), noise: Noise::Normal(0.3), coefficients: [0.0, -1.0], ..SgdLab::default() };
        assert_eq!(SgdLab::from(v1::SgdLabSpec::from(&lab)), lab);
        assert_eq!(SgdLab::from(v1::SgdLabSpec::default()), SgdLab::default());
        let test = RateTest { steps: 20, stop_when_diverging: false, ..RateTest::default() };
        assert_eq!(RateTest::from(v1::RateTest::from(test)), test);
    }
}
