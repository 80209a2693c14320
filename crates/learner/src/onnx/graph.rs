//! The nodes of a network, written down in the order in which it computes. Each node and what it gives share a name, but for
//! the last; weights go by their names in `model.safetensors`.

use super::proto::{AttributeProto, AttributeType, NodeProto};
use crate::network::{BlockOutline, EPSILON, HeadKind, LINEARS, NORMS, Outline, POOL, Shape};

/// Nodes so far.
#[derive(Debug, Default)]
pub(super) struct Nodes(Vec<NodeProto>);

impl Nodes {
    /// From `image`, f32 `[n, 3, s, s]`, to `logits`, f32 `[n, classes]`.
    pub(super) fn of(outline: &Outline, head: HeadKind, image: &str, logits: &str) -> Vec<NodeProto> {
        let mut nodes = Self::default();
        let features = nodes.body(outline, image);
        nodes.head(head, &features);
        if let Some(last) = nodes.0.last_mut() {
            last.output = vec![logits.to_owned()];
        }
        nodes.0
    }

    fn body(&mut self, outline: &Outline, image: &str) -> String {
        let stem = self.convolution(&outline.stem, image);
        let stem = self.add("Relu", "body.relu", &[&stem], vec![]);
        let pool = [("kernel_shape", POOL.kernel, 2), ("strides", POOL.stride, 2), ("pads", POOL.padding, 4)];
        let pool = pool.map(|(name, value, sides)| ints(name, value, sides)).to_vec();
        let pooled = self.add("MaxPool", "body.maxpool", &[&stem], pool);
        outline.blocks.iter().fold(pooled, |x, block| self.block(block, &x))
    }

    fn block(&mut self, block: &BlockOutline, x: &str) -> String {
        let name = &block.name;
        let around = block.around.as_ref().map_or_else(|| x.to_owned(), |around| self.convolution(around, x));
        let mut through = self.convolution(&block.through[0], x);
        for (index, shape) in block.through.iter().enumerate().skip(1) {
            through = self.add("Relu", &format!("{name}.relu{index}"), &[&through], vec![]);
            through = self.convolution(shape, &through);
        }
        let sum = self.add("Add", &format!("{name}.add"), &[&through, &around], vec![]);
        self.add("Relu", &format!("{name}.relu"), &[&sum], vec![])
    }

    /// As the network's head while it does not learn, so without dropout.
    fn head(&mut self, kind: HeadKind, features: &str) {
        let max = self.add("GlobalMaxPool", "head.max", &[features], vec![]);
        let average = self.add("GlobalAveragePool", "head.average", &[features], vec![]);
        let pooled = self.add("Concat", "head.concat", &[&max, &average], vec![int("axis", 1)]);
        let pooled = self.add("Flatten", "head.flatten", &[&pooled], vec![int("axis", 1)]);
        let pooled = self.normalisation(NORMS[0], &pooled);
        let hidden = self.linear(LINEARS[0], kind, &pooled);
        let hidden = self.add("Relu", "head.relu", &[&hidden], vec![]);
        let hidden = self.normalisation(NORMS[1], &hidden);
        self.linear(LINEARS[1], kind, &hidden);
    }

    /// With the normalisation that follows it.
    fn convolution(&mut self, shape: &Shape, x: &str) -> String {
        let attributes =
            [("kernel_shape", shape.kernel, 2), ("strides", shape.stride, 2), ("pads", shape.padding(), 4)];
        let attributes = attributes.map(|(name, value, sides)| ints(name, value, sides)).to_vec();
        let x = self.add("Conv", &shape.name, &[x, &format!("{}.weight", shape.name)], attributes);
        self.normalisation(&shape.norm, &x)
    }

    fn normalisation(&mut self, name: &str, x: &str) -> String {
        let tensors = ["weight", "bias", "running_mean", "running_var"].map(|tensor| format!("{name}.{tensor}"));
        let [weight, bias, mean, variance] = &tensors;
        self.add("BatchNormalization", name, &[x, weight, bias, mean, variance], vec![float("epsilon", EPSILON as f32)])
    }

    fn linear(&mut self, name: &str, kind: HeadKind, x: &str) -> String {
        let (weight, bias) = (format!("{name}.weight"), format!("{name}.bias"));
        let inputs = [x, &weight, &bias];
        self.add("Gemm", name, if kind.has_biases() { &inputs } else { &inputs[..2] }, vec![int("transB", 1)])
    }

    fn add(&mut self, operator: &str, name: &str, inputs: &[&str], attribute: Vec<AttributeProto>) -> String {
        self.0.push(NodeProto {
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            output: vec![name.to_owned()],
            name: name.to_owned(),
            op_type: operator.to_owned(),
            attribute,
        });
        name.to_owned()
    }
}

fn int(name: &str, value: i64) -> AttributeProto {
    let r#type = AttributeType::Int.into();
    AttributeProto { name: name.to_owned(), i: value, r#type, ..AttributeProto::default() }
}

/// The same number `count` times.
fn ints(name: &str, value: i64, count: usize) -> AttributeProto {
    let r#type = AttributeType::Ints.into();
    AttributeProto { name: name.to_owned(), ints: vec![value; count], r#type, ..AttributeProto::default() }
}

fn float(name: &str, value: f32) -> AttributeProto {
    let r#type = AttributeType::Float.into();
    AttributeProto { name: name.to_owned(), f: value, r#type, ..AttributeProto::default() }
}
