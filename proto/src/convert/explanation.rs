//! What in images speaks for a class: the job that asks, and what comes of it.

use ursa_domain::explanation::Explained;
use ursa_domain::run::{ExplainedImage, ImageToExplain, StoredObject};
use ursa_domain::spec::{ExplainSpec, ModelRef};

use super::{BadField, parse_id, required};
use crate::v1;

impl TryFrom<v1::ExplainSpec> for ExplainSpec {
    type Error = BadField;

    fn try_from(spec: v1::ExplainSpec) -> Result<Self, BadField> {
        use v1::explain_spec::{Model, Of};
        let model = match required("model", spec.model)? {
            Model::ModelFromJob(job) => ModelRef::FromJob(job),
            Model::ModelDigest(digest) => ModelRef::Digest(digest),
        };
        let of = match spec.of {
            Some(Of::Class(class)) => Explained::Class(class),
            Some(Of::Predicted(true)) => Explained::Predicted,
            Some(Of::Predicted(false)) | None => Explained::Actual,
        };
        let images = spec.image_ids.iter().map(|image| parse_id("image_ids", image)).collect::<Result<_, _>>()?;
        Ok(Self { model, images, of })
    }
}

impl From<&ExplainSpec> for v1::ExplainSpec {
    fn from(spec: &ExplainSpec) -> Self {
        use v1::explain_spec::{Model, Of};
        Self {
            model: Some(match &spec.model {
                ModelRef::FromJob(job) => Model::ModelFromJob(job.clone()),
                ModelRef::Digest(digest) => Model::ModelDigest(digest.clone()),
            }),
            image_ids: spec.images.iter().map(ToString::to_string).collect(),
            of: match &spec.of {
                Explained::Actual => None,
                Explained::Predicted => Some(Of::Predicted(true)),
                Explained::Class(class) => Some(Of::Class(class.clone())),
            },
        }
    }
}

impl From<ImageToExplain> for v1::ImageToExplain {
    fn from(image: ImageToExplain) -> Self {
        Self {
            image_id: image.id.to_string(),
            shard_key: image.shard,
            shard_offset: image.offset,
            shard_length: image.length,
            class: image.class.unwrap_or_default(),
        }
    }
}

impl TryFrom<v1::ImageToExplain> for ImageToExplain {
    type Error = BadField;

    fn try_from(image: v1::ImageToExplain) -> Result<Self, BadField> {
        Ok(Self {
            id: parse_id("image_id", &image.image_id)?,
            shard: image.shard_key,
            offset: image.shard_offset,
            length: image.shard_length,
            class: Some(image.class).filter(|class| !class.is_empty()),
        })
    }
}

impl From<ExplainedImage> for v1::ExplainedImage {
    fn from(image: ExplainedImage) -> Self {
        let StoredObject { key, sha256, bytes } = image.overlay;
        Self {
            image_id: image.id.to_string(),
            class: image.class,
            probability: image.probability,
            predicted: image.predicted,
            side: image.side,
            values: image.values,
            overlay: Some(v1::StoredObject { key, sha256, bytes }),
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn an_explanation_survives_the_wire_and_says_what_it_lacks() {
        let images = vec![Uuid::from_u128(7), Uuid::from_u128(3)];
        for of in [Explained::Actual, Explained::Predicted, Explained::Class("teddy".into())] {
            for model in [ModelRef::FromJob("train".into()), ModelRef::Digest("01234567".into())] {
                let spec = ExplainSpec { model, images: images.clone(), of: of.clone() };
                assert_eq!(ExplainSpec::try_from(v1::ExplainSpec::from(&spec)), Ok(spec));
            }
        }
        let refused = |spec: v1::ExplainSpec| ExplainSpec::try_from(spec).unwrap_err().to_string();
        assert_eq!(refused(v1::ExplainSpec::default()), "model: is missing");
        let model = Some(v1::explain_spec::Model::ModelFromJob("train".into()));
        let bad = refused(v1::ExplainSpec { model, image_ids: vec!["bear.jpg".into()], of: None });
        assert!(bad.starts_with("image_ids: \"bear.jpg\" is not an id"), "{bad}");
    }

    #[test]
    fn an_image_to_explain_survives_the_wire_with_or_without_its_class() {
        for class in [None, Some("teddy".to_owned())] {
            let image = ImageToExplain { id: Uuid::from_u128(7), shard: "s".into(), offset: 512, length: 90, class };
            assert_eq!(ImageToExplain::try_from(v1::ImageToExplain::from(image.clone())), Ok(image));
        }
    }
}
