//! `NodeService`.

use tonic::{Request, Response, Status, Streaming};
use ursa_proto::v1;
use ursa_proto::v1::node_service_server::NodeService;

use super::session::{Orders, Prompt, serve};
use super::{Answer, check_protocol, id, pages, refuse};
use crate::context::Context;
use crate::store::Topic;

/// See the module.
#[derive(Debug)]
pub(crate) struct NodeApi(pub Context);

#[tonic::async_trait]
impl NodeService for NodeApi {
    type SessionStream = Orders<v1::NodeOrders>;

    async fn session(&self, request: Request<Streaming<v1::NodeReport>>) -> Answer<Self::SessionStream> {
        let context = self.0.clone();
        let wake = context.hub.subscribe(Topic::Endpoints);
        let orders = serve(request.into_inner(), wake, move |report, prompt| {
            let context = context.clone();
            async move { answer(&context, report, prompt).await }
        });
        Ok(Response::new(orders))
    }

    async fn list_nodes(&self, request: Request<v1::ListNodesRequest>) -> Answer<v1::ListNodesResponse> {
        let (size, after) = pages::read(request.into_inner().page, pages::name_and_id)?;
        let patience = self.0.config.patience();
        let mut nodes = self.0.store.nodes(after.as_ref(), size as i64 + 1, patience).await.map_err(refuse)?;
        let next_page_token = pages::next(&mut nodes, size, |node| pages::of_name_and_id(&node.name, &node.id));
        Ok(Response::new(v1::ListNodesResponse { nodes, next_page_token }))
    }
}

/// Notes what the node says and tells it everything it shall serve.
async fn answer(context: &Context, report: v1::NodeReport, prompt: Prompt) -> Result<v1::NodeOrders, Status> {
    check_protocol("node", report.protocol_version)?;
    let node = id("node_id", &report.node_id)?;
    if prompt == Prompt::Report {
        context.store.see_node(node, &report).await.map_err(refuse)?;
    }
    let endpoints = context.store.endpoint_orders().await.map_err(refuse)?;
    Ok(v1::NodeOrders { endpoints, report_interval_ms: context.config.report_interval.as_millis() as u32 })
}
