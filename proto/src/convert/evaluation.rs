//! Models on snapshots: the job that asks them, and what comes of it.

use ursa_domain::evaluation::{ClassErrors, Evaluation};
use ursa_domain::run::{EvaluatedModel, StoredObject};
use ursa_domain::spec::{EvaluateSpec, ModelRef, SnapshotRef};

use super::{BadField, required};
use crate::v1;

impl TryFrom<v1::EvaluateSpec> for EvaluateSpec {
    type Error = BadField;

    fn try_from(spec: v1::EvaluateSpec) -> Result<Self, BadField> {
        use v1::evaluate_spec::{Model, Snapshot};
        let snapshot = match required("snapshot", spec.snapshot)? {
            Snapshot::SnapshotFromJob(job) => SnapshotRef::FromJob(job),
            Snapshot::SnapshotName(name) => name.into(),
        };
        let model = match required("model", spec.model)? {
            Model::ModelFromJob(job) => ModelRef::FromJob(job),
            Model::ModelDigest(digest) => ModelRef::Digest(digest),
        };
        Ok(Self { snapshot, model })
    }
}

impl From<&EvaluateSpec> for v1::EvaluateSpec {
    fn from(spec: &EvaluateSpec) -> Self {
        use v1::evaluate_spec::{Model, Snapshot};
        Self {
            snapshot: Some(match &spec.snapshot {
                SnapshotRef::FromJob(job) => Snapshot::SnapshotFromJob(job.clone()),
                SnapshotRef::Numbered { dataset, number } => Snapshot::SnapshotName(v1::SnapshotName {
                    dataset: dataset.clone(),
                    number: number.unwrap_or_default(),
                }),
            }),
            model: Some(match &spec.model {
                ModelRef::FromJob(job) => Model::ModelFromJob(job.clone()),
                ModelRef::Digest(digest) => Model::ModelDigest(digest.clone()),
            }),
        }
    }
}

impl From<EvaluatedModel> for v1::EvaluateResult {
    fn from(EvaluatedModel { predictions, evaluation }: EvaluatedModel) -> Self {
        let StoredObject { key, sha256, bytes } = predictions;
        let Evaluation { loss, classes } = evaluation;
        let class = |ClassErrors { class, wrong, of }| v1::ClassErrors { class, wrong, of };
        Self {
            predictions: Some(v1::StoredObject { key, sha256, bytes }),
            loss,
            classes: classes.into_iter().map(class).collect(),
        }
    }
}

impl From<v1::ClassErrors> for ClassErrors {
    fn from(class: v1::ClassErrors) -> Self {
        Self { class: class.class, wrong: class.wrong, of: class.of }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_evaluation_survives_the_wire_and_says_what_it_lacks() {
        let snapshots = [
            SnapshotRef::FromJob("snapshot".into()),
            SnapshotRef::Numbered { dataset: "bears".into(), number: Some(3) },
            SnapshotRef::Numbered { dataset: "bears".into(), number: None },
        ];
        for snapshot in snapshots {
            for model in [ModelRef::FromJob("train".into()), ModelRef::Digest("01234567".into())] {
                let spec = EvaluateSpec { snapshot: snapshot.clone(), model };
                assert_eq!(EvaluateSpec::try_from(v1::EvaluateSpec::from(&spec)), Ok(spec));
            }
        }
        let refused = |spec: v1::EvaluateSpec| EvaluateSpec::try_from(spec).unwrap_err().to_string();
        assert_eq!(refused(v1::EvaluateSpec::default()), "snapshot: is missing");
        let snapshot = Some(v1::evaluate_spec::Snapshot::SnapshotFromJob("snapshot".into()));
        assert_eq!(refused(v1::EvaluateSpec { snapshot, model: None }), "model: is missing");
    }
}
