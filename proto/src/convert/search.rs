//! Searches for hyper-parameters.

use std::collections::BTreeMap;

use ursa_domain::pipeline::nearest;
use ursa_domain::run::Rung;
use ursa_domain::search::{Hyperparameter, Measured, Range, SearchSpec, Space, Value};
use ursa_domain::spec::TrainSpec;

use super::{BadField, or_default, required};
use crate::v1;

impl TryFrom<v1::SearchSpec> for SearchSpec {
    type Error = BadField;

    fn try_from(spec: v1::SearchSpec) -> Result<Self, BadField> {
        let training = TrainSpec::try_from(required("training", spec.training)?)?;
        if training != TrainSpec::once(training.from.clone()) {
            let reason =
                "is done once by each trial and on everything: leave out rate, seeds, train_percents and checkpoint";
            return Err(BadField::new("training", reason));
        }
        let default = Self::new(training.from, read_space(spec.space)?);
        Ok(Self {
            trials: or_default(spec.trials, default.trials),
            min_epochs: or_default(spec.min_epochs, default.min_epochs),
            reduction: or_default(spec.reduction, default.reduction),
            ..default
        })
    }
}

impl From<&SearchSpec> for v1::SearchSpec {
    fn from(spec: &SearchSpec) -> Self {
        Self {
            training: Some((&spec.from).into()),
            space: spec.space.0.iter().map(v1::SearchDimension::from).collect(),
            trials: spec.trials,
            min_epochs: spec.min_epochs,
            reduction: spec.reduction,
        }
    }
}

fn read_space(dimensions: Vec<v1::SearchDimension>) -> Result<Space, BadField> {
    let mut space = BTreeMap::new();
    for dimension in dimensions {
        let name = dimension.hyperparameter;
        let parameter: Hyperparameter = name.parse().map_err(|_| unknown(&name))?;
        let field = format!("space.{name}");
        let range = read_range(&field, required(&field, dimension.range)?)?;
        if space.insert(parameter, range).is_some() {
            return Err(BadField::new(field, "is there twice: give it one range"));
        }
    }
    Ok(Space(space))
}

fn unknown(name: &str) -> BadField {
    let known = || Hyperparameter::ALL.iter().map(|parameter| parameter.as_str());
    let meant = match nearest(name, known()) {
        Some(near) => format!("did you mean {near:?}?"),
        None => format!("known are {}", known().collect::<Vec<_>>().join(", ")),
    };
    BadField::new("space", format!("{name:?} is no hyper-parameter that can be varied; {meant}"))
}

fn read_range(field: &str, range: v1::search_dimension::Range) -> Result<Range, BadField> {
    use v1::search_dimension::Range as Wire;
    Ok(match range {
        Wire::Uniform(v1::NumberRange { low, high }) => Range::Uniform(low, high),
        Wire::LogUniform(v1::NumberRange { low, high }) => Range::LogUniform(low, high),
        Wire::Choice(choices) => {
            let values = choices.values.into_iter().map(|choice| read_value(field, choice));
            Range::Choice(values.collect::<Result<_, _>>()?)
        }
    })
}

fn read_value(field: &str, value: v1::SearchValue) -> Result<Value, BadField> {
    use v1::search_value::Value as Wire;
    Ok(match required(field, value.value)? {
        Wire::Number(number) => Value::Number(number),
        Wire::Word(word) => Value::Word(word),
    })
}

impl From<(&Hyperparameter, &Range)> for v1::SearchDimension {
    fn from((parameter, range): (&Hyperparameter, &Range)) -> Self {
        Self { hyperparameter: parameter.to_string(), range: Some(range.into()) }
    }
}

impl From<&Range> for v1::search_dimension::Range {
    fn from(range: &Range) -> Self {
        match range {
            Range::Uniform(low, high) => Self::Uniform(v1::NumberRange { low: *low, high: *high }),
            Range::LogUniform(low, high) => Self::LogUniform(v1::NumberRange { low: *low, high: *high }),
            Range::Choice(values) => {
                Self::Choice(v1::SearchChoices { values: values.iter().map(v1::SearchValue::from).collect() })
            }
        }
    }
}

impl From<&Value> for v1::SearchValue {
    fn from(value: &Value) -> Self {
        use v1::search_value::Value as Wire;
        let value = match value {
            Value::Number(number) => Wire::Number(*number),
            Value::Word(word) => Wire::Word(word.clone()),
        };
        Self { value: Some(value) }
    }
}

impl From<&v1::SearchTask> for Rung {
    fn from(task: &v1::SearchTask) -> Self {
        Self { after: task.after_epochs, until: task.until_epochs }
    }
}

impl From<Measured> for v1::RungResult {
    fn from(measured: Measured) -> Self {
        let Measured { epochs, errors, validated, loss } = measured;
        Self { epochs, errors, validated, loss }
    }
}

impl TryFrom<v1::RungResult> for Measured {
    type Error = BadField;

    fn try_from(result: v1::RungResult) -> Result<Self, BadField> {
        let v1::RungResult { epochs, errors, validated, loss } = result;
        if !loss.is_finite() {
            return Err(BadField::new("rung.loss", format!("is {loss}: say `diverged` where it is no number")));
        }
        if errors > validated {
            return Err(BadField::new("rung.errors", format!("are {errors} of {validated} images")));
        }
        Ok(Self { epochs, errors, validated, loss })
    }
}

#[cfg(test)]
mod tests {
    use ursa_domain::recipe::Recipe;
    use ursa_domain::spec::{Learning, SnapshotRef};

    use super::*;

    fn search() -> SearchSpec {
        let from = Learning {
            snapshot: SnapshotRef::FromJob("snapshot".into()),
            recipe: Recipe { batch_size: 16, ..Recipe::default() },
            model: None,
        };
        let words = vec![Value::Word("fastai-v1".into()), Value::Word("fastai-v2".into())];
        let space = Space(BTreeMap::from([
            (Hyperparameter::MaxLearningRate, Range::LogUniform(1e-4, 1e-2)),
            (Hyperparameter::Dropout, Range::Uniform(0.0, 0.5)),
            (Hyperparameter::BatchSize, Range::Choice(vec![Value::Number(16.0), Value::Number(32.0)])),
            (Hyperparameter::Numerics, Range::Choice(words)),
        ]));
        SearchSpec { trials: 4, reduction: 2, ..SearchSpec::new(from, space) }
    }

    #[test]
    fn a_search_survives_the_wire() {
        assert_eq!(SearchSpec::try_from(v1::SearchSpec::from(&search())), Ok(search()));
        let wire = v1::SearchSpec { trials: 0, min_epochs: 0, reduction: 0, ..(&search()).into() };
        let read = SearchSpec::try_from(wire).unwrap();
        assert_eq!((read.trials, read.min_epochs, read.reduction), (16, 1, 3));
    }

    /// Makes a sound search one that cannot be made.
    type Spoil = fn(&mut v1::SearchSpec);

    #[test]
    fn what_cannot_be_read_is_named() {
        let refused = |change: Spoil| {
            let mut wire = v1::SearchSpec::from(&search());
            change(&mut wire);
            SearchSpec::try_from(wire).unwrap_err().to_string()
        };
        let cases: [(&str, Spoil); 6] = [
            ("did you mean \"dropout\"?", |wire| wire.space[0].hyperparameter = "dropuot".into()),
            ("known are max_learning_rate, weight_decay", |wire| wire.space[0].hyperparameter = "momentum".into()),
            ("space.max_learning_rate: is missing", |wire| wire.space[0].range = None),
            ("is there twice", |wire| wire.space.push(wire.space[0].clone())),
            ("leave out rate, seeds", |wire| wire.training.as_mut().unwrap().seeds = 3),
            ("training: is missing", |wire| wire.training = None),
        ];
        for (said, change) in cases {
            let message = refused(change);
            assert!(message.contains(said), "{said}: {message}");
        }
    }

    #[test]
    fn a_loss_that_is_no_number_is_no_measurement() {
        let result = v1::RungResult { epochs: 1, errors: 1, validated: 9, loss: 0.5 };
        assert_eq!(Measured::try_from(result).unwrap().errors, 1);
        for broken in [v1::RungResult { loss: f64::NAN, ..result }, v1::RungResult { errors: 10, ..result }] {
            assert!(Measured::try_from(broken).is_err(), "{broken:?}");
        }
    }
}
