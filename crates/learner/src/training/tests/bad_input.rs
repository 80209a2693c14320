//! Everything that cannot be learned from is refused in words; what can be adjusted is, and said.

use super::*;
use crate::recorder::Measurement;

fn refused(data: Dataset, recipe: Recipe, pretrained: Option<&[u8]>) -> String {
    Training::new(identity(recipe), data, pretrained, Device::Cpu, Precision::Float32).unwrap_err().to_string()
}

fn of_labels(classes: &[&str], train: &[u32], valid: &[u32]) -> Dataset {
    let examples = |labels: &[u32], first: u128| {
        let ids = (0..labels.len() as u128).map(|index| first + index).collect();
        Examples::new(SIZE, &vec![9; labels.len() * (SIZE * SIZE * 3) as usize], labels.to_vec(), ids).unwrap()
    };
    let classes = classes.iter().map(ToString::to_string).collect();
    Dataset { classes, train: examples(train, 0), valid: examples(valid, 100) }
}

#[test]
fn data_without_a_second_class_or_a_side_of_one_are_refused() {
    assert!(refused(of_labels(&["dark"], &[0, 0], &[0]), recipe(1, 1e-3), None).contains("two classes"));
    let missing = refused(of_labels(&["dark", "bright"], &[0, 1], &[1]), recipe(1, 1e-3), None);
    assert!(missing.contains("\"dark\" has no picture on the validation side"), "{missing}");
    let size = refused(data(), Recipe { image_size: 64, ..recipe(1, 1e-3) }, None);
    assert!(size.contains("32 pixels"), "{size}");
}

#[test]
fn one_picture_per_class_and_side_is_trained_as_one_small_batch_and_said_to_be() {
    let data = of_labels(&["dark", "bright"], &[0, 1], &[0, 1]);
    let mut training = training_on(data, Recipe { batch_size: 64, ..recipe(1, 1e-3) }, None);
    let said = training.adjustments();
    assert!(said.len() == 1 && said[0].contains("from 64 to 2"), "{said:?}");
    let (batches, error) = run(&mut training);
    assert_eq!((batches.len(), error), (1, None));
    assert!(super::training(recipe(1, 1e-3)).adjustments().is_empty());
}

#[test]
fn weights_of_another_architecture_are_refused_by_tensor() {
    let recipe = Recipe { architecture: Architecture::ResNet34, pretrained: Some(some_weights()), ..recipe(1, 1e-3) };
    let error = refused(data(), recipe, Some(&pretrained_body()));
    assert!(error.contains("layer1.2.conv1.weight") && error.contains("another architecture"), "{error}");
}

#[test]
fn a_checkpoint_of_another_run_is_refused_saying_what_differs() {
    let checkpoint = training(recipe(2, 1e-3)).checkpoint().unwrap();
    let refused = |identity: RunIdentity| {
        let mut other = Training::new(identity, data(), None, Device::Cpu, Precision::Float32).unwrap();
        other.resume(&checkpoint).unwrap_err().to_string()
    };
    assert!(refused(identity(recipe(3, 1e-3))).contains("the recipe's stages differs"));
    assert!(refused(identity(Recipe { seed: 7, ..recipe(2, 1e-3) })).contains("the recipe's seed differs"));
    let other = RunIdentity { snapshot: "t".into(), ..identity(recipe(2, 1e-3)) };
    assert!(refused(other).contains("the snapshot differs"));
    let mut cut = training(recipe(2, 1e-3));
    assert!(cut.resume(&checkpoint[..checkpoint.len() / 2]).is_err());
}

#[test]
fn a_loss_that_is_no_number_is_an_error_that_says_what_to_lower() {
    let mut training = training(recipe(3, 1e30));
    let (_, error) = run(&mut training);
    let error = error.expect("the loss stayed finite");
    assert!(error.to_string().contains("lower max_learning_rate"), "{error}");
}

#[test]
fn a_checkpoint_reads_back_its_history() {
    let mut first = training(recipe(1, 1e-3));
    run(&mut first);
    let mut second = training(recipe(1, 1e-3));
    second.resume(&first.checkpoint().unwrap()).unwrap();
    assert_eq!(second.history(), first.history());
    let Measurement { loss, .. } = first.history()[0].valid;
    assert!(loss.is_finite());
}
