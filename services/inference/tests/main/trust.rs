//! A model is believed only after it proves itself, and what served before goes on serving.

use std::path::PathBuf;

use ursa_proto::v1::EndpointStatus;
use ursa_storage::package::ModelPackage;
use ursa_storage::{Digest, Key, ModelFile};

use crate::support::{Node, package, picture, reseal, tampered};

/// Orders `package` on a node that serves another model, and gives how it was refused.
async fn refused(node: &mut Node, old: &str, package: &ModelPackage) -> EndpointStatus {
    let digest = node.setup.store(package).await;
    refused_digest(node, old, &digest).await
}

async fn refused_digest(node: &mut Node, old: &str, digest: &str) -> EndpointStatus {
    node.setup.coordinator.order(&[("bears", digest)]);
    let status = node.setup.coordinator.state("bears", digest, "failed").await;
    assert_eq!(status.serving_digest, old);
    let (code, answer) = node.post("/classify", "image/png", picture(1)).await;
    assert_eq!((code, answer["model_digest"].as_str()), (200, Some(old)));
    assert_eq!(node.get("/v2/health/ready").await.0, 200, "the old model still answers");
    status
}

fn path(node: &Node, digest: &str, file: ModelFile) -> PathBuf {
    let key = Key::ModelFile { digest: digest.parse().unwrap(), file };
    node.setup.objects.path().join(key.to_string())
}

#[tokio::test]
async fn a_flipped_bit_anywhere_in_a_package_is_refused_and_the_old_model_goes_on() {
    let (mut node, old) = Node::serving(&[]).await;
    for (seed, file) in [(2, ModelFile::Weights), (3, ModelFile::Golden), (4, ModelFile::Manifest)] {
        let digest = node.setup.store(&package(seed)).await;
        let path = path(&node, &digest, file);
        let stored = std::fs::read(&path).unwrap().into();
        std::fs::write(&path, tampered(&stored)).unwrap();
        let status = refused_digest(&mut node, &old, &digest).await;
        assert!(status.error.contains("corrupt") && status.error.contains(file.as_str()), "{}", status.error);
        // Mended and ordered again, the model is served.
        std::fs::write(&path, &stored).unwrap();
        node.setup.coordinator.order(&[("bears", &digest)]);
        node.setup.coordinator.state("bears", &digest, "ready").await;
        node.setup.coordinator.order(&[("bears", &old)]);
        node.setup.coordinator.state("bears", &old, "ready").await;
    }
}

#[tokio::test]
async fn a_package_that_states_other_logits_than_its_model_gives_is_refused_naming_the_difference() {
    let (mut node, old) = Node::serving(&[]).await;
    let forged = reseal(&package(2), |_, golden| golden.logits[1][2] += 0.5);
    let status = refused(&mut node, &old, &forged).await;
    assert!(status.error.contains("largest difference is 0.5"), "{}", status.error);
    assert!(status.error.contains("example 1, class teddy"), "{}", status.error);
}

#[tokio::test]
async fn a_package_that_does_not_fit_this_node_is_refused_saying_why() {
    let (mut node, old) = Node::serving(&[]).await;
    let honest = package(2);
    let unknown = reseal(&honest, |manifest, _| manifest.architecture = "vit".into());
    assert!(refused(&mut node, &old, &unknown).await.error.contains("architecture \"vit\""));
    let grown = reseal(&honest, |manifest, golden| {
        manifest.classes.push("polar".into());
        golden.logits.iter_mut().for_each(|row| row.push(0.0));
    });
    assert!(refused(&mut node, &old, &grown).await.error.contains("head.fc2.weight"));
    let lenient = reseal(&honest, |manifest, _| manifest.golden.tolerance = 100.0);
    assert!(refused(&mut node, &old, &lenient).await.error.contains("tolerance of 100"));
    let unproved = reseal(&honest, |_, golden| golden.images[0] = b"no picture".to_vec());
    assert!(refused(&mut node, &old, &unproved).await.error.contains("golden example 0"));
}

#[tokio::test]
async fn a_model_that_is_not_in_the_store_is_refused_naming_the_object() {
    let (mut node, old) = Node::serving(&[]).await;
    let nowhere = Digest::of(b"nowhere").to_string();
    let status = refused_digest(&mut node, &old, &nowhere).await;
    assert!(status.error.contains(&nowhere) && status.error.contains("missing"), "{}", status.error);
    let status = refused_digest(&mut node, &old, "../../etc/passwd").await;
    assert!(status.error.contains("not a SHA-256"), "{}", status.error);
}

#[tokio::test]
async fn a_store_that_cannot_be_read_is_tried_again_until_it_can() {
    let (mut node, old) = Node::serving(&[]).await;
    let digest = node.setup.store(&package(2)).await;
    // A link to itself: there, but not readable.
    let path = path(&node, &digest, ModelFile::Weights);
    let stored = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(&path, &path).unwrap();
    node.setup.coordinator.order(&[("bears", &digest)]);
    let waiting = |report: &ursa_proto::v1::NodeReport| {
        report.endpoints.iter().any(|status| status.state == "loading" && !status.error.is_empty())
    };
    let report = node.setup.coordinator.report("what it waits for", waiting).await;
    assert_eq!(report.endpoints[0].serving_digest, old);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, stored).unwrap();
    node.setup.coordinator.state("bears", &digest, "ready").await;
}
