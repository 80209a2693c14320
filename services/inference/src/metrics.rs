//! What the node counts, in the text format that Prometheus reads.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// The media type of [`Metrics::text`].
pub(crate) const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    endpoint: String,
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Endpoint {
    endpoint: String,
}

/// Counters and histograms of one node.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Request, Counter>,
    latency: Family<Endpoint, Histogram>,
    batches: Histogram,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let requests = Family::<Request, Counter>::default();
        // 1 ms to 16 s.
        let latency =
            Family::<Endpoint, Histogram>::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 2.0, 15)));
        let batches = Histogram::new([1.0, 2.0, 4.0, 8.0, 16.0]);
        let mut registry = Registry::with_prefix("ursa_inference");
        registry.register("requests", "Requests for a prediction by endpoint and outcome", requests.clone());
        registry.register_with_unit(
            "request_duration",
            "From the first byte to the answer",
            Unit::Seconds,
            latency.clone(),
        );
        registry.register("batch_pictures", "Pictures computed together", batches.clone());
        Self { registry, requests, latency, batches }
    }

    /// Notes one request. `endpoint` must be one that exists, or empty: whoever asks must not be able to make new series.
    pub(crate) fn request(&self, endpoint: &str, status: &'static str, took: Duration) {
        self.requests.get_or_create(&Request { endpoint: endpoint.to_owned(), status }).inc();
        self.latency.get_or_create(&Endpoint { endpoint: endpoint.to_owned() }).observe(took.as_secs_f64());
    }

    /// Where models note how many pictures they computed together.
    pub(crate) fn batches(&self) -> Histogram {
        self.batches.clone()
    }

    /// Everything as text.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
