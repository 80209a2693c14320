//! How much of a long list a command prints.

use std::future::Future;

use clap::Args;
use ursa_client::pages::{self, Answer, Page};
use ursa_proto::{ApiError, v1};

use crate::say;

/// How much of a long list is wanted.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Limit {
    /// At most this many rows.
    #[arg(long, short = 'L', default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

impl Limit {
    /// Walks a list, of which `ask` asks for a page, until its end or the limit, and says where it was the limit.
    pub(crate) async fn walk<L, Fut>(self, ask: impl FnMut(Option<v1::PageRequest>) -> Fut) -> Result<L, ApiError>
    where
        L: Page,
        Fut: Future<Output = Answer<L>>,
    {
        let mut list = pages::first(self.limit, ask).await?;
        if !list.next_page_token().is_empty() {
            say(&format!("there are more than these {}; narrow it down, or ask for more with --limit", self.limit));
        }
        Ok(list)
    }
}
