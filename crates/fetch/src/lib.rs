//! The guarded HTTP client: everything Ursa fetches, or sends, at a user's word goes through here.
//!
//! A name is resolved once, every address is checked, and the connection goes to a checked address and no other; redirects
//! are followed by hand, each hop checked like the first, or not at all. Bodies are capped and the whole request has one
//! deadline.
//! Neither cookies, nor proxies from the environment, nor decompression.

mod address;
mod client;
mod error;
mod policy;
mod resolve;

pub use address::{BadNetwork, Network};
pub use client::{Fetched, Fetcher};
pub use error::{FetchError, FetchFailure};
pub use policy::FetchPolicy;
