//! For which class of an image the evidence is looked for.

use serde::{Deserialize, Serialize};

/// The class that is explained of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Explained {
    /// That of the image's label, as fastai's `plot_top_losses` does: what speaks for the truth that the model missed.
    #[default]
    Actual,
    /// What the model takes the image for.
    Predicted,
    /// This one.
    Class(String),
}

/// A class that a model does not tell apart from others.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the model does not know {class:?}: it tells apart {}; name one of these, or have explained what it predicts",
    .known.join(", ")
)]
pub struct UnknownClass {
    /// What is none of the model's.
    pub class: String,
    /// The model's.
    pub known: Vec<String>,
}

impl Explained {
    /// The class of an image that is labelled `label`, one of those that the model knows; `None` is what the model says most,
    /// which only the model can tell.
    pub fn class<'a>(&'a self, label: &'a str, known: &[String]) -> Result<Option<&'a str>, UnknownClass> {
        let class = match self {
            Self::Predicted => return Ok(None),
            Self::Actual => label,
            Self::Class(name) => name,
        };
        place(class, known).map(|_| Some(class))
    }
}

/// The place of a class among those that a model knows.
pub fn place(class: &str, known: &[String]) -> Result<u32, UnknownClass> {
    let place = known.iter().position(|other| other == class);
    let unknown = || UnknownClass { class: class.to_owned(), known: known.to_vec() };
    place.map(|place| place as u32).ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Vec<String> {
        ["black", "teddy"].map(str::to_owned).to_vec()
    }

    #[test]
    fn the_label_is_explained_unless_something_else_is_wanted() {
        let class = |of: Explained| of.class("teddy", &known()).unwrap().map(str::to_owned);
        assert_eq!(class(Explained::default()), Some("teddy".into()));
        assert_eq!(class(Explained::Class("black".into())), Some("black".into()));
        assert_eq!(class(Explained::Predicted), None);
        assert_eq!((place("black", &known()), place("teddy", &known())), (Ok(0), Ok(1)));
    }

    #[test]
    fn a_class_that_the_model_does_not_know_is_named_with_those_that_it_does() {
        let refused = |of: &Explained, label: &str| of.class(label, &known()).unwrap_err().to_string();
        let label = refused(&Explained::Actual, "panda");
        assert!(label.contains("does not know \"panda\"") && label.contains("tells apart black, teddy"), "{label}");
        assert!(refused(&Explained::Class("Teddy".into()), "teddy").contains("\"Teddy\""));
        assert_eq!(
            Explained::Predicted.class("panda", &known()),
            Ok(None),
            "of whatever it is, the model says something"
        );
    }

    #[test]
    fn it_is_written_as_one_would_say_it() {
        let read = |json: &str| serde_json::from_str::<Explained>(json).unwrap();
        assert_eq!([read(r#""actual""#), read(r#""predicted""#)], [Explained::Actual, Explained::Predicted]);
        assert_eq!(read(r#"{"class": "teddy"}"#), Explained::Class("teddy".into()));
    }
}
