//! The lesson's "things that can go wrong" as real runs, and what is said of them; and the learning-rate finder on a real
//! network.

use std::ops::ControlFlow;

use super::*;
use crate::diagnosis::{Evidence, diagnose};
use crate::find_lr::{Stop, find_lr};
use ursa_domain::run::{Finding, Problem};

/// A run as it would be watched, and the findings at its end.
fn diagnosed(data: Dataset, recipe: Recipe, pretrained: Option<&[u8]>) -> (Training, Vec<Finding>) {
    let mut training = training_on(data, recipe, pretrained);
    let (_, failure) = run(&mut training);
    let evidence = Evidence {
        recipe: &training.identity().recipe,
        classes: &training.data().classes,
        train_counts: &training.data().train.counts(2),
        epochs: training.history(),
        smooth_loss: training.smooth_loss(),
        micro_batch: training.micro_batch(),
        failure: failure.as_ref(),
    };
    let findings = diagnose(&evidence);
    (training, findings)
}

fn problems(findings: &[Finding]) -> Vec<Problem> {
    findings.iter().map(|finding| finding.problem).collect()
}

#[test]
fn a_rate_of_a_half_is_found_too_high() {
    let (training, findings) = diagnosed(data(), recipe(2, 0.5), None);
    assert_eq!(problems(&findings), [Problem::RateTooHigh], "{:#?}", training.history());
}

#[test]
fn a_rate_of_a_millionth_is_found_too_low() {
    let (training, findings) = diagnosed(data(), recipe(5, 1e-6), None);
    assert_eq!(problems(&findings), [Problem::RateTooLow], "{:#?}", training.history());
}

#[test]
fn a_single_epoch_is_found_to_be_too_few() {
    let (training, findings) = diagnosed(data(), recipe(1, 1e-4), None);
    assert_eq!(problems(&findings), [Problem::TooFewEpochs], "{:#?}", training.history());
}

#[test]
fn labels_learned_by_heart_are_found_to_be_overfitting() {
    let mut sound = training(Recipe { augmentation: Augmentation::none(), ..recipe(10, 1e-3) });
    run(&mut sound);
    let model = sound.network().to_safetensors().unwrap();
    // Most labels are wrong: who fits them forgets the rule.
    let train = pictures(24, 0, |index| index % 8 < 6);
    let data = Dataset { classes: classes(), train, valid: pictures(24, 100, |_| false) };
    let plain = Recipe {
        weight_decay: 0.0,
        dropout: 0.0,
        augmentation: Augmentation::none(),
        pretrained: Some(some_weights()),
        keep_head: true,
        stages: vec![Stage::one_cycle(10, Rate::Flat(2e-3)).frozen()],
        ..recipe(0, 0.0)
    };
    let (training, findings) = diagnosed(data, plain, Some(&model));
    let seen: Vec<_> = training.history().iter().map(|report| (report.train.loss, report.valid.errors())).collect();
    assert!(problems(&findings).contains(&Problem::Overfitting), "{seen:?}");
}

#[test]
fn the_finder_leaves_no_trace_and_finds_the_same_twice() {
    let training = training(recipe(2, 1e-3));
    let before = training.checkpoint().unwrap();
    let test = RateTest { steps: 30, start: 1e-6, ..RateTest::default() };
    let mut heard = 0;
    let curve = find_lr(&training, &test, |_| {
        heard += 1;
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(heard, curve.points.len());
    assert!(training.checkpoint().unwrap() == before, "the run changed");
    assert_eq!(find_lr(&training, &test, |_| ControlFlow::Continue(())).unwrap(), curve);
    assert_eq!(find_lr(&training, &test, |_| ControlFlow::Break(())), Err(LearnError::Cancelled));
    assert!(curve.stop != Some(Stop::NotANumber), "{curve:#?}");
    for &method in Method::ALL {
        let suggestion = curve.suggest(method).unwrap();
        assert!((1e-6..1.0).contains(&suggestion.rate), "{suggestion:?}");
    }
}
