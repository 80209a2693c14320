//! What a search found: its trials, the best first.

use serde_json::Value;
use ursa_domain::JobSpec;
use ursa_domain::recipe::Recipe;
use ursa_domain::search::Trial;

use super::{Changes, list, parse};

/// The output of a search job.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Searched {
    /// After how many epochs each rung ends.
    pub rungs: Vec<u64>,
    /// The best first.
    pub trials: Vec<Trial>,
    /// The model of the best trial, once one was trained to the end.
    pub model_digest: Option<String>,
    /// The recipe of the best trial, as far as is known now.
    pub recipe: Option<Recipe>,
}

impl Searched {
    /// Reads the output of a search job.
    pub fn read(output_json: &str) -> Self {
        let output = parse(output_json);
        let recipe = serde_json::from_value::<Recipe>(output["recipe"].clone()).ok();
        Self {
            rungs: list(&output["rungs"], Value::as_u64),
            trials: list(&output["trials"], |trial| serde_json::from_value(trial.clone()).ok()),
            model_digest: output["model_digest"].as_str().map(str::to_owned),
            recipe: recipe.filter(|recipe| recipe.check().is_ok()),
        }
    }

    /// The names of what was varied.
    pub fn hyperparameters(&self) -> Vec<&'static str> {
        let first = self.trials.first();
        first.map_or_else(Vec::new, |trial| trial.settings.keys().map(|parameter| parameter.as_str()).collect())
    }

    /// How a trial stands, in a word or two; `is_active` is whether its job may still go on.
    pub fn standing(&self, trial: &Trial, is_active: bool) -> &'static str {
        match (trial.is_open(), is_active) {
            _ if trial.diverged.is_some() => "diverged",
            _ if trial.results.len() == self.rungs.len() => "finished",
            (true, true) => "open",
            (true, false) => "not finished",
            (false, true) => "may go on",
            (false, false) => "stopped",
        }
    }

    /// The train job that follows the best trial's recipe; `spec_json` is the specification of the search.
    pub fn train_job(&self, spec_json: &str) -> Option<Changes> {
        let Ok(JobSpec::Search(spec)) = serde_json::from_str(spec_json) else { return None };
        self.recipe.as_ref().map(|recipe| Changes::whole(&spec.from, recipe))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;
    use ursa_domain::recipe::{Mix, Stage};
    use ursa_domain::spec::TrainSpec;
    use ursa_proto::v1::job_definition::Spec;

    use crate::pipeline_file;

    use super::*;

    fn output() -> Value {
        let trial = |number: u64, errors: &[u64], diverged: Value| {
            json!({"number": number, "settings": {"max_learning_rate": 1e-3}, "rungs": errors.len().max(1),
                "task": "0193a1b2-c3d4-7e5f-8a6b-123456789abc", "diverged": diverged,
                "results": errors.iter().map(|errors| json!({"epochs": 1, "errors": errors, "validated": 9, "loss": 0.5}))
                    .collect::<Vec<_>>()})
        };
        json!({"rungs": [1, 3], "model_digest": "9f2c", "recipe": {"batch_size": 16},
            "trials": [trial(2, &[3, 1], json!(null)), trial(1, &[4], json!(null)), trial(3, &[], json!(null)),
                trial(4, &[], json!("inf")), 7, {"number": "x"}]})
    }

    #[test]
    fn trials_are_read_with_how_they_stand() {
        let searched = Searched::read(&output().to_string());
        assert_eq!((searched.trials.len(), searched.rungs.len()), (4, 2));
        assert_eq!(searched.hyperparameters(), ["max_learning_rate"]);
        let standing =
            |is_active| searched.trials.iter().map(|trial| searched.standing(trial, is_active)).collect::<Vec<_>>();
        assert_eq!(standing(true), ["finished", "may go on", "open", "diverged"]);
        assert_eq!(standing(false), ["finished", "stopped", "not finished", "diverged"]);
    }

    /// The search job of a pipeline file with these keys, and its specification as the coordinator tells it.
    fn search(keys: &str) -> (TrainSpec, String) {
        let yaml = format!(
            "{{pipeline: p, jobs: {{s: {{kind: snapshot, dataset: d}}, head: {{kind: train, snapshot_from: s}},
            search: {{kind: search, snapshot_from: s, space: {{dropout: {{uniform: [0, 0.5]}}}}, {keys}}}}}}}"
        );
        let spec = pipeline_file::parse(&yaml, Path::new("p.yaml")).unwrap();
        let spec = ursa_domain::pipeline::PipelineSpec::try_from(spec).unwrap().jobs.remove(2).spec;
        let JobSpec::Search(search) = &spec else { panic!("{spec:?}") };
        (TrainSpec::once(search.from.clone()), serde_json::to_string(&spec).unwrap())
    }

    #[test]
    fn the_job_that_follows_the_best_recipe_can_be_submitted_as_it_is_told() {
        let stages = "stages: [{epochs: 1, rate: {slice_to: 2e-3}}, {epochs: 2, rate: {slice: [1e-5, 1e-3]}}]";
        for keys in
            ["epochs: 9, architecture: resnet18, seed: 7", "epochs: 3, model_from: head, augment: false", stages]
        {
            let (train, spec_json) = search(keys);
            let mut recipe = Recipe { dropout: 0.25, ..train.from.recipe.clone() };
            recipe.mix = Some(Mix::MixUp { alpha: 0.4 });
            let searched = Searched { recipe: Some(recipe.clone()), ..Searched::default() };
            let yaml = searched.train_job(&spec_json).unwrap().yaml("train");
            let file = format!(
                "pipeline: p\n{yaml}  s: {{kind: snapshot, dataset: d}}\n  head: {{kind: train, snapshot_from: s}}\n"
            );
            let jobs =
                pipeline_file::parse(&file, Path::new("p.yaml")).unwrap_or_else(|error| panic!("{error}\n{file}")).jobs;
            let Some(Spec::Train(found)) = jobs[0].spec.clone() else { panic!("{jobs:?}") };
            let found = TrainSpec::try_from(found).unwrap();
            let rounded = |stages: &[Stage]| serde_json::to_string(stages).unwrap();
            assert_eq!(rounded(&found.from.recipe.stages), rounded(&recipe.stages), "{file}");
            assert_eq!(found.from.recipe, recipe, "{file}");
            assert_eq!((found.from.snapshot, found.from.model), (train.from.snapshot, train.from.model));
        }
    }
}
