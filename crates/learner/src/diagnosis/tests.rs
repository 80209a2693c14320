//! The rules on the lesson's validation losses and errors; it printed no un-smoothed training loss, so those are made up to go
//! with them. That real runs show such numbers is tested with the training.

use ursa_domain::recipe::{Augmentation, Balance, Rate, Stage};

use super::*;
use crate::recorder::{Measurement, Proportion};
use ursa_domain::run::Problem;

const CHANCE_3: f64 = 1.0986;

fn classes() -> Vec<String> {
    ["black", "grizzly", "teddys"].map(str::to_owned).to_vec()
}

/// Errors spread over three classes.
fn measured(loss: f64, wrong: u64, of: u64) -> Measurement {
    let part = |index: u64| Proportion { count: (wrong + index) / 3, of: (of + index) / 3 };
    Measurement { loss, class_errors: (0..3).map(part).collect() }
}

/// (train loss in evaluation, valid loss, wrong of 141 to validate)
fn epochs(rows: &[(f64, f64, u64)]) -> Vec<EpochReport> {
    let report = |(epoch, &(train, valid, wrong)): (u32, &(f64, f64, u64))| EpochReport {
        epoch,
        step: u64::from(epoch + 1) * 7,
        train_loss: 2.0 * train,
        train: measured(train, 0, 141),
        valid: measured(valid, wrong, 141),
    };
    (0..).zip(rows).map(report).collect()
}

fn recipe(epochs: usize, rate: f64) -> Recipe {
    Recipe { stages: vec![Stage::one_cycle(epochs as u32, Rate::SliceTo(rate))], ..Recipe::default() }
}

fn findings(recipe: &Recipe, epochs: &[EpochReport]) -> Vec<Finding> {
    let evidence = Evidence {
        recipe,
        classes: &classes(),
        train_counts: &[160, 160, 160],
        epochs,
        smooth_loss: SmoothLoss::default(),
        micro_batch: None,
        failure: None,
    };
    diagnose(&evidence)
}

fn problems(findings: &[Finding]) -> Vec<Problem> {
    findings.iter().map(|finding| finding.problem).collect()
}

#[test]
fn a_loss_that_ran_away_within_an_epoch_is_a_rate_too_high() {
    let mut smooth_loss = SmoothLoss::default();
    (0..20).for_each(|_| smooth_loss.add(0.6));
    let (recipe, classes) = (recipe(4, 1e-2), classes());
    let found = |smooth_loss: SmoothLoss| {
        let failure = None;
        let train_counts = &[160, 160, 160];
        let evidence = Evidence {
            recipe: &recipe,
            classes: &classes,
            train_counts,
            epochs: &[],
            smooth_loss,
            micro_batch: None,
            failure,
        };
        diagnose(&evidence)
    };
    assert!(!problems(&found(smooth_loss)).contains(&Problem::RateTooHigh));
    (0..20).for_each(|_| smooth_loss.add(40.0));
    let found = found(smooth_loss);
    assert_eq!(problems(&found), [Problem::RateTooHigh]);
    assert!(found[0].seen.contains("rose from 0.600"), "{}", found[0].seen);
}

#[test]
fn half_a_learning_rate_is_too_high() {
    let found = findings(&recipe(1, 0.5), &epochs(&[(1e9, 1_144_188_288.0, 108)]));
    assert_eq!(problems(&found), [Problem::RateTooHigh]);
    assert!(found[0].seen.contains("1144188288"), "{}", found[0].seen);
    assert!((found[0].recipe.as_ref().unwrap().peak_rate() - 0.05).abs() < 1e-9);
    assert_eq!(found[0].go_back_to, None);
    assert!(found[0].advice.contains("create the network again"));
}

#[test]
fn a_run_that_explodes_late_goes_back_to_its_last_good_epoch() {
    let found = findings(&recipe(4, 0.1), &epochs(&[(0.4, 0.5, 20), (0.3, 0.4, 12), (80.0, 90.0, 95)]));
    assert_eq!((found[0].problem, found[0].go_back_to), (Problem::RateTooHigh, Some(1)));
    assert!(found[0].advice.contains("after epoch 2 (batch 14)"), "{}", found[0].advice);
    let failure = LearnError::NonFiniteLoss { loss: f64::NAN, step: 3, epoch: 0, max_learning_rate: 0.1 };
    let recipe = recipe(4, 0.1);
    let evidence = Evidence {
        recipe: &recipe,
        classes: &classes(),
        train_counts: &[],
        epochs: &[],
        smooth_loss: SmoothLoss::default(),
        micro_batch: None,
        failure: Some(&failure),
    };
    assert_eq!(problems(&diagnose(&evidence)), [Problem::RateTooHigh]);
}

#[test]
fn an_absurd_first_epoch_does_not_hide_the_good_ones_after_it() {
    let epochs = epochs(&[(2.0, 300.0, 95), (0.9, 0.6, 30), (0.5, 0.5, 20), (0.3, 0.4, 12), (0.3, 0.4, 14)]);
    let failure = LearnError::NonFiniteLoss { loss: f64::NAN, step: 38, epoch: 5, max_learning_rate: 0.1 };
    let found = diagnose(&Evidence {
        recipe: &recipe(8, 0.1),
        classes: &classes(),
        train_counts: &[160, 160, 160],
        epochs: &epochs,
        smooth_loss: SmoothLoss::default(),
        micro_batch: None,
        failure: Some(&failure),
    });
    assert_eq!((found[0].problem, found[0].go_back_to), (Problem::RateTooHigh, Some(3)));
    assert!(found[0].advice.contains("after epoch 4 (batch 28)"), "{}", found[0].advice);
}

#[test]
fn a_run_is_lost_only_where_training_says_so_too() {
    let lost = |smoothed: f64, valid: f64| {
        is_lost(&EpochReport { train_loss: smoothed, ..epochs(&[(1.0, valid, 90)])[0].clone() }, 3)
    };
    assert!(lost(12.22, 1_144_188_288.0), "the lesson's run at a rate of 0.5");
    assert!(!lost(2.5, 536.5), "a run from scratch whose statistics are not yet those of its weights");
    assert!(!lost(12.22, 2.0), "what can be validated is not lost");
}

#[test]
fn a_hundred_thousandth_is_too_low() {
    let rows = [(1.30, 1.20, 86), (1.20, 1.11, 77), (1.08, 1.03, 66), (1.0, 0.99, 64), (0.98, 0.98, 63)];
    let found = findings(&recipe(5, 1e-5), &epochs(&rows));
    assert_eq!(problems(&found), [Problem::RateTooLow]);
    assert!((found[0].recipe.as_ref().unwrap().peak_rate() - 1e-4).abs() < 1e-12);
}

#[test]
fn one_epoch_is_too_few() {
    let found = findings(&recipe(1, 3e-3), &epochs(&[(0.2, 0.120, 7)]));
    assert_eq!(problems(&found), [Problem::TooFewEpochs]);
    assert_eq!(found[0].recipe.as_ref().unwrap().epochs(), 4);
    let still_falling = epochs(&[(0.8, 0.9, 40), (0.4, 0.5, 22), (0.2, 0.3, 12)]);
    assert_eq!(problems(&findings(&recipe(3, 3e-3), &still_falling)), [Problem::TooFewEpochs]);
    assert_eq!(problems(&findings(&recipe(8, 3e-3), &still_falling)), [], "a run that goes on has not ended too early");
}

#[test]
fn only_an_error_rate_that_gets_worse_is_overfitting() {
    let worse = epochs(&[(0.5, 0.6, 20), (0.2, 0.4, 10), (0.05, 0.6, 24), (0.01, 0.8, 26)]);
    let plain = Recipe { weight_decay: 0.0, dropout: 0.0, augmentation: Augmentation::none(), ..recipe(4, 1e-4) };
    let found = findings(&plain, &worse);
    assert_eq!(found[0].problem, Problem::Overfitting);
    assert_eq!(found[0].go_back_to, Some(1));
    let changed = found[0].recipe.as_ref().unwrap();
    assert!(!changed.augmentation.is_none() && changed.dropout > 0.0 && changed.weight_decay > 0.0);
    assert_eq!(findings(&recipe(4, 1e-4), &worse)[0].recipe.as_ref().unwrap().epochs(), 2);

    // Training loss far below validation loss, which even rises, with errors as they were.
    let normal = epochs(&[(0.5, 0.3, 6), (0.01, 0.1, 2), (0.001, 0.2, 3), (0.0001, 0.3, 2)]);
    assert_eq!(problems(&findings(&recipe(4, 1e-4), &normal)), []);
    // The lesson's attempt to overfit: 0.068, 0.082, 0.062.
    let hard = epochs(&[(0.1, 0.25, 10), (0.05, 0.3, 12), (0.01, 0.3, 9)]);
    assert_eq!(problems(&findings(&recipe(3, 1e-4), &hard)), []);
}

#[test]
fn a_network_that_knows_only_its_own_pictures_needs_more_of_them() {
    let found = findings(&recipe(3, 3e-3), &epochs(&[(0.3, 0.9, 50), (0.1, 0.9, 44), (0.09, 0.9, 44)]));
    assert_eq!(problems(&found), [Problem::TooLittleData]);
    assert!(found[0].recipe.is_none() && found[0].advice.contains("learning curve"));
}

#[test]
fn a_rare_class_is_a_problem_only_if_it_fares_worse() {
    let with_errors = |rare: u64| {
        let mut epochs = epochs(&[(0.1, 0.3, 4), (0.1, 0.3, 4)]);
        for report in &mut epochs {
            report.valid.class_errors = vec![
                Proportion { count: 2, of: 60 },
                Proportion { count: 3, of: 60 },
                Proportion { count: rare, of: 20 },
            ];
        }
        epochs
    };
    let unbalanced = |epochs: &[EpochReport], recipe: &Recipe| {
        let (classes, train_counts) = (classes(), [200, 200, 50]);
        let evidence = Evidence {
            recipe,
            classes: &classes,
            train_counts: &train_counts,
            epochs,
            smooth_loss: SmoothLoss::default(),
            micro_batch: None,
            failure: None,
        };
        diagnose(&evidence)
    };
    let plain = recipe(2, 3e-3);
    let found = unbalanced(&with_errors(8), &plain);
    assert_eq!(problems(&found), [Problem::UnbalancedClasses]);
    assert!(found[0].seen.contains("teddys"), "{}", found[0].seen);
    assert_eq!(found[0].recipe.as_ref().unwrap().balance, Balance::Oversample);
    let oversampled = Recipe { balance: Balance::Oversample, ..plain.clone() };
    assert!(unbalanced(&with_errors(8), &oversampled)[0].recipe.is_none());
    assert_eq!(problems(&unbalanced(&with_errors(1), &plain)), [], "200 and 50 just work");
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    assert_eq!(findings(&recipe(4, 3e-3), &[]), []);
    let good = epochs(&[(0.3, 0.25, 12), (0.1, 0.12, 5), (0.05, 0.08, 3), (0.049, 0.079, 3)]);
    assert_eq!(findings(&recipe(4, 3e-3), &good), []);
    assert!(
        (Evidence {
            recipe: &recipe(1, 1.0),
            classes: &classes(),
            train_counts: &[],
            epochs: &[],
            smooth_loss: SmoothLoss::default(),
            micro_batch: None,
            failure: None
        }
        .chance()
            - CHANCE_3)
            .abs()
            < 1e-3
    );
}

#[test]
fn a_batch_that_memory_did_not_hold_is_found_beside_everything_else() {
    let epochs = epochs(&[(1e9, 1_144_188_288.0, 108)]);
    let found = |recipe: &Recipe, micro_batch| {
        let classes = &classes();
        diagnose(&Evidence {
            recipe,
            classes,
            train_counts: &[160, 160, 160],
            epochs: &epochs,
            smooth_loss: SmoothLoss::default(),
            micro_batch,
            failure: None,
        })
    };
    let whole = recipe(1, 0.5);
    let findings = found(&whole, Some(16));
    assert_eq!(problems(&findings), [Problem::RateTooHigh, Problem::MemoryRanOut]);
    assert!(findings[1].seen.contains("64 pictures at once") && findings[1].seen.contains("parts of 16"));
    let changed = findings[1].recipe.clone().unwrap();
    assert_eq!(changed, Recipe { micro_batch: Some(16), ..whole.clone() });
    assert_eq!(problems(&found(&changed, Some(16))), [Problem::RateTooHigh], "what was asked for is no problem");
    assert_eq!(problems(&found(&changed, Some(8))), [Problem::RateTooHigh, Problem::MemoryRanOut]);
}
