//! How a model does on a snapshot: the output of an `evaluate` job.

use ursa_domain::evaluation::ClassErrors;
use ursa_domain::proportion::Proportion;

use super::{list, parse, text};

/// What a model made of every picture of a snapshot.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Evaluated {
    /// The model; missing until the job has ended.
    pub model_digest: Option<String>,
    /// The snapshot.
    pub snapshot_digest: String,
    /// Its dataset.
    pub dataset: String,
    /// Its number; 0 while unknown.
    pub number: u64,
    /// Mean cross-entropy with the labels, in nats.
    pub loss: Option<f64>,
    /// Of each class of the model, in the order of its outputs.
    pub classes: Vec<ClassErrors>,
}

impl Evaluated {
    /// Reads the output of an `evaluate` job.
    pub fn read(output_json: &str) -> Self {
        let output = parse(output_json);
        let class = |value: &serde_json::Value| {
            let class: ClassErrors = serde_json::from_value(value.clone()).ok()?;
            (class.wrong <= class.of).then_some(class)
        };
        Self {
            model_digest: output["model_digest"].as_str().map(str::to_owned),
            snapshot_digest: text(&output["snapshot_digest"]),
            dataset: text(&output["dataset"]),
            number: output["number"].as_u64().unwrap_or_default(),
            loss: output["loss"].as_f64(),
            classes: list(&output["classes"], class),
        }
    }

    /// Wrong of all pictures.
    pub fn errors(&self) -> Proportion {
        let parts = self.classes.iter().map(ClassErrors::share);
        // A sum that no counts of pictures have is none: what was read may be anybody's.
        parts.fold(Proportion::default(), |sum, part| Proportion {
            count: sum.count.saturating_add(part.count),
            of: sum.of.saturating_add(part.of),
        })
    }

    /// `bears@4`.
    pub fn snapshot(&self) -> String {
        format!("{}@{}", self.dataset, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_evaluation_is_read_and_broken_rows_left_out() {
        let json = r#"{"model_digest": "9f2c", "snapshot_digest": "abcd", "dataset": "bears", "number": 4, "loss": 0.25,
            "classes": [{"class": "black", "wrong": 1, "of": 5}, {"class": "teddy", "wrong": 9, "of": 3}, {"class": 7}, 3,
                {"class": "panda", "wrong": 0, "of": 0}, {"class": "grizzly", "wrong": 2, "of": 7}]}"#;
        let found = Evaluated::read(json);
        assert_eq!((found.snapshot().as_str(), found.loss), ("bears@4", Some(0.25)));
        let names: Vec<_> = found.classes.iter().map(|class| class.class.as_str()).collect();
        assert_eq!(names, ["black", "panda", "grizzly"]);
        assert_eq!(found.errors(), Proportion { count: 3, of: 12 });
    }
}
