//! What in images speaks for a class: the output of an `explain` job. The heatmaps themselves are `GetHeatmap`'s.

use serde::Deserialize;

use super::{list, parse};

/// What a model said of images.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Explained {
    /// The model; missing until the job has ended.
    pub model_digest: Option<String>,
    /// In the order in which they were asked for.
    pub images: Vec<ExplainedImage>,
}

/// What a model said of an image.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ExplainedImage {
    /// Its id.
    pub image_id: String,
    /// The class that was explained.
    pub class: String,
    /// What the model gives it, as a fraction.
    pub probability: f64,
    /// The class that the model takes the image for.
    pub predicted: String,
}

impl Explained {
    /// Reads the output of an `explain` job.
    pub fn read(output_json: &str) -> Self {
        let output = parse(output_json);
        Self {
            model_digest: output["model_digest"].as_str().map(str::to_owned),
            images: list(&output["images"], |image| serde_json::from_value(image.clone()).ok()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explanation_is_read_and_broken_rows_left_out() {
        let json = r#"{"model_digest": "9f2c", "images": [
            {"image_id": "a", "class": "teddy", "probability": 0.25, "predicted": "black"}, {"image_id": "b"}, 7]}"#;
        let found = Explained::read(json);
        let image = ExplainedImage {
            image_id: "a".into(),
            class: "teddy".into(),
            probability: 0.25,
            predicted: "black".into(),
        };
        assert_eq!((found.model_digest.as_deref(), found.images), (Some("9f2c"), vec![image]));
    }
}
