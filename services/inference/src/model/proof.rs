//! A model is believed only after it has reproduced its golden examples, through the very code that will serve it.

use ursa_storage::package::GoldenExamples;
use ursa_vision::{Limits, Preprocessing};

/// A difference that was found.
#[derive(Debug, Clone, PartialEq)]
struct Difference {
    example: usize,
    class: usize,
    expected: f32,
    found: f32,
}

impl Difference {
    /// Its size; what is not a number differs without limit.
    fn size(&self) -> f32 {
        let size = (self.found - self.expected).abs();
        if size.is_nan() { f32::INFINITY } else { size }
    }
}

/// Decodes the golden pictures.
pub(super) fn prepare(golden: &GoldenExamples, preprocessing: &Preprocessing) -> Result<Vec<Vec<u8>>, String> {
    if golden.images.is_empty() {
        return Err("the package has no golden examples: nothing proves that the model works".into());
    }
    let prepare = |(index, image): (usize, &Vec<u8>)| {
        preprocessing
            .prepare(image, &Limits::default())
            .map_err(|refusal| format!("golden example {index} was refused: {refusal}"))
    };
    golden.images.iter().enumerate().map(prepare).collect()
}

/// Compares what the model gave with what it gave when it was trained.
pub(super) fn compare(
    golden: &GoldenExamples,
    found: &[Vec<f32>],
    classes: &[String],
    tolerance: f32,
) -> Result<(), String> {
    if golden.logits.len() != found.len() || golden.logits.iter().any(|row| row.len() != classes.len()) {
        return Err("the golden logits do not have one row per picture and one column per class".into());
    }
    match largest(&golden.logits, found) {
        Some(difference) if difference.size() > tolerance => {
            let Difference { example, class, expected, found } = difference.clone();
            Err(format!(
                "the model does not reproduce its golden examples: the largest difference is {} (example {example}, class \
                 {}: {found} instead of {expected}), the tolerance is {tolerance}",
                difference.size(),
                classes[class],
            ))
        }
        _ => Ok(()),
    }
}

fn largest(expected: &[Vec<f32>], found: &[Vec<f32>]) -> Option<Difference> {
    expected
        .iter()
        .zip(found)
        .enumerate()
        .flat_map(|(example, (expected, found))| {
            let pairs = expected.iter().zip(found).enumerate();
            pairs.map(move |(class, (&expected, &found))| Difference { example, class, expected, found })
        })
        .max_by(|a, b| a.size().total_cmp(&b.size()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expected: &[[f32; 2]], found: &[[f32; 2]]) -> Result<(), String> {
        let rows = |rows: &[[f32; 2]]| rows.iter().map(|row| row.to_vec()).collect::<Vec<_>>();
        let golden = GoldenExamples { images: vec![Vec::new(); expected.len()], logits: rows(expected) };
        compare(&golden, &rows(found), &["black".into(), "grizzly".into()], 1e-3)
    }

    #[test]
    fn differences_within_the_tolerance_are_accepted() {
        assert_eq!(check(&[[1.0, 2.0]], &[[1.0005, 1.9995]]), Ok(()));
    }

    #[test]
    fn the_largest_difference_is_named() {
        let message = check(&[[1.0, 2.0], [3.0, 4.0]], &[[1.1, 2.0], [3.0, 4.5]]).unwrap_err();
        assert!(message.contains("0.5 (example 1, class grizzly: 4.5 instead of 4)"), "{message}");
    }

    #[test]
    fn what_is_not_a_number_is_a_difference() {
        assert!(check(&[[1.0, 2.0]], &[[f32::NAN, 2.0]]).is_err());
        assert!(check(&[[f32::NAN, 2.0]], &[[1.0, 2.0]]).is_err());
    }

    #[test]
    fn rows_must_fit_the_pictures_and_the_classes() {
        assert!(check(&[[1.0, 2.0]], &[]).is_err());
        let golden = GoldenExamples { images: vec![Vec::new()], logits: vec![vec![1.0]] };
        assert!(compare(&golden, &[vec![1.0]], &["black".into(), "grizzly".into()], 1e-3).is_err());
    }

    #[test]
    fn a_package_without_examples_is_refused() {
        let golden = GoldenExamples { images: vec![], logits: vec![] };
        assert!(prepare(&golden, &Preprocessing::imagenet(32)).unwrap_err().contains("no golden examples"));
    }
}
