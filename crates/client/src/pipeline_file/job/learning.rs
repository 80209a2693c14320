//! The keys of the jobs that learn. Words are those of recipes in JSON.

use ursa_domain::recipe::{Mix, Recipe, Short, Stage};
use ursa_proto::v1;
use v1::train_spec::{Model, Snapshot};

use super::{JobEntry, NEEDS_MODEL, NEEDS_SNAPSHOT, set};

impl JobEntry {
    pub(super) fn apply_find_lr(mut self, find_lr: &mut v1::FindLrSpec) -> Result<(), String> {
        if let Some(test) = self.test.take() {
            find_lr.test = Some(test.into());
        }
        self.apply_training(find_lr.training.get_or_insert_default())
    }

    pub(super) fn apply_train(mut self, train: &mut v1::TrainSpec) -> Result<(), String> {
        match self.rate_from.take() {
            // Taken away.
            Some(job) if job.is_empty() => train.rate = None,
            Some(job) => train.rate = Some(v1::FoundRate { job, ..v1::FoundRate::default() }),
            None => {}
        }
        match &mut train.rate {
            Some(rate) => {
                set(&mut rate.method, self.rate_method.take());
                set(&mut rate.r#as, self.rate_as.take());
            }
            None if self.rate_method.is_some() => return Err("rate_method needs `rate_from: JOB`".into()),
            None if self.rate_as.is_some() => return Err("rate_as needs `rate_from: JOB`".into()),
            None => {}
        }
        set(&mut train.seeds, self.seeds);
        set(&mut train.train_percents, self.train_percents.take());
        if let Some(keep) = self.keep_checkpoints {
            train.keep_checkpoints = Some(keep.into());
        }
        if let Some(name) = self.checkpoint.take() {
            train.checkpoint = if name.is_empty() { None } else { Some(checkpoint_name(&name)?) };
        }
        self.apply_training(train)
    }

    pub(super) fn apply_search(mut self, search: &mut v1::SearchSpec) -> Result<(), String> {
        if let Some(space) = self.space.take() {
            search.space = space.0.iter().map(v1::SearchDimension::from).collect();
        }
        set(&mut search.trials, self.trials);
        set(&mut search.min_epochs, self.min_epochs);
        set(&mut search.reduction, self.reduction);
        self.apply_training(search.training.get_or_insert_default())
    }

    pub(super) fn apply_evaluate(self, evaluate: &mut v1::EvaluateSpec) -> Result<(), String> {
        use v1::evaluate_spec::{Model, Snapshot};
        match (self.snapshot_from, self.snapshot) {
            (None, None) => {}
            (Some(job), None) => evaluate.snapshot = Some(Snapshot::SnapshotFromJob(job)),
            (None, Some(name)) => evaluate.snapshot = Some(Snapshot::SnapshotName(snapshot_name(&name)?)),
            (Some(_), Some(_)) => return Err(NEEDS_SNAPSHOT.into()),
        }
        match (self.model_from, self.model) {
            (None, None) => {}
            (Some(job), None) => evaluate.model = Some(Model::ModelFromJob(job)),
            (None, Some(digest)) => evaluate.model = Some(Model::ModelDigest(digest)),
            (Some(_), Some(_)) => return Err(NEEDS_MODEL.into()),
        }
        Ok(())
    }

    fn apply_training(mut self, train: &mut v1::TrainSpec) -> Result<(), String> {
        match (self.snapshot_from.take(), self.snapshot.take()) {
            (None, None) => {}
            (Some(job), None) => train.snapshot = Some(Snapshot::SnapshotFromJob(job)),
            (None, Some(name)) => train.snapshot = Some(Snapshot::SnapshotName(snapshot_name(&name)?)),
            (Some(_), Some(_)) => return Err(NEEDS_SNAPSHOT.into()),
        }
        match (self.model_from.take(), self.model.take()) {
            (None, None) => {}
            (Some(job), None) => train.model = Some(Model::ModelFromJob(job)),
            (None, Some(digest)) => train.model = Some(Model::ModelDigest(digest)),
            (Some(_), Some(_)) => return Err(NEEDS_MODEL.into()),
        }
        self.apply_recipe(train.recipe.get_or_insert_default())
    }

    fn apply_recipe(self, recipe: &mut v1::TrainRecipe) -> Result<(), String> {
        let fine_tune = self.fine_tune == Some(true);
        if fine_tune && (self.frozen_epochs.is_some() || self.stages.is_some()) {
            return Err("fine_tune says what the stages are: leave out frozen_epochs and stages".into());
        }
        set(&mut recipe.architecture, self.architecture);
        set(&mut recipe.numerics, self.numerics);
        set(&mut recipe.epochs, self.epochs);
        set(&mut recipe.frozen_epochs, self.frozen_epochs);
        set(&mut recipe.max_learning_rate, self.max_learning_rate);
        if let Some(stages) = self.stages {
            // They say it all.
            (recipe.epochs, recipe.frozen_epochs, recipe.max_learning_rate) =
                (self.epochs.unwrap_or(0), self.frozen_epochs.unwrap_or(0), self.max_learning_rate.unwrap_or(0.0));
            recipe.stages = stages.iter().map(v1::Stage::from).collect();
        }
        if fine_tune {
            recipe.stages = fine_tune_stages(recipe).iter().map(v1::Stage::from).collect();
            (recipe.epochs, recipe.frozen_epochs, recipe.max_learning_rate) = (0, 0, 0.0);
        }
        set(&mut recipe.batch_size, self.batch_size);
        set(&mut recipe.micro_batch, self.micro_batch);
        set(&mut recipe.image_size, self.image_size);
        recipe.weight_decay = self.weight_decay.or(recipe.weight_decay);
        recipe.momentum = self.momentum.map(v1::Momentum::from).or(recipe.momentum);
        recipe.dropout = self.dropout.or(recipe.dropout);
        set(&mut recipe.label_smoothing, self.label_smoothing);
        recipe.augment = self.augment.or(recipe.augment);
        if let Some(augmentation) = &self.augmentation {
            recipe.augmentation = Some(augmentation.into());
        }
        if let Some(mix) = self.mix {
            recipe.mix = Some(match mix {
                Mix::MixUp { alpha } => v1::train_recipe::Mix::MixUp(alpha),
                Mix::CutMix { alpha } => v1::train_recipe::Mix::CutMix(alpha),
            });
        }
        set(&mut recipe.balance, self.balance);
        set(&mut recipe.weight_average, self.weight_average);
        recipe.seed = self.seed.or(recipe.seed);
        recipe.stop_early = self.stop_early.or(recipe.stop_early);
        set(&mut recipe.deterministic, self.deterministic);
        if let Some(weights) = self.pretrained {
            recipe.pretrained = Some(v1::PretrainedWeights { location: weights.location, sha256: weights.sha256 });
        }
        Ok(())
    }
}

/// With the epochs and the rate that `recipe` names.
fn fine_tune_stages(recipe: &v1::TrainRecipe) -> Vec<Stage> {
    let epochs = if recipe.epochs > 0 { recipe.epochs } else { Short::default().epochs };
    let given = Some(recipe.max_learning_rate).filter(|rate| *rate != 0.0);
    Recipe::fine_tune_stages(epochs, given.unwrap_or(Recipe::FINE_TUNE_RATE))
}

/// `bears@3`, or `bears` for the latest.
fn snapshot_name(text: &str) -> Result<v1::SnapshotName, String> {
    let (dataset, number) = match text.split_once('@') {
        None => (text, 0),
        Some((dataset, number)) => {
            let number = number.parse().ok().filter(|number| *number > 0);
            (dataset, number.ok_or_else(|| format!("{text:?} names no snapshot; examples: bears@3, bears"))?)
        }
    };
    Ok(v1::SnapshotName { dataset: dataset.to_owned(), number })
}

/// `JOB@3` for the checkpoint after three epochs of an earlier job, or `JOB` for its best.
fn checkpoint_name(text: &str) -> Result<v1::CheckpointName, String> {
    let (job, epochs) = match text.split_once('@') {
        None => (text, Some(0)),
        Some((job, epochs)) => (job, epochs.parse().ok().filter(|epochs| *epochs > 0)),
    };
    let (true, Some(epochs)) = (uuid::Uuid::try_parse(job).is_ok(), epochs) else {
        return Err(format!("{text:?} names no checkpoint: write the id of a train job, or JOB@EPOCHS"));
    };
    Ok(v1::CheckpointName { job_id: job.to_owned(), epochs })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use v1::job_definition::Spec;

    use super::*;

    #[test]
    fn snapshots_are_named_with_or_without_a_number() {
        assert_eq!(snapshot_name("bears@3").unwrap().number, 3);
        assert_eq!(snapshot_name("bears").unwrap().number, 0);
        assert!(snapshot_name("bears@0").is_err() && snapshot_name("bears@x").is_err());
    }

    fn spec(yaml: &str) -> Result<Spec, String> {
        let entry: JobEntry = serde_saphyr::from_str(yaml).map_err(|error| error.to_string())?;
        entry.into_definition("job", Path::new("."))?.spec.ok_or_else(|| "no specification".to_owned())
    }

    #[test]
    fn a_recipe_is_written_as_one_thinks_of_it() {
        let yaml = "
            kind: train
            snapshot: bears
            model_from: head
            rate_from: rate
            rate_method: steepest
            rate_as: lowest
            seeds: 3
            train_percents: [50, 100]
            numerics: fastai-v2
            stages:
              - {epochs: 1, rate: {slice_to: 2e-3}, frozen: true}
              - {epochs: 3, rate: {slice: [1e-5, 1e-3]}, image_size: 192}
            augmentation: {max_rotate: 5}
            momentum: {high: 0.9, low: 0.8}
            mix: {mix_up: {alpha: 0.4}}
            balance: oversample
            stop_early: false
            deterministic: true
            checkpoint: 0193a1b2-c3d4-7e5f-8a6b-123456789abc@3
            keep_checkpoints: {every: 2}
        ";
        let Spec::Train(train) = spec(yaml).unwrap() else { panic!() };
        let recipe = train.recipe.unwrap();
        assert_eq!(recipe.stages[0].rates, [2e-3]);
        assert!(recipe.stages[0].slice && recipe.stages[0].frozen);
        assert_eq!((recipe.stages[1].rates.len(), recipe.stages[1].image_size), (2, Some(192)));
        assert_eq!(recipe.augmentation.unwrap().max_rotate, Some(5.0));
        assert_eq!(recipe.momentum, Some(v1::Momentum { high: Some(0.9), low: Some(0.8) }));
        assert_eq!(recipe.mix, Some(v1::train_recipe::Mix::MixUp(0.4)));
        let rate = train.rate.unwrap();
        assert_eq!((rate.method.as_str(), rate.r#as.as_str()), ("steepest", "lowest"));
        assert_eq!((train.seeds, train.train_percents), (3, vec![50, 100]));
        let keep = train.keep_checkpoints.unwrap();
        assert_eq!((keep.last, keep.best, keep.every), (2, Some(true), 2));
        assert!(recipe.deterministic);
        assert_eq!((recipe.stop_early, train.checkpoint.unwrap().epochs), (Some(false), 3));
    }

    #[test]
    fn fine_tune_means_its_two_stages() {
        let read = |keys: &str| {
            let yaml = format!("{{kind: train, snapshot: bears, model_from: head, fine_tune: true{keys}}}");
            let Ok(Spec::Train(train)) = spec(&yaml) else { panic!("{yaml}") };
            Recipe::try_from(train.recipe.unwrap()).unwrap().stages
        };
        assert_eq!(read(""), Recipe::fine_tune_stages(4, 2e-3));
        assert_eq!(read(", epochs: 3, max_learning_rate: 1e-3"), Recipe::fine_tune_stages(3, 1e-3));
        let Spec::Train(train) = spec("{kind: train, snapshot: bears, fine_tune: false, epochs: 3}").unwrap() else {
            panic!()
        };
        let recipe = train.recipe.unwrap();
        assert_eq!((recipe.epochs, recipe.stages.len()), (3, 0));
        for key in ["frozen_epochs: 1", "stages: [{epochs: 1, rate: {flat: 1e-3}}]"] {
            let refusal = spec(&format!("{{kind: train, snapshot: bears, fine_tune: true, {key}}}")).unwrap_err();
            assert!(refusal.contains("leave out frozen_epochs and stages"), "{key}: {refusal}");
        }
    }

    #[test]
    fn fine_tune_needs_weights_to_start_from() {
        let parse = |keys: &str| {
            let jobs = "s: {kind: snapshot, dataset: d}, head: {kind: train, snapshot_from: s}";
            let yaml = format!(
                "{{pipeline: p, jobs: {{{jobs}, t: {{kind: train, snapshot_from: s, fine_tune: true{keys}}}}}}}"
            );
            crate::pipeline_file::parse(&yaml, Path::new("p.yaml"))
        };
        let refusal = parse("").unwrap_err().to_string();
        assert!(refusal.contains("fine_tune) would freeze a random body"), "{refusal}");
        parse(", model_from: head").unwrap();
    }

    #[test]
    fn checkpoints_are_named_by_their_job() {
        let job = "0193a1b2-c3d4-7e5f-8a6b-123456789abc";
        assert_eq!(checkpoint_name(job).unwrap(), v1::CheckpointName { job_id: job.into(), epochs: 0 });
        for wrong in ["train", "train@3", &format!("{job}@0"), &format!("{job}@x"), "@3"] {
            let refusal = checkpoint_name(wrong).unwrap_err();
            assert!(refusal.contains("JOB@EPOCHS"), "{wrong}: {refusal}");
        }
    }

    #[test]
    fn a_rate_is_looked_for_and_a_line_fitted() {
        let Spec::FindLr(find_lr) = spec("{kind: find_lr, snapshot_from: s, epochs: 2, test: {steps: 50}}").unwrap()
        else {
            panic!()
        };
        assert_eq!(find_lr.test.unwrap().steps, 50);
        assert_eq!(find_lr.training.unwrap().recipe.unwrap().epochs, 2);
        let Spec::SgdLab(lab) = spec("{kind: sgd_lab, coefficients: [3, 2], noise: {normal: 0.1}}").unwrap() else {
            panic!()
        };
        assert_eq!((lab.slope, lab.noise), (Some(3.0), Some(v1::sgd_lab_spec::Noise::NormalNoise(0.1))));
    }

    #[test]
    fn a_model_is_asked_about_a_snapshot() {
        use v1::evaluate_spec::{Model, Snapshot};
        let read = |yaml| match spec(yaml).unwrap() {
            Spec::Evaluate(evaluate) => (evaluate.snapshot.unwrap(), evaluate.model.unwrap()),
            other => panic!("{other:?}"),
        };
        let named = read("{kind: evaluate, snapshot: bears@4, model: 9f2c4e1a}");
        let name = v1::SnapshotName { dataset: "bears".into(), number: 4 };
        assert_eq!(named, (Snapshot::SnapshotName(name), Model::ModelDigest("9f2c4e1a".into())));
        let made = read("{kind: evaluate, snapshot_from: freeze, model_from: train}");
        assert_eq!(made, (Snapshot::SnapshotFromJob("freeze".into()), Model::ModelFromJob("train".into())));
    }

    #[test]
    fn images_are_explained_for_a_class() {
        use v1::explain_spec::{Model, Of};
        let read = |of: &str| match spec(&format!("{{kind: explain, model: 9f2c4e1a, images: [a, b]{of}}}")).unwrap() {
            Spec::Explain(explain) => {
                assert_eq!(explain.model, Some(Model::ModelDigest("9f2c4e1a".into())));
                assert_eq!(explain.image_ids, ["a", "b"]);
                explain.of
            }
            other => panic!("{other:?}"),
        };
        assert_eq!([read(""), read(", of: actual")], [None, None]);
        assert_eq!(read(", of: predicted"), Some(Of::Predicted(true)));
        assert_eq!(read(", of: {class: big bear}"), Some(Of::Class("big bear".into())));
        let missing = spec("{kind: explain, model: 9f2c4e1a}").unwrap_err();
        assert!(missing.contains("\"images\" is missing"), "{missing}");
    }

    #[test]
    fn a_space_is_written_as_one_thinks_of_it() {
        let yaml = "
            kind: search
            snapshot_from: s
            epochs: 9
            trials: 8
            reduction: 2
            space:
              max_learning_rate: {log_uniform: [1e-4, 1e-2]}
              label_smoothing: {uniform: [0, 0.2]}
              batch_size: {choice: [16, 32]}
              numerics: {choice: [fastai-v1, fastai-v2]}
        ";
        let Spec::Search(search) = spec(yaml).unwrap() else { panic!() };
        assert_eq!((search.trials, search.reduction, search.min_epochs), (8, 2, 0));
        assert_eq!(search.training.unwrap().recipe.unwrap().epochs, 9);
        let names: Vec<&str> = search.space.iter().map(|one| one.hyperparameter.as_str()).collect();
        assert_eq!(names, ["max_learning_rate", "batch_size", "label_smoothing", "numerics"]);
        let rates = v1::NumberRange { low: 1e-4, high: 1e-2 };
        assert_eq!(search.space[0].range, Some(v1::search_dimension::Range::LogUniform(rates)));
    }

    #[test]
    fn misspelt_keys_are_refused_at_every_depth() {
        for (yaml, key) in [
            ("{kind: train, snapshot: bears, stages: [{epochs: 1, rate: {flat: 1e-3}, freeze: true}]}", "freeze"),
            ("{kind: train, snapshot: bears, augmentation: {cutout: 1}}", "cutout"),
            ("{kind: train, snapshot: bears, pretrained: {location: /w, sha256: x, hash: y}}", "hash"),
            ("{kind: train, snapshot: bears, momentum: {middle: 0.9}}", "middle"),
            ("{kind: train, snapshot: bears, test: {steps: 3}}", "test"),
            ("{kind: evaluate, snapshot: bears, model: 9f2c4e1a, fine_tune: true}", "fine_tune"),
            ("{kind: sgd_lab, epochs: 3}", "epochs"),
            ("{kind: explain, model: 9f2c4e1a, images: [a], snapshot: bears}", "snapshot"),
            ("{kind: evaluate, snapshot: bears, model: 9f2c4e1a, images: [a]}", "images"),
            ("{kind: evaluate, snapshot: bears, model: 9f2c4e1a, epochs: 3}", "epochs"),
            ("{kind: evaluate, snapshot: bears, model: 9f2c4e1a, side: valid}", "side"),
            ("{kind: train, snapshot: bears, trials: 3}", "trials"),
            ("{kind: search, snapshot: bears, seeds: 3}", "seeds"),
            ("{kind: search, snapshot: bears, space: {dropuot: {uniform: [0, 1]}}}", "dropuot"),
            ("{kind: search, snapshot: bears, space: {dropout: {normal: [0, 1]}}}", "normal"),
            ("{kind: train, snapshot: bears, rate_method: valley}", "rate_from"),
            ("{kind: train, snapshot: bears, rate_as: lowest}", "rate_from"),
        ] {
            let refusal = spec(yaml).unwrap_err();
            assert!(refusal.contains(key), "{yaml}: {refusal}");
        }
    }
}
