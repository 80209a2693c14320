//! Long lists, page by page.

use clap::Args;
use ursa_proto::{ApiError, v1};

use crate::say;

/// The largest page there is.
const LARGEST: u32 = 1000;

/// How much of a long list is wanted.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Limit {
    /// At most this many rows.
    #[arg(long, short = 'L', default_value_t = LARGEST, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
}

/// The beginning of a list, or all of it.
#[derive(Debug)]
pub(crate) struct Walked<T> {
    pub rows: Vec<T>,
    /// For what comes next; empty at the end.
    pub next_page_token: String,
}

/// One page, for lists that are not walked.
#[expect(clippy::unnecessary_wraps, reason = "it is what requests take")]
pub(crate) fn first_page() -> Option<v1::PageRequest> {
    Some(v1::PageRequest { size: LARGEST, token: String::new() })
}

impl Limit {
    /// Walks a list until its end or the limit, and says where it was the limit.
    pub(crate) async fn walk<T>(
        self,
        ask: impl AsyncFnMut(v1::PageRequest) -> Result<(Vec<T>, String), ApiError>,
    ) -> Result<Walked<T>, ApiError> {
        let walked = walk(self.limit, ask).await?;
        if !walked.next_page_token.is_empty() {
            say(&format!("there are more than these {}; narrow it down, or ask for more with --limit", self.limit));
        }
        Ok(walked)
    }
}

/// Walks a list to its end.
pub(crate) async fn all<T>(
    ask: impl AsyncFnMut(v1::PageRequest) -> Result<(Vec<T>, String), ApiError>,
) -> Result<Vec<T>, ApiError> {
    Ok(walk(u32::MAX, ask).await?.rows)
}

async fn walk<T>(
    limit: u32,
    mut ask: impl AsyncFnMut(v1::PageRequest) -> Result<(Vec<T>, String), ApiError>,
) -> Result<Walked<T>, ApiError> {
    let mut walked = Walked { rows: Vec::new(), next_page_token: String::new() };
    loop {
        let left = limit - walked.rows.len() as u32;
        let page = v1::PageRequest { size: left.min(LARGEST), token: walked.next_page_token };
        let (rows, next_page_token) = ask(page).await?;
        walked.rows.extend(rows);
        walked.next_page_token = next_page_token;
        if walked.next_page_token.is_empty() || walked.rows.len() as u32 >= limit {
            return Ok(walked);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list of `length` numbers; the token is the first number of the page.
    fn page(length: u32, page: &v1::PageRequest) -> (Vec<u32>, String) {
        let from: u32 = if page.token.is_empty() { 0 } else { page.token.parse().unwrap() };
        let until = (from + page.size).min(length);
        ((from..until).collect(), if until < length { until.to_string() } else { String::new() })
    }

    #[tokio::test]
    async fn a_walk_ends_at_the_limit_or_at_the_end_and_misses_nothing() {
        for (length, limit, rows, next) in [(2500, 1500, 1500, "1500"), (2500, 5000, 2500, ""), (0, 10, 0, "")] {
            let walked = walk(limit, async |request| Ok(page(length, &request))).await.unwrap();
            assert_eq!(walked.rows, (0..rows).collect::<Vec<_>>());
            assert_eq!(walked.next_page_token, next);
        }
        assert_eq!(all(async |request| Ok(page(2001, &request))).await.unwrap().len(), 2001);
    }
}
