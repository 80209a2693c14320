//! Which nodes to ask, and in which order.

use anyhow::bail;
use ursa_proto::v1;

/// Those that answer for the endpoint, with the wanted model first: while a new model loads, the old one goes on.
///
/// # Errors
/// When there is none, with what each node says.
pub(super) fn serving(endpoint: &v1::Endpoint) -> anyhow::Result<Vec<v1::Assignment>> {
    let mut serving: Vec<_> =
        endpoint.assignments.iter().filter(|node| !node.serving_digest.is_empty()).cloned().collect();
    if serving.is_empty() {
        bail!("no node serves {} yet: {}", endpoint.name, reasons(&endpoint.assignments));
    }
    serving.sort_by_key(|node| (node.serving_digest != endpoint.model_digest, node.state != "ready"));
    Ok(serving)
}

/// The same nodes, beginning with another one of the best for every picture, so that all of them work.
pub(super) fn turned(nodes: &[v1::Assignment], place: usize) -> Vec<v1::Assignment> {
    let best = nodes.iter().filter(|node| node.serving_digest == nodes[0].serving_digest).count();
    let mut turned = nodes.to_vec();
    turned[..best].rotate_left(place % best);
    turned
}

fn reasons(nodes: &[v1::Assignment]) -> String {
    if nodes.is_empty() {
        return "no node is online; `ursa nodes list` shows those there were".to_owned();
    }
    let reason = |node: &v1::Assignment| match node.error.as_str() {
        "" => format!("{} is {}", node.node_name, node.state),
        error => format!("{} is {} ({error})", node.node_name, node.state),
    };
    nodes.iter().map(reason).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, serving: &str, state: &str) -> v1::Assignment {
        v1::Assignment {
            node_name: name.into(),
            serving_digest: serving.into(),
            state: state.into(),
            ..v1::Assignment::default()
        }
    }

    fn endpoint(assignments: Vec<v1::Assignment>) -> v1::Endpoint {
        v1::Endpoint { name: "bears".into(), model_digest: "new".into(), assignments, ..v1::Endpoint::default() }
    }

    fn names(nodes: &[v1::Assignment]) -> Vec<&str> {
        nodes.iter().map(|node| node.node_name.as_str()).collect()
    }

    #[test]
    fn the_wanted_model_comes_first_and_what_serves_nothing_is_not_asked() {
        let nodes = vec![node("a", "", "loading"), node("b", "old", "loading"), node("c", "new", "ready")];
        assert_eq!(names(&serving(&endpoint(nodes)).unwrap()), ["c", "b"]);
    }

    #[test]
    fn pictures_are_spread_over_the_best_nodes_only() {
        let nodes = [node("a", "new", "ready"), node("b", "new", "ready"), node("c", "old", "loading")];
        assert_eq!(names(&turned(&nodes, 0)), ["a", "b", "c"]);
        assert_eq!(names(&turned(&nodes, 3)), ["b", "a", "c"]);
    }

    #[test]
    fn an_endpoint_that_nobody_serves_says_why() {
        let mut failed = node("b", "", "failed");
        failed.error = "the digest is wrong".into();
        let refused = serving(&endpoint(vec![node("a", "", "loading"), failed])).unwrap_err().to_string();
        assert_eq!(refused, "no node serves bears yet: a is loading, b is failed (the digest is wrong)");
        let refused = serving(&endpoint(Vec::new())).unwrap_err().to_string();
        assert!(refused.contains("no node is online"), "{refused}");
    }
}
