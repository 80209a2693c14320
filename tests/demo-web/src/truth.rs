//! What must become of each listed URL.

use crate::{Class, Kind};

/// What must become of a URL for a client with two retries, a patience of 2 to 20 seconds, room for 32 MiB a body, and
/// the right to reach this web and no other private address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A usable picture.
    Kept,
    /// Not fetched; the class of `ursa-fetch`'s error.
    Failed(&'static str),
    /// Fetched and refused; the name of `ursa-vision`'s reason.
    Refused(&'static str),
    /// Fetched; of it and the listed URL named here exactly one is kept, the other is refused as its duplicate.
    CopyOf(String),
}

/// A URL of a list and the truth about it.
#[derive(Debug, Clone)]
pub struct ListedPicture {
    /// The class in whose list it stands.
    pub class: Class,
    /// As it stands in the list; not always a URL.
    pub url: String,
    /// What is odd about it.
    pub kind: Kind,
    /// What must become of it.
    pub outcome: Outcome,
    /// The kind of bear in its picture; `None` where no picture can be had.
    pub shows: Option<Class>,
}

impl ListedPicture {
    /// Whether it shows another bear than its list says.
    pub fn is_wrongly_labelled(&self) -> bool {
        self.shows.is_some_and(|shown| shown != self.class)
    }
}
