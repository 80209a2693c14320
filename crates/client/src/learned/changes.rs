//! What a recipe changes of a job, in the words of pipeline files and of `ursa rerun --set`.

use serde_json::{Map, Value, json};
use ursa_domain::JobSpec;
use ursa_domain::recipe::{Recipe, Short, Stage};
use ursa_domain::spec::{Learning, ModelRef, SnapshotRef, TrainSpec};

use super::Finding;

/// Members of a recipe that are keys of a pipeline file. Besides these there are the stages, and what a run brings itself: its
/// seed, and what it goes on from.
const KEYS: [&str; 13] = [
    "architecture",
    "numerics",
    "image_size",
    "batch_size",
    "micro_batch",
    "weight_decay",
    "momentum",
    "dropout",
    "label_smoothing",
    "augmentation",
    "mix",
    "balance",
    "weight_average",
];
/// The shares of a learning curve, in percent.
const CURVE: [u32; 3] = [25, 50, 100];
/// Rates that were scaled end in a tail of digits that nobody means.
const DIGITS: usize = 6;

/// The keys of a train job that a finding changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Changes {
    /// By name, with their new values.
    keys: Vec<(&'static str, Value)>,
    /// Whether `stages` says what a few numbers said before: they have to go.
    replaces_numbers: bool,
    /// Whether the job takes its rates from another one, which would undo the change.
    against_found_rate: bool,
}

impl Changes {
    /// What `finding` would change of the job with this id and specification; `None` where that is nothing, or cannot be said.
    pub fn of(finding: &Finding, job_id: &str, spec_json: &str) -> Option<Self> {
        let Ok(JobSpec::Train(spec)) = serde_json::from_str(spec_json) else { return None };
        if finding.is_about_the_data() {
            return Self::learning_curve(&spec);
        }
        let recipe = finding.recipe.as_ref()?;
        // A rate that was found replaced the recipe's own. It will again, so it is no change.
        let keeps_rate = spec.rate.is_some() && !finding.is_about_the_rate();
        let recipe = if keeps_rate { recipe.with_rates_of(&spec.from.recipe) } else { recipe.clone() };
        let (stages, replaces_numbers) = stages(&spec, &recipe);
        let members = members(&spec.from.recipe, &recipe);
        let keys: Vec<_> = stages.into_iter().chain(members).chain(checkpoint(finding, job_id)).collect();
        let against_found_rate = spec.rate.is_some() && finding.is_about_the_rate();
        (!keys.is_empty()).then_some(Self { keys, replaces_numbers, against_found_rate })
    }

    /// Trains on shares of the data: whether more of it helps shows in what less of it does. Where that was done, it was seen.
    fn learning_curve(spec: &TrainSpec) -> Option<Self> {
        let shares = ("train_percents", json!(CURVE));
        let once = spec.train_percents.len() < 2;
        once.then(|| Self { keys: vec![shares], replaces_numbers: false, against_found_rate: false })
    }

    /// Every key of a train job that follows `recipe`, on the snapshot and from the weights of `from`.
    pub fn whole(from: &Learning, recipe: &Recipe) -> Self {
        let new = rounded(&recipe.stages);
        let stages = match short(&new, from.model.is_some() || recipe.pretrained.is_some()) {
            Some(Short { epochs, frozen_epochs, max_learning_rate }) => vec![
                ("epochs", Value::from(epochs)),
                ("frozen_epochs", frozen_epochs.into()),
                ("max_learning_rate", max_learning_rate.into()),
            ],
            None => vec![("stages", new.iter().map(told).collect())],
        };
        let pretrained = recipe
            .pretrained
            .as_ref()
            .map(|weights| ("pretrained", json!({"location": weights.location, "sha256": weights.sha256})));
        let keys = [("kind", "train".into()), snapshot_key(&from.snapshot)].into_iter();
        let keys = keys.chain(from.model.as_ref().map(model_key)).chain(pretrained).chain(stages);
        let keys = keys
            .chain(members(&Recipe::default(), recipe))
            .chain((!recipe.stop_early).then(|| ("stop_early", false.into())))
            .chain(recipe.deterministic.then(|| ("deterministic", true.into())));
        let keys = keys.chain([("seed", recipe.seed.into())]);
        Self { keys: keys.collect(), replaces_numbers: false, against_found_rate: false }
    }

    /// For the pipeline file in which the job is called `job`.
    pub fn yaml(&self, job: &str) -> String {
        let mut lines = vec!["jobs:".to_owned(), format!("  {}:", bare_or_quoted(job))];
        if self.replaces_numbers {
            lines.push("    # In place of epochs, frozen_epochs and max_learning_rate:".into());
        }
        if self.against_found_rate {
            lines.push("    # Without rate_from, which would bring the old rate back:".into());
        }
        for (key, value) in &self.keys {
            match value.as_array().filter(|_| *key == "stages") {
                Some(stages) => {
                    lines.push("    stages:".into());
                    lines.extend(stages.iter().map(|stage| format!("      - {}", flow(stage))));
                }
                None => lines.push(format!("    {key}: {}", flow(value))),
            }
        }
        lines.join("\n") + "\n"
    }

    /// The command that runs `pipeline` again with the job called `job` changed.
    pub fn command(&self, pipeline: &str, job: &str) -> String {
        let set = |(key, value): &(&str, Value)| format!(" --set {}", shell(&format!("{job}.{key}={}", flow(value))));
        // It would bring the old rate back.
        let found_rate = self.against_found_rate.then(|| ("rate_from", Value::from("")));
        let sets = found_rate.iter().chain(&self.keys).map(set).collect::<String>();
        format!("ursa rerun {}{sets}", shell(pipeline))
    }
}

/// The checkpoint to go on from, where nothing but the rate was wrong.
fn checkpoint(finding: &Finding, job_id: &str) -> Option<(&'static str, Value)> {
    let epochs = finding.good_epochs.filter(|_| finding.is_about_the_rate())?;
    Some(("checkpoint", format!("{job_id}@{epochs}").into()))
}

/// The keys that say the new stages, as few numbers where both can be said so; and whether they replace such numbers.
fn stages(spec: &TrainSpec, recipe: &Recipe) -> (Vec<(&'static str, Value)>, bool) {
    let (old, new) = (rounded(&spec.from.recipe.stages), rounded(&recipe.stages));
    if old == new {
        return (Vec::new(), false);
    }
    let from_weights = spec.from.model.is_some() || spec.from.recipe.pretrained.is_some();
    let (short_before, short_after) = (short(&old, from_weights), short(&new, from_weights));
    match (short_before, short_after) {
        (Some(before), Some(after)) => {
            let numbers = |short: Short| {
                [
                    ("epochs", Value::from(short.epochs)),
                    ("frozen_epochs", short.frozen_epochs.into()),
                    ("max_learning_rate", short.max_learning_rate.into()),
                ]
            };
            let changed = numbers(before).into_iter().zip(numbers(after)).filter(|(before, after)| before != after);
            (changed.map(|(_, after)| after).collect(), false)
        }
        (before, _) => (vec![("stages", new.iter().map(told).collect())], before.is_some()),
    }
}

/// A stage with what it says.
fn told(stage: &Stage) -> Value {
    let mut told = serde_json::to_value(stage).unwrap_or_default();
    if let Some(members) = told.as_object_mut().filter(|_| !stage.frozen) {
        members.remove("frozen");
    }
    told
}

fn snapshot_key(snapshot: &SnapshotRef) -> (&'static str, Value) {
    match snapshot {
        SnapshotRef::FromJob(job) => ("snapshot_from", job.as_str().into()),
        SnapshotRef::Numbered { dataset, number: Some(number) } => ("snapshot", format!("{dataset}@{number}").into()),
        SnapshotRef::Numbered { dataset, number: None } => ("snapshot", dataset.as_str().into()),
    }
}

fn model_key(model: &ModelRef) -> (&'static str, Value) {
    match model {
        ModelRef::FromJob(job) => ("model_from", job.as_str().into()),
        ModelRef::Digest(digest) => ("model", digest.as_str().into()),
    }
}

/// As [`Short::of`], for rates that were rounded. Few numbers cannot say that a stage has no epochs.
fn short(stages: &[Stage], from_weights: bool) -> Option<Short> {
    let (epochs, frozen_epochs) = match stages {
        [all] => (all.epochs, 0),
        [frozen, all] => (all.epochs, frozen.epochs),
        _ => return None,
    };
    let highest = stages.first()?.rate.of_groups().into_iter().fold(0.0, f64::max);
    let short = Short { epochs, frozen_epochs, max_learning_rate: tidy(highest) };
    (epochs > 0 && rounded(&short.stages(from_weights)) == stages).then_some(short)
}

fn rounded(stages: &[Stage]) -> Vec<Stage> {
    use ursa_domain::recipe::Rate::{Flat, Groups, Slice, SliceTo};
    let rounded = |stage: &Stage| {
        let rate = match stage.rate {
            Flat(rate) => Flat(tidy(rate)),
            SliceTo(rate) => SliceTo(tidy(rate)),
            Slice(low, high) => Slice(tidy(low), tidy(high)),
            Groups(rates) => Groups(rates.map(tidy)),
        };
        Stage { rate, ..stage.clone() }
    };
    stages.iter().map(rounded).collect()
}

fn tidy(number: f64) -> f64 {
    format!("{number:.*e}", DIGITS - 1).parse().unwrap_or(number)
}

/// What differs besides the stages.
fn members(old: &Recipe, new: &Recipe) -> Vec<(&'static str, Value)> {
    let (before, after) = (object(old), object(new));
    let mut keys = Vec::new();
    for key in KEYS {
        let value = after.get(key).filter(|value| !value.is_null() && before.get(key) != Some(value));
        let Some(value) = value else { continue };
        if key == "augmentation" && old.augmentation.is_none() {
            keys.push(("augment", Value::Bool(true)));
        }
        keys.push((key, value.clone()));
    }
    keys
}

fn object(recipe: &Recipe) -> Map<String, Value> {
    match serde_json::to_value(recipe) {
        Ok(Value::Object(members)) => members,
        _ => Map::new(),
    }
}

/// A value as YAML in one line, without the quotes that it does not need.
fn flow(value: &Value) -> String {
    match value {
        Value::String(word) => bare_or_quoted(word),
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(members) => {
            let member = |(key, value): (&String, &Value)| format!("{}: {}", bare_or_quoted(key), flow(value));
            format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

fn bare_or_quoted(word: &str) -> String {
    let plain = word.starts_with(|first: char| first.is_ascii_alphabetic())
        && word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    let means_else = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    if plain && !means_else.contains(&word.to_ascii_lowercase().as_str()) {
        word.to_owned()
    } else {
        Value::from(word).to_string()
    }
}

/// A word of a command line.
fn shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '=' | '+' | '/' | ':' | '@');
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use ursa_domain::recipe::{Augmentation, Balance, Momentum, Rate, RateEnd};
    use ursa_proto::v1;

    use crate::pipeline_file;

    use super::*;

    const JOB: &str = "0193a1b2-c3d4-7e5f-8a6b-123456789abc";

    /// The job of a pipeline file, as the coordinator tells of it, and its recipe.
    fn told(keys: &str) -> (String, Recipe) {
        let yaml = format!(
            "{{pipeline: p, jobs: {{s: {{kind: snapshot, dataset: d}}, r: {{kind: find_lr, snapshot_from: s}},
            head: {{kind: train, snapshot_from: s}}, train: {{kind: train, snapshot_from: s, {keys}}}}}}}"
        );
        let spec = pipeline_file::parse(&yaml, Path::new("p.yaml")).unwrap();
        let spec = ursa_domain::pipeline::PipelineSpec::try_from(spec).unwrap();
        let spec = &spec.jobs[3].spec;
        let JobSpec::Train(train) = spec else { panic!("{spec:?}") };
        (serde_json::to_string(spec).unwrap(), train.from.recipe.clone())
    }

    fn finding(problem: &str, recipe: Recipe) -> Finding {
        Finding { problem: problem.into(), recipe: Some(recipe), ..Finding::default() }
    }

    /// The words of a command as a shell reads them, where nothing but single quotes is in use.
    fn shlex(command: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        for (index, part) in command.split('\'').enumerate() {
            let mut pieces = part.split(' ').filter(|_| index % 2 == 0);
            if index % 2 == 1 {
                words.last_mut().unwrap().push_str(part);
            } else if let Some(first) = pieces.next() {
                words.last_mut().unwrap().push_str(first);
                words.extend(pieces.map(str::to_owned));
            }
        }
        words
    }

    /// The recipe after the change was made as the command makes it.
    fn applied(keys: &str, changes: &Changes) -> v1::TrainSpec {
        let yaml = format!(
            "{{pipeline: p, jobs: {{s: {{kind: snapshot, dataset: d}}, r: {{kind: find_lr, snapshot_from: s}},
            head: {{kind: train, snapshot_from: s}}, train: {{kind: train, snapshot_from: s, {keys}}}}}}}"
        );
        let mut spec = pipeline_file::parse(&yaml, Path::new("p.yaml")).unwrap();
        let command = changes.command("p", "train");
        let sets: Vec<String> = shlex(&command).into_iter().filter(|word| word.starts_with("train.")).collect();
        pipeline_file::change(&mut spec, &sets).unwrap();
        let Some(v1::job_definition::Spec::Train(train)) = spec.jobs[3].spec.clone() else { panic!("{spec:?}") };
        train
    }

    #[test]
    fn more_epochs_are_said_in_the_numbers_the_job_was_said_in() {
        let (spec, mut recipe) = told("epochs: 2");
        recipe.stages[0].epochs = 4;
        let changes = Changes::of(&finding("too_few_epochs", recipe), JOB, &spec).unwrap();
        assert_eq!(changes.command("0193", "train"), "ursa rerun 0193 --set train.epochs=4");
        assert_eq!(changes.yaml("train"), "jobs:\n  train:\n    epochs: 4\n");
        assert_eq!(applied("epochs: 2", &changes).recipe.unwrap().epochs, 4);
    }

    #[test]
    fn too_little_data_asks_for_a_learning_curve_unless_it_comes_from_one() {
        let (spec, _) = told("epochs: 2");
        let finding = Finding { problem: "too_little_data".into(), ..Finding::default() };
        let changes = Changes::of(&finding, JOB, &spec).unwrap();
        assert_eq!(applied("epochs: 2", &changes).train_percents, [25, 50, 100]);
        let (spec, _) = told("epochs: 2, train_percents: [50, 100]");
        assert_eq!(Changes::of(&finding, JOB, &spec), None);
    }

    #[test]
    fn a_scaled_rate_has_no_tail_of_digits() {
        let (spec, recipe) = told("epochs: 2, frozen_epochs: 1, model_from: head");
        let scaled = Recipe { seed: 7, ..recipe.with_rates_scaled(0.1) };
        let changes = Changes::of(&finding("rate_too_high", scaled), JOB, &spec).unwrap();
        let command = changes.command("p", "train");
        assert_eq!(command, "ursa rerun p --set train.max_learning_rate=0.0003", "of the seed nothing is said");
    }

    #[test]
    fn a_run_that_was_good_once_goes_on_from_there() {
        let (spec, recipe) = told("epochs: 2, checkpoint: \"\"");
        let lower = recipe.with_rates_scaled(0.1);
        let good = Finding { good_epochs: Some(1), ..finding("rate_too_high", lower.clone()) };
        let changes = Changes::of(&good, JOB, &spec).unwrap();
        let command = changes.command("p", "train");
        assert!(command.ends_with(&format!("--set 'train.checkpoint=\"{JOB}@1\"'")), "{command}");
        let checkpoint = applied("epochs: 2", &changes).checkpoint.unwrap();
        assert_eq!((checkpoint.job_id.as_str(), checkpoint.epochs), (JOB, 1));
        let elsewhere = Finding { good_epochs: Some(1), ..finding("overfitting", lower) };
        assert!(!Changes::of(&elsewhere, JOB, &spec).unwrap().yaml("train").contains("checkpoint"));
    }

    #[test]
    fn stages_are_told_whole_and_mean_the_same() {
        let keys =
            "stages: [{epochs: 1, rate: {slice_to: 2e-3}}, {epochs: 3, rate: {slice: [1e-5, 1e-3]}, image_size: 192}]";
        let (spec, mut recipe) = told(keys);
        recipe.stages[1].epochs = 6;
        recipe.balance = Balance::Oversample;
        let changes = Changes::of(&finding("too_few_epochs", recipe.clone()), JOB, &spec).unwrap();
        let command = changes.command("p", "train");
        assert!(
            command.contains("--set 'train.stages=[{epochs: 1, rate: {slice_to: 0.002}}, {epochs: 6, "),
            "{command}"
        );
        assert!(command.ends_with("--set train.balance=oversample"), "{command}");
        let after = Recipe::try_from(applied(keys, &changes).recipe.unwrap()).unwrap();
        assert_eq!((after.stages, after.balance), (recipe.stages, recipe.balance));
        let yaml = changes.yaml("train");
        assert!(yaml.contains("    stages:\n      - {epochs: 1, rate: {slice_to: 0.002}}\n"), "{yaml}");
    }

    #[test]
    fn stages_take_the_place_of_numbers_that_cannot_say_them() {
        let (spec, mut recipe) = told("epochs: 2");
        recipe.stages.push(Stage::one_cycle(2, Rate::Groups([1e-5, 1e-4, 1e-3])));
        let changes = Changes::of(&finding("x", recipe.clone()), JOB, &spec).unwrap();
        assert!(changes.yaml("train").contains("# In place of epochs"), "{}", changes.yaml("train"));
        let after = Recipe::try_from(applied("epochs: 2", &changes).recipe.unwrap()).unwrap();
        assert_eq!(after.stages, recipe.stages);
    }

    #[test]
    fn augmentation_is_switched_on_where_it_was_off() {
        let (spec, recipe) = told("augment: false");
        let recipe = Recipe { augmentation: Augmentation::default(), ..recipe };
        let changes = Changes::of(&finding("overfitting", recipe), JOB, &spec).unwrap();
        let after = Recipe::try_from(applied("augment: false", &changes).recipe.unwrap()).unwrap();
        assert_eq!(after.augmentation, Augmentation::default());
    }

    #[test]
    fn another_momentum_is_told_with_both_its_numbers() {
        let (spec, recipe) = told("epochs: 2");
        let recipe = Recipe { momentum: Momentum { high: 0.9, ..Momentum::default() }, ..recipe };
        let changes = Changes::of(&finding("x", recipe.clone()), JOB, &spec).unwrap();
        assert_eq!(changes.yaml("train"), "jobs:\n  train:\n    momentum: {high: 0.9, low: 0.85}\n");
        let after = Recipe::try_from(applied("epochs: 2", &changes).recipe.unwrap()).unwrap();
        assert_eq!(after.momentum, recipe.momentum);
    }

    #[test]
    fn a_rate_from_another_job_is_no_change_unless_it_is_the_problem() {
        let (spec, recipe) = told("rate_from: r, epochs: 2");
        let mut found = recipe.with_found_rate(0.000_731, RateEnd::Highest);
        found.stages[0].epochs = 4;
        let changes = Changes::of(&finding("too_few_epochs", found), JOB, &spec).unwrap();
        assert_eq!(changes.yaml("train"), "jobs:\n  train:\n    epochs: 4\n");
        let (two, stages) = told("rate_from: r, epochs: 2, frozen_epochs: 1, model_from: head");
        let mut found = stages.with_found_rate(0.000_731, RateEnd::Highest);
        found.stages[1].epochs = 4;
        let changes = Changes::of(&finding("too_few_epochs", found), JOB, &two).unwrap();
        assert_eq!(changes.yaml("train"), "jobs:\n  train:\n    epochs: 4\n");
        let (lowest, _) = told("rate_from: r, rate_as: lowest, epochs: 2");
        let mut found = recipe.with_found_rate(0.000_731, RateEnd::Lowest);
        found.stages[0].epochs = 4;
        let changes = Changes::of(&finding("too_few_epochs", found), JOB, &lowest).unwrap();
        assert_eq!(changes.yaml("train"), "jobs:\n  train:\n    epochs: 4\n");
        let lower = recipe.with_found_rate(7.31e-5, RateEnd::Highest);
        let changes = Changes::of(&finding("rate_too_high", lower), JOB, &spec).unwrap();
        assert!(changes.command("p", "train").starts_with("ursa rerun p --set 'train.rate_from=\"\"' --set "));
        assert_eq!(applied("rate_from: r, epochs: 2", &changes).rate, None);
        assert!(changes.yaml("train").contains("Without rate_from"), "{}", changes.yaml("train"));
    }

    #[test]
    fn nothing_is_said_where_nothing_changes_or_the_job_is_not_understood() {
        let (spec, recipe) = told("epochs: 2");
        assert_eq!(Changes::of(&finding("x", recipe.clone()), JOB, &spec), None);
        let longer = recipe.with_rates_scaled(2.0);
        for garbage in ["", "{}", r#"{"kind":"probe","tasks":1,"duration_ms":1,"failures":0}"#] {
            assert_eq!(Changes::of(&finding("x", longer.clone()), JOB, garbage), None, "{garbage}");
        }
        assert_eq!(Changes::of(&Finding::default(), JOB, &spec), None);
    }

    #[test]
    fn words_are_quoted_where_a_shell_or_yaml_would_read_them_otherwise() {
        assert_eq!(shell("it's"), r"'it'\''s'");
        assert_eq!((bare_or_quoted("no"), bare_or_quoted("50%")), ("\"no\"".into(), "\"50%\"".into()));
        assert_eq!(flow(&json!({"mix_up": {"alpha": 0.4}})), "{mix_up: {alpha: 0.4}}");
    }
}
