//! State dicts of PyTorch become weights to start from.

use std::path::Path;
use std::process::{Command, Output};

use safetensors::SafeTensors;
use ursa_learner::{Architecture, Device, Network};
use ursa_storage::Digest;

/// Writes torchvision's ResNet-18 as `torch.save` does today and did before 1.6, and what its tensors are.
const SCRIPT: &str = "
import json, sys, hashlib, torch, torchvision
torch.manual_seed(3)
state = torchvision.models.resnet18(weights=None).state_dict()
torch.save(state, sys.argv[1] + '/zip.pth')
torch.save(state, sys.argv[1] + '/legacy.pth', _use_new_zipfile_serialization=False)
torch.save({'model': state, 'epoch': 3}, sys.argv[1] + '/checkpoint.pth')
print(json.dumps({name: [list(tensor.shape), hashlib.sha256(tensor.numpy().tobytes()).hexdigest()]
                  for name, tensor in state.items()}))
";

fn convert(from: &Path, to: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ursa-trainer")).arg("convert").args([from, to]).output().unwrap()
}

#[test]
fn what_torch_saved_is_loaded_after_our_own_conversion() {
    let python = match ursa_python::pytorch() {
        Ok(python) => python,
        Err(reason) => {
            eprintln!("skipped, no file of PyTorch's was converted: {reason}");
            return;
        }
    };
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(python).args(["-c", SCRIPT]).arg(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let expected: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    for name in ["zip", "legacy"] {
        let to = folder.path().join(format!("{name}.safetensors"));
        let output = convert(&folder.path().join(format!("{name}.pth")), &to);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let bytes = std::fs::read(&to).unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(said.trim(), format!("pretrained: {{location: {}, sha256: {}}}", to.display(), Digest::of(&bytes)));
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(tensors.len(), expected.len());
        for (name, tensor) in tensors.tensors() {
            let found = serde_json::json!([tensor.shape(), Digest::of(tensor.data()).to_string()]);
            assert_eq!(found, expected[&name], "{name}");
        }
        Network::new(Architecture::ResNet18, 3, 1, Device::Cpu).load_body(&bytes).unwrap();
    }
    let output = convert(&folder.path().join("checkpoint.pth"), &folder.path().join("none.safetensors"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("save `model.state_dict()` alone"), "{said}");
}

#[test]
fn a_pickle_that_would_run_something_is_refused_and_nothing_is_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("evil.pth"), folder.path().join("out.safetensors"));
    let trace = folder.path().join("ran");
    // What PyTorch wrote before 1.6, with a call in the place of the state dict.
    let mut bytes = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}q\x00.".to_vec();
    bytes.extend(format!("cos\nsystem\n(S'touch {}'\ntR.", trace.display()).bytes());
    std::fs::write(&from, bytes).unwrap();
    let output = convert(&from, &to);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("names os.system"), "{said}");
    assert!(!trace.exists() && !to.exists());

    std::fs::write(&to, "mine").unwrap();
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/src/convert/examples/zip.pth");
    assert!(!convert(Path::new(example), &to).status.success());
    assert_eq!(std::fs::read_to_string(&to).unwrap(), "mine");
}
