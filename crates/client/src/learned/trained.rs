//! How the runs of a train job went, and what is wrong with them.

use serde_json::Value;
use ursa_domain::proportion::interval;
use ursa_domain::recipe::Recipe;

use super::{list, parse, text};

/// The output of a train job.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trained {
    /// The job's model: that of the best run.
    pub model_digest: Option<String>,
    /// Its error rate on the validation side after each epoch, as a fraction.
    pub error_rates: Vec<f64>,
    /// What is wrong with that run, the most urgent first.
    pub findings: Vec<Finding>,
    /// Every run, by share of the data and seed.
    pub runs: Vec<Run>,
    /// What the seeds make of each share of the data.
    pub spread: Vec<Spread>,
}

/// One thing that is wrong with a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Finding {
    /// What: a word such as `too_few_epochs`.
    pub problem: String,
    /// What was seen, with its numbers.
    pub seen: String,
    /// Why it matters.
    pub why: String,
    /// What to do.
    pub advice: String,
    /// The recipe to try next, where a changed one helps.
    pub recipe: Option<Recipe>,
    /// Epochs after which the network was last good, where going back helps.
    pub good_epochs: Option<u32>,
}

/// One run.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// How much of the training side it learned from.
    pub train_percent: u64,
    /// What its chance was seeded with.
    pub seed: u64,
    /// Its model.
    pub model_digest: String,
    /// On the validation side, as a fraction.
    pub error_rate: f64,
    /// Pictures of the validation side taken for another class, and how many there are, where that is known.
    pub wrong: Option<(u64, u64)>,
    /// Pictures learned from; 0 while unknown.
    pub trained: u64,
}

/// Runs that differ in nothing but their seeds. Rates are fractions.
#[derive(Debug, Clone, PartialEq)]
pub struct Spread {
    /// How much of the training side they learned from.
    pub train_percent: u64,
    /// How many.
    pub runs: u64,
    /// Their error rates' mean.
    pub mean: f64,
    /// Their standard deviation; none of one.
    pub deviation: Option<f64>,
    /// The best.
    pub lowest: Option<f64>,
    /// The worst.
    pub highest: Option<f64>,
}

impl Trained {
    /// Reads the output of a train job.
    pub fn read(output_json: &str) -> Self {
        let output = parse(output_json);
        Self {
            model_digest: output["model_digest"].as_str().map(str::to_owned),
            error_rates: list(&output["error_rates"], Value::as_f64),
            findings: list(&output["findings"], finding),
            runs: list(&output["runs"], run),
            spread: list(&output["spread"], spread),
        }
    }

    /// The run whose model is the job's.
    pub fn best(&self) -> Option<&Run> {
        self.runs.iter().find(|run| self.model_digest.as_ref() == Some(&run.model_digest))
    }

    /// The error rate of the job's model, as a fraction.
    pub fn error_rate(&self) -> Option<f64> {
        self.best().map(|run| run.error_rate).or(self.error_rates.last().copied())
    }

    /// Runs that learned from this share of the data.
    pub fn runs_with(&self, train_percent: u64) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(move |run| run.train_percent == train_percent)
    }

    /// The 95 % interval of the mean error rate at a share, where it is known of how many pictures.
    pub fn interval_of(&self, spread: &Spread) -> Option<(f64, f64)> {
        let validated = self.runs_with(spread.train_percent).filter_map(|run| run.wrong).map(|(_, of)| of).max()?;
        Some(interval(spread.mean, validated))
    }
}

impl Finding {
    /// The problem in words.
    pub fn title(&self) -> &str {
        match self.problem.as_str() {
            "rate_too_high" => "The learning rate is too high",
            "rate_too_low" => "The learning rate is too low",
            "too_few_epochs" => "Too few epochs",
            "overfitting" => "Overfitting",
            "too_little_data" => "Too little data",
            "unbalanced_classes" => "Unbalanced classes",
            "memory_ran_out" => "Memory ran out",
            "" => "A problem",
            other => other,
        }
    }

    /// Whether it is the learning rate that is wrong.
    pub fn is_about_the_rate(&self) -> bool {
        self.problem.starts_with("rate_")
    }

    /// Whether it is the data: nothing but more of it would help.
    pub fn is_about_the_data(&self) -> bool {
        self.problem == "too_little_data"
    }
}

impl Run {
    /// The 95 % interval of its error rate.
    pub fn interval(&self) -> Option<(f64, f64)> {
        self.wrong.map(|(_, of)| interval(self.error_rate, of))
    }
}

fn finding(value: &Value) -> Option<Finding> {
    let said = |name: &str| text(value.get(name).unwrap_or(&Value::Null));
    let recipe = value.get("recipe").and_then(|recipe| serde_json::from_value::<Recipe>(recipe.clone()).ok());
    let finding = Finding {
        problem: said("problem"),
        seen: said("seen"),
        why: said("why"),
        advice: said("advice"),
        recipe: recipe.filter(|recipe| recipe.check().is_ok()),
        good_epochs: value.get("good_epochs").and_then(Value::as_u64).map(|epochs| epochs as u32),
    };
    (finding != Finding::default()).then_some(finding)
}

fn run(value: &Value) -> Option<Run> {
    let number = |name: &str| value.get(name).and_then(Value::as_u64);
    let wrong = number("errors").zip(number("validated")).filter(|(_, of)| *of > 0);
    Some(Run {
        train_percent: number("train_percent").unwrap_or(100),
        seed: number("seed")?,
        model_digest: text(&value["model_digest"]),
        error_rate: value["error_rate"].as_f64()?,
        wrong,
        trained: number("trained").unwrap_or_default(),
    })
}

fn spread(value: &Value) -> Option<Spread> {
    let (whole, share) = (|name: &str| value.get(name)?.as_u64(), |name: &str| value.get(name)?.as_f64());
    Some(Spread {
        train_percent: whole("train_percent")?,
        runs: whole("runs")?,
        mean: share("mean")?,
        deviation: share("deviation"),
        lowest: share("lowest"),
        highest: share("highest"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_run_is_the_one_whose_model_the_job_has() {
        let run = |percent: u64, digest: &str, rate: f64| {
            format!(
                r#"{{"train_percent":{percent},"seed":1,"model_digest":"{digest}","error_rate":{rate},"errors":3,"validated":141}}"#
            )
        };
        let json = format!(
            r#"{{"model_digest":"b","error_rates":[0.5],"runs":[{},{},{{"seed":2}},null],
                "spread":[{{"train_percent":100,"runs":1,"mean":0.02,"deviation":null}},{{"runs":"x"}}]}}"#,
            run(50, "a", 0.1),
            run(100, "b", 0.02)
        );
        let trained = Trained::read(&json);
        assert_eq!((trained.runs.len(), trained.error_rate()), (2, Some(0.02)));
        assert_eq!((trained.spread.len(), trained.spread[0].deviation), (1, None));
        let (low, high) = trained.interval_of(&trained.spread[0]).unwrap();
        assert!(low > 0.004 && high < 0.065, "{low} {high}");
        assert_eq!(trained.runs_with(50).count(), 1);
    }

    #[test]
    fn a_finding_without_a_recipe_that_can_be_followed_is_one_all_the_same() {
        let json = r#"{"findings":[{"problem":"too_few_epochs","seen":"s","recipe":{"stages":[]}},{"recipe":7},"x",
            {"problem":"overfitting","recipe":{"dropout":0.7}}]}"#;
        let findings = Trained::read(json).findings;
        assert_eq!(findings.iter().map(Finding::title).collect::<Vec<_>>(), ["Too few epochs", "Overfitting"]);
        assert!(findings[0].recipe.is_none() && findings[1].recipe.is_some());
    }
}
