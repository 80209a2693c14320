//! The graph as a reader of the file sees it.

use std::collections::HashSet;

use prost::Message as _;
use tch::nn::VarStore;
use tch::vision::resnet;

use super::*;
use crate::LearnError;
use crate::onnx::proto::{GraphProto, ModelProto, ValueInfoProto};

fn read(bytes: &[u8]) -> ModelProto {
    ModelProto::decode(bytes).unwrap()
}

fn blank(architecture: Architecture, kind: HeadKind) -> Network {
    Network::with_head(architecture, 3, HeadSpec { kind, dropout: 0.5 }, 1, Device::Cpu)
}

/// Every row of the table with every head.
fn each(check: impl Fn(&Network, &GraphProto)) {
    for &architecture in Architecture::ALL {
        for kind in HeadKind::ALL {
            let network = blank(architecture, kind);
            check(&network, &read(&exported(&network)).graph.unwrap());
        }
    }
}

fn operators(graph: &GraphProto, operator: &str) -> usize {
    graph.node.iter().filter(|node| node.op_type == operator).count()
}

fn shape(value: &ValueInfoProto) -> Vec<String> {
    let tensor = value.r#type.as_ref().and_then(|kind| kind.tensor_type.as_ref()).unwrap();
    let sides = tensor.shape.as_ref().unwrap().dim.iter();
    sides.map(|side| side.dim_param.clone().or(side.dim_value.map(|value| value.to_string())).unwrap()).collect()
}

#[test]
fn every_value_is_defined_before_it_is_used_and_once() {
    each(|network, graph| {
        let mut defined: HashSet<&str> = graph.input.iter().map(|input| input.name.as_str()).collect();
        for tensor in &graph.initializer {
            assert!(defined.insert(&tensor.name), "{} is there twice", tensor.name);
        }
        for node in &graph.node {
            for input in &node.input {
                assert!(defined.contains(input.as_str()), "{network:?}: {} needs {input} too early", node.name);
            }
            assert!(node.output.iter().all(|output| defined.insert(output)), "{} gives anew what is there", node.name);
        }
        assert!(graph.output.iter().all(|output| defined.contains(output.name.as_str())));
    });
}

#[test]
fn every_value_but_the_logits_is_used() {
    each(|_, graph| {
        let used: HashSet<&String> = graph.node.iter().flat_map(|node| &node.input).collect();
        let given = graph.node.iter().flat_map(|node| &node.output).filter(|output| *output != "logits");
        let tensors = graph.initializer.iter().map(|tensor| &tensor.name);
        let inputs = graph.input.iter().map(|input| &input.name);
        for value in given.chain(tensors).chain(inputs) {
            assert!(used.contains(value), "nobody uses {value}");
        }
    });
}

#[test]
fn tensors_are_those_of_the_network_under_torchvisions_names() {
    each(|network, graph| {
        let found: Vec<_> = graph.initializer.iter().map(|tensor| (tensor.name.clone(), tensor.dims.clone())).collect();
        let expected: Vec<_> = network.named().into_iter().map(|(name, tensor)| (name, tensor.size())).collect();
        assert_eq!(found, expected);
        let numbers = |tensor: &crate::onnx::proto::TensorProto| tensor.dims.iter().product::<i64>() as usize;
        assert!(graph.initializer.iter().all(|tensor| tensor.raw_data.len() == 4 * numbers(tensor)));
        // tch's own networks have torchvision's names.
        let store = VarStore::new(Device::Cpu);
        match network.architecture().as_str() {
            "resnet18" => drop(resnet::resnet18_no_final_layer(&store.root())),
            "resnet34" => drop(resnet::resnet34_no_final_layer(&store.root())),
            _ => drop(resnet::resnet50_no_final_layer(&store.root())),
        }
        let mut theirs: Vec<_> = store.variables().into_iter().map(|(name, tensor)| (name, tensor.size())).collect();
        let body = found.iter().filter_map(|(name, dims)| Some((name.strip_prefix("body.")?.to_owned(), dims.clone())));
        let mut ours: Vec<_> = body.collect();
        theirs.sort();
        ours.sort();
        assert_eq!(ours, theirs);
    });
}

#[test]
fn there_are_as_many_nodes_as_the_table_says() {
    let count = |architecture, operator| {
        operators(&read(&exported(&blank(architecture, HeadKind::FastaiV1))).graph.unwrap(), operator)
    };
    for (architecture, convolutions, blocks, relus) in [
        (Architecture::ResNet18, 20, 8, 17),
        (Architecture::ResNet34, 36, 16, 33),
        (Architecture::ResNet50, 53, 16, 49),
    ] {
        assert_eq!(count(architecture, "Conv"), convolutions);
        assert_eq!(count(architecture, "BatchNormalization"), convolutions + 2);
        assert_eq!(count(architecture, "Add"), blocks);
        assert_eq!(count(architecture, "Relu"), relus + 1);
        assert_eq!(count(architecture, "Gemm"), 2);
    }
}

#[test]
fn heads_differ_in_their_biases_and_pool_the_maximum_first() {
    for (kind, inputs) in [(HeadKind::FastaiV1, 3), (HeadKind::FastaiV2, 2)] {
        let graph = read(&exported(&blank(Architecture::ResNet18, kind))).graph.unwrap();
        let linear = graph.node.iter().filter(|node| node.op_type == "Gemm");
        assert!(linear.map(|node| node.input.len()).all(|count| count == inputs));
        let concat = graph.node.iter().find(|node| node.op_type == "Concat").unwrap();
        let made_by =
            |value: &String| graph.node.iter().find(|node| node.output.contains(value)).unwrap().op_type.clone();
        assert_eq!(concat.input.iter().map(made_by).collect::<Vec<_>>(), ["GlobalMaxPool", "GlobalAveragePool"]);
    }
}

#[test]
fn a_reader_learns_what_goes_in_and_what_comes_out() {
    let model = read(&exported(&blank(Architecture::ResNet50, HeadKind::FastaiV2)));
    assert_eq!((model.ir_version, model.opset_import[0].version), (8, 17));
    let graph = model.graph.unwrap();
    assert_eq!(graph.name, "bears");
    assert_eq!(
        (graph.input[0].name.as_str(), shape(&graph.input[0])),
        ("image", ["batch", "3", "64", "64"].map(String::from).to_vec())
    );
    assert_eq!(
        (graph.output[0].name.as_str(), shape(&graph.output[0])),
        ("logits", ["batch", "3"].map(String::from).to_vec())
    );
    let metadata: Vec<(&str, &str)> = model.metadata_props.iter().map(|entry| (&*entry.key, &*entry.value)).collect();
    assert_eq!(
        metadata,
        [
            ("name", "bears"),
            ("architecture", "resnet50"),
            ("head", "fastai-v2"),
            ("classes", r#"["black","grizzly","teddy \"bear\""]"#),
            ("image_size", "64"),
            ("mean", "[0.485, 0.456, 0.406]"),
            ("std", "[0.229, 0.224, 0.225]"),
        ]
    );
}

#[test]
fn equal_networks_give_equal_bytes() {
    let network = blank(Architecture::ResNet18, HeadKind::FastaiV1);
    let bytes = exported(&network);
    assert_eq!(bytes, exported(&network.duplicate()));
    let moved: Vec<_> = network.named().into_iter().map(|(name, tensor)| (name, tensor + 1.0)).collect();
    network.copy_from(&moved);
    assert_ne!(bytes, exported(&network));
}

#[test]
fn names_that_do_not_fit_the_logits_are_refused() {
    let network = blank(Architecture::ResNet18, HeadKind::FastaiV1);
    let description =
        Description { name: "bears", classes: &["teddy".to_owned()], preprocessing: &Preprocessing::imagenet(SIDE) };
    assert_eq!(export(&network, &description).unwrap_err(), LearnError::ClassNames { names: 1, classes: 3 });
}
