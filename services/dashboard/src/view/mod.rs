//! What pages are made of. Nothing here asks the coordinator anything: values in, markup out.

pub(crate) mod confusion;
pub(crate) mod layout;
pub(crate) mod parts;
pub(crate) mod plot;
pub(crate) mod text;
