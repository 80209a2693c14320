//! How a model does on a snapshot that need not be its own. Classes are the same by their name: another snapshot may have
//! them in another order.

use serde::{Deserialize, Serialize};

use crate::interpret::{Confusion, Prediction};
use crate::proportion::Proportion;

/// Classes of a snapshot that a model does not tell apart from others.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the model does not know {}: it tells apart {}; evaluate a model that was trained with every class of the snapshot",
    .unknown.join(", "),
    .known.join(", ")
)]
pub struct UnknownClasses {
    /// Those of the snapshot that are not among the model's.
    pub unknown: Vec<String>,
    /// The model's.
    pub known: Vec<String>,
}

/// The place of each of a snapshot's `classes` among those that a model knows, by name.
pub fn places(classes: &[String], known: &[String]) -> Result<Vec<u32>, UnknownClasses> {
    let place = |class: &String| known.iter().position(|other| other == class);
    let unknown: Vec<String> = classes.iter().filter(|class| place(class).is_none()).cloned().collect();
    if unknown.is_empty() {
        return Ok(classes.iter().filter_map(place).map(|place| place as u32).collect());
    }
    Err(UnknownClasses { unknown, known: known.to_vec() })
}

/// How a model does on the pictures of a snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Mean cross-entropy with the labels, in nats.
    pub loss: f64,
    /// Of each class of the model, in the order of its outputs.
    pub classes: Vec<ClassErrors>,
}

/// How many pictures of a class are taken for another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassErrors {
    /// Its name.
    pub class: String,
    /// How many are wrong,
    pub wrong: u64,
    /// of how many.
    pub of: u64,
}

impl Evaluation {
    /// Of `predictions`, each of which fits the classes: see [`Prediction::fits`].
    pub fn of(predictions: &[Prediction], classes: &[String]) -> Self {
        let loss: f64 = predictions.iter().map(|prediction| prediction.loss).sum();
        let errors = Confusion::of(predictions, classes.len()).class_errors();
        let class =
            |(class, Proportion { count: wrong, of }): (&String, _)| ClassErrors { class: class.clone(), wrong, of };
        Self { loss: loss / predictions.len().max(1) as f64, classes: classes.iter().zip(errors).map(class).collect() }
    }

    /// Wrong of all pictures.
    pub fn errors(&self) -> Proportion {
        self.classes.iter().map(ClassErrors::share).sum()
    }

    /// Classes that none of the pictures is of: how the model does on them is left open.
    pub fn unseen(&self) -> Vec<&str> {
        self.classes.iter().filter(|class| class.of == 0).map(|class| class.class.as_str()).collect()
    }
}

impl ClassErrors {
    /// Wrong of all pictures of the class.
    pub fn share(&self) -> Proportion {
        Proportion { count: self.wrong, of: self.of }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn classes_are_found_by_name_whatever_their_order() {
        let known = names(&["black", "grizzly", "teddy"]);
        assert_eq!(places(&names(&["teddy", "black"]), &known), Ok(vec![2, 0]));
        assert_eq!(places(&known, &known), Ok(vec![0, 1, 2]));
        assert_eq!(places(&[], &known), Ok(Vec::new()));
    }

    #[test]
    fn every_class_that_is_not_known_is_named_with_those_that_are() {
        let unknown = places(&names(&["teddy", "panda", "Black"]), &names(&["black", "teddy"])).unwrap_err();
        assert_eq!(unknown.unknown, ["panda", "Black"]);
        let said = unknown.to_string();
        assert!(said.contains("does not know panda, Black") && said.contains("tells apart black, teddy"), "{said}");
    }

    #[test]
    fn errors_are_counted_by_class_and_a_class_without_pictures_is_told() {
        let prediction = |actual, predicted, loss| Prediction {
            id: Uuid::nil(),
            actual,
            predicted,
            probabilities: vec![0.2, 0.5, 0.3],
            loss,
        };
        let all = [prediction(0, 1, 2.0), prediction(1, 1, 0.5), prediction(1, 1, 0.5)];
        let evaluation = Evaluation::of(&all, &names(&["black", "teddy", "panda"]));
        assert!((evaluation.loss - 1.0).abs() < 1e-12);
        let counts: Vec<_> = evaluation.classes.iter().map(|class| (class.wrong, class.of)).collect();
        assert_eq!(counts, [(1, 1), (0, 2), (0, 0)]);
        assert_eq!((evaluation.errors(), evaluation.unseen()), (Proportion { count: 1, of: 3 }, vec!["panda"]));
    }
}
