//! What the node shall serve and what it does serve: a value, replaced as a whole, so that a request sees either the old
//! model or the new one and never something between. No I/O here.

use std::collections::BTreeMap;
use std::sync::Arc;

use ursa_proto::v1::{EndpointOrder, EndpointStatus};

use crate::error::ServeError;
use crate::model::Model;

/// How far a model is.
#[derive(Debug)]
pub(crate) enum Progress<M> {
    /// On its way; holds what it waits for, when something is in the way.
    Loading(Option<String>),
    /// Proved and warm.
    Ready(Arc<M>),
    /// Refused; holds why.
    Failed(String),
}

/// One endpoint.
#[derive(Debug)]
pub(crate) struct Entry<M> {
    ordered: String,
    progress: Progress<M>,
    serving: Option<Arc<M>>,
}

/// Every endpoint the node was told to serve. `M` is [`Model`] outside tests.
#[derive(Debug)]
pub(crate) struct Catalog<M = Model> {
    ordered: bool,
    endpoints: BTreeMap<String, Entry<M>>,
}

impl<M> Default for Catalog<M> {
    fn default() -> Self {
        Self { ordered: false, endpoints: BTreeMap::new() }
    }
}

impl<M> Catalog<M> {
    /// The catalog after `orders`: a model that is not ready leaves its predecessor serving, what is not ordered is gone.
    pub(crate) fn next(&self, orders: &[EndpointOrder], progress: impl Fn(&str) -> Progress<M>) -> Self {
        let entry = |order: &EndpointOrder| {
            let progress = progress(&order.model_digest);
            let serving = match &progress {
                Progress::Ready(model) => Some(model.clone()),
                _ => self.serving(&order.endpoint).cloned(),
            };
            (order.endpoint.clone(), Entry { ordered: order.model_digest.clone(), progress, serving })
        };
        Self { ordered: true, endpoints: orders.iter().map(entry).collect() }
    }

    /// The model that answers for an endpoint.
    pub(crate) fn serving(&self, endpoint: &str) -> Option<&Arc<M>> {
        self.endpoints.get(endpoint)?.serving.as_ref()
    }

    /// Whether orders have come and every ordered endpoint answers, be it with the model before.
    ///
    /// A rollout that fails everywhere must not take every node out of service.
    pub(crate) fn is_ready(&self) -> bool {
        self.ordered && self.endpoints.values().all(|entry| entry.serving.is_some())
    }

    /// The endpoint that is meant: the one named, or the only one, with the model that answers for it.
    pub(crate) fn find(&self, name: Option<&str>) -> Result<(&str, &Arc<M>), ServeError> {
        let found = match name {
            Some(name) => self
                .endpoints
                .get_key_value(name)
                .ok_or_else(|| ServeError::UnknownEndpoint { name: name.to_owned(), known: self.known() })?,
            None if self.endpoints.len() > 1 => return Err(ServeError::EndpointNeeded { known: self.known() }),
            None => self.endpoints.first_key_value().ok_or(ServeError::NothingServed)?,
        };
        let (name, entry) = found;
        let not_ready = || ServeError::NotReady { name: name.clone(), reason: entry.progress.reason() };
        Ok((name.as_str(), entry.serving.as_ref().ok_or_else(not_ready)?))
    }

    /// `name` if it is an endpoint, the only endpoint if none is named, else nothing: safe to count by.
    pub(crate) fn label(&self, name: Option<&str>) -> &str {
        let found = match name {
            Some(name) => self.endpoints.get_key_value(name),
            None if self.endpoints.len() == 1 => self.endpoints.first_key_value(),
            None => None,
        };
        found.map_or("", |(name, _)| name)
    }

    fn known(&self) -> String {
        if self.endpoints.is_empty() {
            return "it serves none".to_owned();
        }
        let names: Vec<_> = self.endpoints.keys().map(String::as_str).collect();
        format!("it serves {}", names.join(", "))
    }
}

// Derived, it would ask for models that can be cloned.
impl<M> Clone for Progress<M> {
    fn clone(&self) -> Self {
        match self {
            Self::Loading(reason) => Self::Loading(reason.clone()),
            Self::Ready(model) => Self::Ready(model.clone()),
            Self::Failed(reason) => Self::Failed(reason.clone()),
        }
    }
}

impl<M> Progress<M> {
    fn word(&self) -> &'static str {
        match self {
            Self::Loading(_) => "loading",
            Self::Ready(_) => "ready",
            Self::Failed(_) => "failed",
        }
    }

    fn obstacle(&self) -> &str {
        match self {
            Self::Loading(reason) => reason.as_deref().unwrap_or_default(),
            Self::Ready(_) => "",
            Self::Failed(reason) => reason,
        }
    }

    fn reason(&self) -> String {
        match self {
            Self::Loading(None) | Self::Ready(_) => "it is being loaded".to_owned(),
            Self::Loading(Some(reason)) => format!("it is being loaded, but {reason}"),
            Self::Failed(reason) => reason.clone(),
        }
    }
}

impl Catalog {
    /// As the node reports it.
    pub(crate) fn statuses(&self) -> Vec<EndpointStatus> {
        let status = |(name, entry): (&String, &Entry<Model>)| EndpointStatus {
            endpoint: name.clone(),
            model_digest: entry.ordered.clone(),
            serving_digest: entry.serving.as_ref().map(|model| model.digest().to_owned()).unwrap_or_default(),
            state: entry.progress.word().to_owned(),
            error: entry.progress.obstacle().to_owned(),
        };
        self.endpoints.iter().map(status).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Names = Catalog<&'static str>;

    fn order(endpoint: &str, digest: &str) -> EndpointOrder {
        EndpointOrder { endpoint: endpoint.into(), model_digest: digest.into(), generation: 1 }
    }

    fn ready(name: &'static str) -> impl Fn(&str) -> Progress<&'static str> {
        move |_| Progress::Ready(Arc::new(name))
    }

    fn failed(_: &str) -> Progress<&'static str> {
        Progress::Failed("one flipped byte".into())
    }

    #[test]
    fn a_node_without_orders_is_not_ready_and_one_with_nothing_to_serve_is() {
        assert!(!Names::default().is_ready());
        assert!(Names::default().next(&[], ready("a")).is_ready());
    }

    #[test]
    fn a_failed_model_leaves_the_one_before_serving() {
        let first = Names::default().next(&[order("bears", "1")], ready("old"));
        let second = first.next(&[order("bears", "2")], failed);
        assert_eq!(second.find(None).unwrap(), ("bears", &Arc::new("old")));
        assert!(second.is_ready());
        let third = second.next(&[order("bears", "3")], |_| Progress::Loading(None));
        assert_eq!(**third.serving("bears").unwrap(), "old");
        let last = third.next(&[order("bears", "3")], ready("new"));
        assert_eq!(**last.serving("bears").unwrap(), "new");
    }

    #[test]
    fn what_is_not_listed_is_gone() {
        let both = Names::default().next(&[order("bears", "1"), order("cats", "1")], ready("a"));
        assert!(both.find(Some("bears")).is_ok() && both.find(Some("cats")).is_ok());
        let one = both.next(&[order("cats", "1")], ready("a"));
        let missing = one.find(Some("bears")).unwrap_err().to_string();
        assert!(missing.contains("cats"), "{missing}");
    }

    #[test]
    fn an_endpoint_must_be_named_where_there_are_several() {
        let both = Names::default().next(&[order("bears", "1"), order("cats", "1")], ready("a"));
        assert!(both.find(None).unwrap_err().to_string().contains("bears, cats"));
        assert!(both.find(Some("cats")).is_ok());
        assert!(matches!(Names::default().find(None), Err(ServeError::NothingServed)));
    }

    #[test]
    fn an_endpoint_that_never_had_a_model_says_why() {
        let catalog = Names::default().next(&[order("bears", "1")], failed);
        assert!(!catalog.is_ready());
        assert!(catalog.find(None).unwrap_err().to_string().contains("one flipped byte"));
    }

    #[test]
    fn names_that_are_no_endpoint_are_not_counted_by() {
        let catalog = Names::default().next(&[order("bears", "1")], ready("a"));
        assert_eq!(catalog.label(Some("bears")), "bears");
        assert_eq!(catalog.label(Some("made-up")), "");
        assert_eq!(catalog.label(None), "bears");
    }
}
