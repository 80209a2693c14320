//! Adam's step in one pass over plain memory, on as many threads as libtorch has: every number is read and written once,
//! where libtorch's operations, called one after another, would pass over it nine times.
//!
//! libtorch has such a step too (`_fused_adam_`), which tch does not reach. Elements do not depend on each other: the
//! result is the same on any number of threads.

use std::slice::{from_raw_parts, from_raw_parts_mut};

use tch::{Device, Kind, Tensor};

/// Elements that a thread takes at once.
const PIECE: usize = 1 << 16;

/// The numbers of one step for one parameter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Factors {
    /// What weight decay leaves: 1 − wd·lr.
    pub keep: f64,
    pub beta1: f64,
    pub beta2: f64,
    /// lr / (1 − beta1^t).
    pub rate: f64,
    /// 1 / √(1 − beta2^t).
    pub root: f64,
    pub epsilon: f64,
}

/// A parameter, its gradient and its moments, element by element.
pub(super) struct Lane<'a> {
    parameter: &'a mut [f32],
    gradient: Gradient<'a>,
    first: &'a mut [f32],
    second: &'a mut [f32],
    factors: Factors,
}

/// In the kind that it was computed in.
#[derive(Clone, Copy)]
enum Gradient<'a> {
    Float(&'a [f32]),
    /// The upper halves of float32.
    BFloat16(&'a [u16]),
}

/// Whether the tensors are on the CPU, float32 (the gradient perhaps bfloat16), and lie alike in memory: a [`Lane`] needs that.
pub(super) fn fits(parameter: &Tensor, gradient: &Tensor, first: &Tensor, second: &Tensor) -> bool {
    let floats = [parameter, first, second].iter().all(|tensor| tensor.kind() == Kind::Float);
    let known = matches!(gradient.kind(), Kind::Float | Kind::BFloat16);
    let of_parameter = layout(parameter);
    let alike = [gradient, first, second].into_iter().all(|tensor| layout(tensor) == of_parameter);
    floats && known && of_parameter.is_some() && alike
}

impl<'a> Lane<'a> {
    /// # Panics
    /// Where the tensors do not [fit](fits).
    pub(super) fn over(
        parameter: &'a mut Tensor,
        gradient: &'a Tensor,
        [first, second]: [&'a mut Tensor; 2],
        factors: Factors,
    ) -> Self {
        assert!(fits(parameter, gradient, first, second), "these tensors cannot be stepped through together");
        let [parameter, first, second] = [parameter, first, second].map(elements_mut);
        let gradient = Gradient::of(gradient);
        Self { parameter, gradient, first, second, factors }
    }

    fn pieces(self) -> impl Iterator<Item = Lane<'a>> {
        let factors = self.factors;
        let moments = self.first.chunks_mut(PIECE).zip(self.second.chunks_mut(PIECE));
        let values = self.parameter.chunks_mut(PIECE).zip(self.gradient.pieces());
        values.zip(moments).map(move |((parameter, gradient), (first, second))| Lane {
            parameter,
            gradient,
            first,
            second,
            factors,
        })
    }

    fn run(self) {
        match self.gradient {
            Gradient::Float(gradient) => self.step(gradient, |g| g),
            Gradient::BFloat16(gradient) => self.step(gradient, |g| f32::from_bits(u32::from(g) << 16)),
        }
    }

    fn step<T: Copy>(self, gradient: &[T], value: impl Fn(T) -> f32) {
        let Factors { keep, beta1, beta2, rate, root, epsilon } = self.factors;
        let [keep, rate, root, epsilon] = [keep, rate, root, epsilon].map(|factor| factor as f32);
        let [new1, new2] = [1.0 - beta1, 1.0 - beta2].map(|factor| factor as f32);
        let moments = self.first.iter_mut().zip(self.second);
        for ((p, g), (m, v)) in self.parameter.iter_mut().zip(gradient).zip(moments) {
            let g = value(*g);
            *m += (g - *m) * new1;
            *v += (g * g - *v) * new2;
            *p = *p * keep - rate * *m / (v.sqrt() * root + epsilon);
        }
    }
}

impl<'a> Gradient<'a> {
    fn of(tensor: &'a Tensor) -> Self {
        match tensor.kind() {
            Kind::BFloat16 => Self::BFloat16(elements(tensor)),
            _ => Self::Float(elements(tensor)),
        }
    }

    fn pieces(self) -> Vec<Self> {
        match self {
            Self::Float(values) => values.chunks(PIECE).map(Self::Float).collect(),
            Self::BFloat16(values) => values.chunks(PIECE).map(Self::BFloat16).collect(),
        }
    }
}

/// Runs every lane.
pub(super) fn run(lanes: Vec<Lane<'_>>) {
    let threads = tch::get_num_threads().max(1) as usize;
    let mut shares: Vec<Vec<Lane<'_>>> = (0..threads).map(|_| Vec::new()).collect();
    for (index, piece) in lanes.into_iter().flat_map(Lane::pieces).enumerate() {
        shares[index % threads].push(piece);
    }
    let own = shares.pop();
    std::thread::scope(|scope| {
        for share in shares {
            scope.spawn(|| share.into_iter().for_each(Lane::run));
        }
        own.into_iter().flatten().for_each(Lane::run);
    });
}

/// Sizes and strides of the dimensions that have more than one place; `None` where the tensor is not on the CPU, or does not
/// fill its memory exactly.
fn layout(tensor: &Tensor) -> Option<Vec<(i64, i64)>> {
    if tensor.device() != Device::Cpu {
        return None;
    }
    let dimensions = tensor.size().into_iter().zip(tensor.stride()).filter(|(size, _)| *size != 1);
    let dimensions: Vec<(i64, i64)> = dimensions.collect();
    let extent = 1 + dimensions.iter().map(|(size, stride)| (size - 1) * stride).sum::<i64>();
    (extent == tensor.numel() as i64).then_some(dimensions)
}

#[expect(unsafe_code, reason = "tch gives a tensor's memory as a pointer only")]
fn elements_mut(tensor: &mut Tensor) -> &mut [f32] {
    // SAFETY: `fits` has shown float32 in the CPU's memory, without gaps or overlaps, so there are `numel` of them from the
    // pointer on. The layers that share a parameter compute nothing while the optimizer steps, and the graph of the batch is
    // used up by then.
    unsafe { from_raw_parts_mut(tensor.data_ptr().cast(), tensor.numel()) }
}

#[expect(unsafe_code, reason = "tch gives a tensor's memory as a pointer only")]
fn elements<T: Copy>(tensor: &Tensor) -> &[T] {
    assert_eq!(size_of::<T>(), tensor.kind().elt_size_in_bytes(), "elements of another size");
    // SAFETY: as above, with elements as large as `T`, which takes any bits; nobody writes to a gradient.
    unsafe { from_raw_parts(tensor.data_ptr().cast(), tensor.numel()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tensors_that_fill_their_memory_alike_share_a_lane() {
        let zeros = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, Device::Cpu));
        let channels_last = crate::network::channels_last(&zeros(&[2, 3, 4, 4]));
        assert_ne!(layout(&channels_last), layout(&zeros(&[2, 3, 4, 4])));
        assert_eq!(layout(&zeros(&[2, 3, 4, 4]).narrow(1, 0, 2)), None);
        assert_eq!(layout(&zeros(&[1, 4]).expand([3, 4], false)), None);
        let double = zeros(&[2]).to_kind(Kind::Double);
        assert!(!fits(&zeros(&[2]), &double, &zeros(&[2]), &zeros(&[2])));
        assert!(!fits(&double, &zeros(&[2]), &zeros(&[2]), &zeros(&[2])));
        // A dimension of one place lies anywhere.
        assert_eq!(layout(&crate::network::channels_last(&zeros(&[5, 3, 1, 1]))), layout(&zeros(&[5, 3, 1, 1])));
    }

    #[test]
    fn a_gradient_in_bfloat16_steps_as_the_same_numbers_in_float() {
        let gradient = (Tensor::arange(100, (Kind::Float, Device::Cpu)) * 0.37 - 7.0).to_kind(Kind::BFloat16);
        let factors = Factors { keep: 0.99, beta1: 0.9, beta2: 0.99, rate: 0.1, root: 1.0, epsilon: 1e-5 };
        let step = |gradient: &Tensor| {
            let mut tensors: [Tensor; 3] = std::array::from_fn(|_| Tensor::ones([100], (Kind::Float, Device::Cpu)));
            let [parameter, first, second] = &mut tensors;
            run(vec![Lane::over(parameter, gradient, [first, second], factors)]);
            tensors
        };
        assert_eq!(step(&gradient), step(&gradient.to_kind(Kind::Float)));
    }
}
