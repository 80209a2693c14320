//! Adam with decoupled weight decay, as fastai runs it (lesson 2 §2.3): `p ← p·(1 − wd·lr)`, then Adam with beta2 0.99 and
//! beta1 set anew for each step by the schedule. The numerics say which eps, and which parameters decay.
//!
//! Moments are plain tensors, so that a checkpoint can hold them. Parameters without a gradient are left alone.

use tch::{Tensor, no_grad};
use ursa_domain::recipe::{GROUPS, Numerics};

use super::fused::{self, Factors, Lane};
use crate::LearnError;
use crate::network::Parameter;
use crate::numerics;
use crate::tensor_file::TensorFile;

const BETA2: f64 = 0.99;

/// One parameter and what is remembered of its gradients.
#[derive(Debug)]
struct Slot {
    name: String,
    /// The parameter's among all of the network.
    index: usize,
    parameter: Tensor,
    first: Tensor,
    second: Tensor,
    group: usize,
    weight_decay: f64,
}

impl Slot {
    /// The step by libtorch's operations, on any device.
    fn step(&mut self, gradient: &Tensor, factors: Factors) {
        let gradient = gradient.to_kind(self.parameter.kind());
        let _ = self.parameter.g_mul_scalar_(factors.keep);
        let _ = self.first.lerp_(&gradient, 1.0 - factors.beta1);
        let mut scratch = gradient.square();
        let _ = self.second.lerp_(&scratch, 1.0 - factors.beta2);
        // addcdiv_ adds first/denominator: the factor −rate goes into the denominator.
        let _ = self.second.sqrt_out(&scratch);
        let _ = scratch.g_mul_scalar_(-factors.root / factors.rate);
        let _ = scratch.g_add_scalar_(-factors.epsilon / factors.rate);
        let _ = self.parameter.addcdiv_(&self.first, &scratch);
    }
}

/// The optimizer of what learns now.
#[derive(Debug)]
pub(crate) struct Adam {
    slots: Vec<Slot>,
    steps: u64,
    epsilon: f64,
}

impl Adam {
    /// For those of `parameters` that learn now.
    pub(crate) fn new(parameters: &[Parameter], numerics: Numerics, weight_decay: f64) -> Self {
        let slot = |(index, parameter): (usize, &Parameter)| Slot {
            name: parameter.name.clone(),
            index,
            parameter: parameter.tensor.shallow_clone(),
            first: parameter.tensor.zeros_like(),
            second: parameter.tensor.zeros_like(),
            group: parameter.group,
            weight_decay: if numerics::decays(numerics, parameter.role) { weight_decay } else { 0.0 },
        };
        let learning = parameters.iter().enumerate().filter(|(_, parameter)| parameter.tensor.requires_grad());
        Self { slots: no_grad(|| learning.map(slot).collect()), steps: 0, epsilon: numerics::epsilon(numerics) }
    }

    /// Steps made so far.
    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }

    /// The gradients of `loss` for what learns. `asked` has, for each parameter of the network, the tensor whose gradient is
    /// meant. The graph of `loss` is used up.
    pub(crate) fn gradients(&self, loss: &Tensor, asked: &[Tensor]) -> Vec<Tensor> {
        let asked: Vec<&Tensor> = self.slots.iter().map(|slot| &asked[slot.index]).collect();
        // Asked for, not summed up in the parameters: that would write, read and clear all of them once more.
        Tensor::run_backward(&[loss], &asked, false, false)
    }

    /// Moves every parameter by its gradient, each group at its own rate (above 0).
    pub(crate) fn step(&mut self, gradients: &[Tensor], rates: &[f64; GROUPS], beta1: f64) {
        self.steps += 1;
        let steps = self.steps as f64;
        let factors = |slot: &Slot| Factors {
            keep: 1.0 - slot.weight_decay * rates[slot.group],
            beta1,
            beta2: BETA2,
            rate: rates[slot.group] / (1.0 - beta1.powf(steps)),
            root: 1.0 / (1.0 - BETA2.powf(steps)).sqrt(),
            epsilon: self.epsilon,
        };
        no_grad(|| {
            let mut lanes = Vec::new();
            for (slot, gradient) in self.slots.iter_mut().zip(gradients).filter(|(_, gradient)| gradient.defined()) {
                let factors = factors(slot);
                if fused::fits(&slot.parameter, gradient, &slot.first, &slot.second) {
                    let moments = [&mut slot.first, &mut slot.second];
                    lanes.push(Lane::over(&mut slot.parameter, gradient, moments, factors));
                } else {
                    slot.step(gradient, factors);
                }
            }
            fused::run(lanes);
        });
    }

    /// The moments by name.
    pub(crate) fn named(&self) -> Vec<(String, Tensor)> {
        let moments = |slot: &Slot| {
            [
                (first_name(&slot.name), slot.first.shallow_clone()),
                (second_name(&slot.name), slot.second.shallow_clone()),
            ]
        };
        self.slots.iter().flat_map(moments).collect()
    }

    /// Goes on from saved moments.
    pub(crate) fn load(&mut self, file: &TensorFile<'_>, steps: u64) -> Result<(), LearnError> {
        self.steps = steps;
        no_grad(|| {
            self.slots.iter_mut().try_for_each(|slot| {
                file.read_into(&first_name(&slot.name), &mut slot.first)?;
                file.read_into(&second_name(&slot.name), &mut slot.second)
            })
        })
    }
}

fn first_name(parameter: &str) -> String {
    format!("optimizer.first.{parameter}")
}

fn second_name(parameter: &str) -> String {
    format!("optimizer.second.{parameter}")
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;
    use crate::network::Role;

    /// Float goes through the fused step, double through libtorch's operations.
    fn parameter(values: &[f64], group: usize, role: Role) -> Parameter {
        parameter_of(Kind::Double, values, group, role)
    }

    fn parameter_of(kind: Kind, values: &[f64], group: usize, role: Role) -> Parameter {
        let tensor = Tensor::from_slice(values).to_device(Device::Cpu).to_kind(kind).set_requires_grad(true);
        Parameter { name: format!("p{group}"), tensor, role, group }
    }

    /// The formula of the module's header in plain numbers.
    fn by_hand(start: f64, gradients: &[f64], rate: f64, betas: &[f64], decay: f64, epsilon: f64) -> f64 {
        let (mut p, mut m, mut v) = (start, 0.0, 0.0);
        for (index, (g, beta1)) in gradients.iter().zip(betas).enumerate() {
            let t = index as i32 + 1;
            p *= 1.0 - decay * rate;
            m = beta1 * m + (1.0 - beta1) * g;
            v = 0.99 * v + 0.01 * g * g;
            p -= rate * (m / (1.0 - beta1.powi(t))) / ((v / (1.0 - 0.99_f64.powi(t))).sqrt() + epsilon);
        }
        p
    }

    fn steps_of(numerics: Numerics, decay_of_norms: f64, epsilon: f64) {
        for kind in [Kind::Float, Kind::Double] {
            steps_in(kind, numerics, decay_of_norms, epsilon);
        }
    }

    fn steps_in(kind: Kind, numerics: Numerics, decay_of_norms: f64, epsilon: f64) {
        let parameters =
            [parameter_of(kind, &[1.0, -2.0], 0, Role::Weight), parameter_of(kind, &[0.5], 2, Role::Normalisation)];
        let asked: Vec<Tensor> = parameters.iter().map(|parameter| parameter.tensor.shallow_clone()).collect();
        let mut adam = Adam::new(&parameters, numerics, 0.01);
        let betas = [0.95, 0.9, 0.85];
        for beta1 in betas {
            // Gradients: 3e-4 and -0.5 in the first, 2 in the second; the small one shows the eps.
            let loss = (&parameters[0].tensor * Tensor::from_slice(&[3e-4, -0.5])).sum(Kind::Double)
                + (&parameters[1].tensor * 2.0).sum(Kind::Double);
            adam.step(&adam.gradients(&loss, &asked), &[0.1, 1.0, 0.01], beta1);
        }
        let cases =
            [(0, 0, 1.0, 3e-4, 0.1, 0.01), (0, 1, -2.0, -0.5, 0.1, 0.01), (1, 0, 0.5, 2.0, 0.01, decay_of_norms)];
        for (which, index, start, gradient, rate, decay) in cases {
            let found = parameters[which].tensor.double_value(&[index]);
            let expected = by_hand(start, &[gradient; 3], rate, &betas, decay, epsilon);
            assert!((found - expected).abs() < 2e-6, "{numerics:?} {kind:?}: {found} is not {expected}");
        }
    }

    #[test]
    fn steps_of_v1_decay_everything_each_group_at_its_rate() {
        steps_of(Numerics::FastaiV1, 0.01, 1e-8);
    }

    #[test]
    fn steps_of_v2_spare_normalisations_and_have_a_larger_epsilon() {
        steps_of(Numerics::FastaiV2, 0.0, 1e-5);
    }

    #[test]
    fn what_does_not_learn_stays() {
        let mut frozen = parameter(&[1.0], 0, Role::Weight);
        frozen.tensor = frozen.tensor.set_requires_grad(false);
        let parameters = [frozen, parameter(&[1.0], 1, Role::Weight)];
        let mut adam = Adam::new(&parameters, Numerics::FastaiV1, 0.5);
        let asked = [&parameters[0], &parameters[1]].map(|parameter| parameter.tensor.shallow_clone());
        adam.step(&adam.gradients(&parameters[1].tensor.sum(Kind::Double), &asked), &[0.1; 3], 0.9);
        assert!((parameters[0].tensor.double_value(&[0]) - 1.0).abs() < f64::EPSILON);
        assert!(parameters[1].tensor.double_value(&[0]) < 1.0);
    }
}
