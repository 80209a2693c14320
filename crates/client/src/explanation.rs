//! Asking a model why: a job for a few images, from the command line or a page.

use ursa_proto::v1;
use v1::explain_spec::{Model, Of};

/// What the pipeline and its only job are called.
const NAME: &str = "explain";

/// The request that has the model with this digest (or its beginning) say what in images speaks for a class: for that of each
/// label unless `of` says otherwise. What was explained before is taken over.
pub fn request(digest: &str, image_ids: Vec<String>, of: Option<Of>) -> v1::SubmitPipelineRequest {
    let spec = v1::ExplainSpec { model: Some(Model::ModelDigest(digest.to_owned())), image_ids, of };
    let spec = Some(v1::job_definition::Spec::Explain(spec));
    let job = v1::JobDefinition { name: NAME.into(), spec, ..v1::JobDefinition::default() };
    let pipeline = v1::PipelineSpec { name: NAME.into(), jobs: vec![job], reuse: true, ..v1::PipelineSpec::default() };
    v1::SubmitPipelineRequest { pipeline: Some(pipeline), idempotency_key: String::new() }
}
