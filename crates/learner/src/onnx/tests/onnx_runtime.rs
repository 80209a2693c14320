//! ONNX Runtime, from Python, as the judge of what is exported.

use std::path::Path;

use ursa_python::Packages;

use super::*;
use crate::tensor_file::bytes_of;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/onnx/tests/onnx_runtime.py");

#[test]
fn onnx_runtime_gives_the_logits_of_the_network() {
    let packages = match Packages::install(&["onnxruntime", "numpy"]) {
        Ok(packages) => packages,
        Err(reason) => {
            eprintln!("skipped, nothing was compared with ONNX Runtime: {reason}");
            return;
        }
    };
    for (architecture, kind) in
        [(Architecture::ResNet18, HeadKind::FastaiV1), (Architecture::ResNet50, HeadKind::FastaiV2)]
    {
        let network = network(architecture, kind);
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("model.onnx");
        std::fs::write(&model, exported(&network)).unwrap();
        for count in [1, 5] {
            let images = images(count, 100);
            let expected = no_grad(|| network.forward(&images, false, Kind::Float));
            let found = run(&packages, &model, &images);
            assert_eq!(found.size(), expected.size(), "{architecture} with {kind:?}");
            let (scale, difference) = (largest(&expected), largest(&(found - &expected)));
            assert!(scale > 0.1 && difference < 1e-4, "{architecture} with {kind:?}: {difference} off {scale}");
        }
    }
}

fn largest(tensor: &Tensor) -> f64 {
    tensor.abs().max().double_value(&[])
}

/// The logits of `images` from the model in that file.
fn run(packages: &Packages, model: &Path, images: &Tensor) -> Tensor {
    let input = model.with_extension("images");
    std::fs::write(&input, bytes_of(images)).unwrap();
    let output = packages.python().arg(SCRIPT).arg(model).arg(&input).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rows: Vec<Vec<f32>> = serde_json::from_slice(&output.stdout).unwrap();
    let classes = rows[0].len() as i64;
    Tensor::from_slice(&rows.concat()).view([-1, classes])
}
