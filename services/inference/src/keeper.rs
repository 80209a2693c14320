//! Keeps the catalog as the coordinator ordered it: loads what is missing, retries while the store is away, forgets what
//! is not wanted. One task owns all of this; everybody else only reads the catalog.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use ursa_proto::v1::EndpointOrder;

use crate::catalog::{Catalog, Progress};
use crate::model::{LoadError, Model, Workshop};

const FIRST_RETRY: Duration = Duration::from_millis(250);
const LAST_RETRY: Duration = Duration::from_secs(10);

/// What the coordinator ordered last; `None` before the first order.
pub(crate) type Orders = Option<Vec<EndpointOrder>>;

/// A model and how far it is.
#[derive(Debug)]
struct Slot {
    progress: Progress<Model>,
    loading: Option<AbortHandle>,
    /// Orders (endpoint, generation) that have been tried: a new generation is another chance for a failed model.
    tried: BTreeSet<(String, u64)>,
}

#[derive(Debug)]
struct Outcome {
    digest: String,
    tries: u32,
    result: Result<Model, LoadError>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Keeper {
    workshop: Workshop,
    catalog: watch::Sender<Catalog>,
    wanted: Vec<EndpointOrder>,
    slots: HashMap<String, Slot>,
    loads: JoinSet<Outcome>,
}

impl Keeper {
    pub(crate) fn new(workshop: Workshop, catalog: watch::Sender<Catalog>) -> Self {
        Self { workshop, catalog, wanted: Vec::new(), slots: HashMap::new(), loads: JoinSet::new() }
    }

    /// Works until stopped.
    pub(crate) async fn run(mut self, mut orders: watch::Receiver<Orders>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                changed = orders.changed() => match changed {
                    Ok(()) => {
                        let latest = orders.borrow_and_update().clone();
                        self.obey(latest.unwrap_or_default());
                    }
                    Err(_) => return,
                },
                Some(ended) = self.loads.join_next_with_id() => self.note(ended),
            }
            self.publish();
        }
    }

    /// Starts loading what is new and gives up what nobody wants any more.
    fn obey(&mut self, orders: Vec<EndpointOrder>) {
        self.wanted = orders;
        for order in &self.wanted {
            let occasion = (order.endpoint.clone(), order.generation);
            let slot = self.slots.entry(order.model_digest.clone()).or_insert_with(|| Slot {
                progress: Progress::Failed(String::new()),
                loading: None,
                tried: BTreeSet::new(),
            });
            let untried = slot.tried.insert(occasion);
            if untried && matches!(slot.progress, Progress::Failed(_)) {
                tracing::info!(endpoint = order.endpoint, model = order.model_digest, "loading a model");
                slot.progress = Progress::Loading(None);
                slot.loading = Some(self.loads.spawn(load(self.workshop.clone(), order.model_digest.clone(), 0)));
            }
        }
        self.slots.retain(|digest, slot| {
            let wanted = self.wanted.iter().any(|order| order.model_digest == *digest);
            if let (false, Some(loading)) = (wanted, &slot.loading) {
                loading.abort();
            }
            wanted
        });
    }

    /// Takes in how a try to load ended.
    fn note(&mut self, ended: Result<(tokio::task::Id, Outcome), JoinError>) {
        let Outcome { digest, tries, result } = match ended {
            Ok((_, outcome)) => outcome,
            Err(error) if error.is_cancelled() => return,
            Err(error) => return self.note_panic(&error),
        };
        // Without a slot nobody wants the model any more.
        let Some(slot) = self.slots.get_mut(&digest) else { return };
        slot.loading = None;
        slot.progress = match result {
            Ok(model) => {
                tracing::info!(model = digest, "the model has proved itself and is served");
                Progress::Ready(Arc::new(model))
            }
            Err(error) if error.is_retryable() => {
                if tries == 0 {
                    tracing::warn!(model = digest, %error, "the model cannot be loaded yet; trying again");
                }
                slot.loading = Some(self.loads.spawn(load(self.workshop.clone(), digest, tries + 1)));
                Progress::Loading(Some(error.to_string()))
            }
            Err(error) => {
                tracing::error!(model = digest, %error, "the model is refused");
                Progress::Failed(error.to_string())
            }
        };
    }

    fn note_panic(&mut self, error: &JoinError) {
        let of_task = |slot: &&mut Slot| slot.loading.as_ref().is_some_and(|loading| loading.id() == error.id());
        if let Some(slot) = self.slots.values_mut().find(of_task) {
            slot.loading = None;
            slot.progress = Progress::Failed("loading the model panicked".to_owned());
        }
    }

    fn publish(&self) {
        let progress =
            |digest: &str| self.slots.get(digest).map_or(Progress::Loading(None), |slot| slot.progress.clone());
        self.catalog.send_modify(|catalog| *catalog = catalog.next(&self.wanted, progress));
    }
}

/// One try, after the wait that its number asks for.
async fn load(workshop: Workshop, digest: String, tries: u32) -> Outcome {
    if tries > 0 {
        tokio::time::sleep((FIRST_RETRY * 2_u32.saturating_pow((tries - 1).min(8))).min(LAST_RETRY)).await;
    }
    let result = workshop.load(&digest).await;
    Outcome { digest, tries, result }
}
