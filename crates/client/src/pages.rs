//! Long lists, page by page.

use std::future::Future;

use tonic::{Response, Status};
use ursa_proto::{ApiError, v1};

/// The largest page that the coordinator gives.
const LARGEST: u32 = 1000;

/// What a service answers with.
pub type Answer<T> = Result<Response<T>, Status>;

/// An answer that is a part of a long list.
pub trait Page: Default {
    /// What is listed.
    type Row;

    /// The rows of this part.
    fn rows(&mut self) -> &mut Vec<Self::Row>;

    /// Asks for the part after this one; empty on the last.
    fn next_page_token(&mut self) -> &mut String;
}

macro_rules! pages {
    ($($list:ident: $rows:ident of $row:ident,)+) => {$(
        impl Page for v1::$list {
            type Row = v1::$row;

            fn rows(&mut self) -> &mut Vec<v1::$row> {
                &mut self.$rows
            }

            fn next_page_token(&mut self) -> &mut String {
                &mut self.next_page_token
            }
        }
    )+};
}

pages! {
    ListDatasetsResponse: datasets of Dataset,
    ListDeliveriesResponse: deliveries of Delivery,
    ListEndpointsResponse: endpoints of Endpoint,
    ListImagesResponse: images of Image,
    ListJobsResponse: jobs of Job,
    ListModelsResponse: models of Model,
    ListNodesResponse: nodes of Node,
    ListPipelinesResponse: pipelines of Pipeline,
    ListProjectsResponse: projects of Project,
    ListQueuesResponse: queues of Queue,
    ListSchedulesResponse: schedules of Schedule,
    ListSnapshotsResponse: snapshots of Snapshot,
    ListSourcesResponse: sources of Source,
    ListTasksResponse: tasks of Task,
    ListWebhooksResponse: webhooks of Webhook,
    ListWorkersResponse: workers of Worker,
}

/// All of a list. `ask` asks for one page of it.
///
/// # Errors
/// The coordinator's, of any page.
pub async fn all<L, Fut>(ask: impl FnMut(Option<v1::PageRequest>) -> Fut) -> Result<Vec<L::Row>, ApiError>
where
    L: Page,
    Fut: Future<Output = Answer<L>>,
{
    let mut list = first(u32::MAX, ask).await?;
    Ok(std::mem::take(list.rows()))
}

/// The first `limit` rows of a list as one answer, whose token is empty unless there are more. `ask` asks for one page of it.
///
/// # Errors
/// The coordinator's, of any page.
pub async fn first<L, Fut>(limit: u32, mut ask: impl FnMut(Option<v1::PageRequest>) -> Fut) -> Result<L, ApiError>
where
    L: Page,
    Fut: Future<Output = Answer<L>>,
{
    let mut list = L::default();
    loop {
        let left = limit - list.rows().len() as u32;
        let token = std::mem::take(list.next_page_token());
        let mut page = ask(Some(v1::PageRequest { size: left.min(LARGEST), token })).await?.into_inner();
        list.rows().append(page.rows());
        *list.next_page_token() = std::mem::take(page.next_page_token());
        if list.next_page_token().is_empty() || list.rows().len() as u32 >= limit {
            return Ok(list);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page of a list of `length` queues; the token is the number of its first.
    fn page(length: u32, page: Option<v1::PageRequest>) -> v1::ListQueuesResponse {
        let page = page.unwrap();
        let from: u32 = if page.token.is_empty() { 0 } else { page.token.parse().unwrap() };
        let until = (from + page.size).min(length);
        let queue = |number: u32| v1::Queue { kind: number.to_string(), ..v1::Queue::default() };
        v1::ListQueuesResponse {
            queues: (from..until).map(queue).collect(),
            next_page_token: if until < length { until.to_string() } else { String::new() },
        }
    }

    fn numbers(queues: &[v1::Queue]) -> Vec<u32> {
        queues.iter().map(|queue| queue.kind.parse().unwrap()).collect()
    }

    #[tokio::test]
    async fn a_list_ends_at_the_limit_or_at_its_end_and_misses_nothing() {
        for (length, limit, rows, next) in [(2500, 1500, 1500, "1500"), (2500, 5000, 2500, ""), (0, 10, 0, "")] {
            let list = first(limit, async |part| Ok(Response::new(page(length, part)))).await.unwrap();
            assert_eq!(numbers(&list.queues), (0..rows).collect::<Vec<_>>());
            assert_eq!(list.next_page_token, next);
        }
        let queues = all(async |part| Ok(Response::new(page(2001, part)))).await.unwrap();
        assert_eq!(numbers(&queues), (0..2001).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_page_that_is_refused_is_the_end() {
        let refused = all::<v1::ListQueuesResponse, _>(async |part| {
            let page = page(2500, part);
            if page.next_page_token.is_empty() {
                return Err(ApiError::invalid("enough").into());
            }
            Ok(Response::new(page))
        });
        assert_eq!(refused.await.unwrap_err().message, "enough");
    }
}
