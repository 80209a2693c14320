//! Explanations: which images, for which class, and the command that gets their pictures.

use serde_json::json;
use ursa_client::learned::{Explained, ExplainedImage};

use crate::output::{Column, table};
use crate::text;

const IMAGES: &[Column] =
    &[("IMAGE", "image"), ("CLASS", "class"), ("PROBABILITY", "probability"), ("TAKEN FOR", "predicted")];

pub(super) fn parts(explained: &Explained) -> Vec<String> {
    let (Some(digest), Some(first)) = (explained.model_digest.as_deref(), explained.images.first()) else {
        return Vec::new();
    };
    let digest = digest.get(..12).unwrap_or(digest);
    vec![
        format!("Model {digest} was asked what in images speaks for a class"),
        images(&explained.images),
        format!("As pictures: ursa models explain {digest} {} --class {:?}", first.image_id, first.class),
    ]
}

fn images(images: &[ExplainedImage]) -> String {
    let row = |image: &ExplainedImage| {
        json!({
            "image": image.image_id, "class": image.class, "probability": text::percent(image.probability),
            "predicted": image.predicted,
        })
    };
    table(&images.iter().map(row).collect::<Vec<_>>(), IMAGES)
}
