//! What a model does to which picture (lesson 2, 35–44): the answers that `ursa_domain::interpret` counts and orders, and the
//! places in a picture they rest on.

mod explanation;
mod heatmap;
mod predictions;

pub use explanation::Explanation;
pub use heatmap::Heatmap;
pub use predictions::predictions;
pub use ursa_domain::interpret::*;
