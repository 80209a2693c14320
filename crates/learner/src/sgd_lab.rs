//! SGD from scratch, as in the lesson (lesson 2, 60–66 and §2.9): a line fitted to points by a hand-written update.
//!
//! Points: x = (u, 1) with u uniform in [−1, 1], y = x·coefficients + noise. The start is (−1, 1), the loss the mean squared
//! error. Every step is told, so that it can be drawn.

use std::ops::ControlFlow;

use rand::seq::index;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor, no_grad};
use ursa_domain::run::{SgdOutcome, SgdStep};
use ursa_domain::sgd_lab::{Noise, SgdLab};

use crate::LearnError;
use crate::randomness::{Purpose, stream};

/// The lesson's first guess.
const START: [f64; 2] = [-1.0, 1.0];
/// A loss this many times the first one is no longer on its way anywhere.
const DIVERGED: f64 = 1e3;
/// Where full-batch updates would have left so little of the first error, what remains comes from the batches.
const WANDERS: f64 = 0.05;

/// The second derivatives of the loss of all points, along its flattest and its steepest direction. A full-batch update at a
/// rate multiplies the error in each by 1 − rate · derivative.
#[derive(Debug, Clone, Copy)]
struct Curvature {
    least: f64,
    most: f64,
}

/// The points of an experiment.
#[derive(Debug)]
struct Points {
    /// f64 `[n, 2]`: the coordinate and 1.
    x: Tensor,
    /// f64 `[n]`.
    y: Tensor,
}

/// Runs an experiment; `observe` hears of every state and may stop it.
pub fn run_sgd_lab(
    lab: &SgdLab,
    mut observe: impl FnMut(&SgdStep) -> ControlFlow<()>,
) -> Result<SgdOutcome, LearnError> {
    lab.check()?;
    let mut rng = stream(lab.seed, Purpose::Laboratory, 0, 0);
    let points = Points::draw(lab, &mut rng);
    let mut a = Tensor::from_slice(&START).set_requires_grad(true);
    // Of all points: one batch may lie on the line by luck.
    let bound = DIVERGED * points.loss(&a).double_value(&[]).max(1e-12);
    let mut step = 0;
    loop {
        let batch = if step < lab.steps { points.batch(lab, &mut rng) } else { points.shallow_clone() };
        let loss = batch.loss(&a);
        let state = SgdStep { step, coefficients: pair(&a), loss: loss.double_value(&[]) };
        if observe(&state).is_break() {
            return Err(LearnError::Cancelled);
        }
        let diverged = !state.loss.is_finite() || state.loss > bound;
        if diverged || step == lab.steps {
            return Ok(outcome(lab, state, &points, diverged));
        }
        loss.backward();
        // The update of the lesson: a −= lr · gradient, then the gradient is forgotten.
        no_grad(|| a -= a.grad() * lab.learning_rate);
        a.zero_grad();
        step += 1;
    }
}

fn outcome(lab: &SgdLab, last: SgdStep, points: &Points, diverged: bool) -> SgdOutcome {
    let (optimum, curvature) = points.solution();
    let least_loss = points.loss(&Tensor::from_slice(&optimum)).double_value(&[]);
    let (loss, step, rate_limit) = (last.loss, last.step, curvature.rate_limit());
    let verdict = if diverged {
        format!("diverged after {step} steps: {}", away(lab, curvature))
    } else if loss <= 2.0 * least_loss || loss <= least_loss + 0.1 {
        format!("converged: the loss is {loss:.4}, {least_loss:.4} is possible with {optimum:.3?}")
    } else if lab.learning_rate > rate_limit {
        format!(
            "diverging: the loss is {loss:.4} after {step} steps, {least_loss:.4} is possible; {}",
            away(lab, curvature)
        )
    } else {
        let advice = curvature.advice(lab);
        format!("not there yet: the loss is {loss:.4}, {least_loss:.4} is possible; {advice}")
    };
    SgdOutcome { last, optimum, least_loss, rate_limit, diverged, verdict }
}

/// Why updates lead away from the best line.
fn away(lab: &SgdLab, curvature: Curvature) -> String {
    let (rate, limit) = (lab.learning_rate, curvature.rate_limit());
    if rate > limit {
        format!(
            "at a learning rate of {rate} every update overshoots farther than the one before; below {limit:.2} updates from all \
             points would not"
        )
    } else {
        format!(
            "updates from all points would not at a learning rate of {rate}, but a few of them alone are steeper; a lower rate or \
             larger batches"
        )
    }
}

impl Curvature {
    /// Above it full-batch updates overshoot farther each time.
    fn rate_limit(self) -> f64 {
        2.0 / self.most
    }

    /// What would bring an experiment nearer, at a rate below the limit.
    fn advice(self, lab: &SgdLab) -> &'static str {
        // What full-batch updates would leave of the first error.
        let left = |curvature: f64| (1.0 - lab.learning_rate * curvature).abs().powf(f64::from(lab.steps));
        let (flat, steep) = (left(self.least), left(self.most));
        if lab.batch_size.is_some() && flat.max(steep) < WANDERS {
            "small batches wander about it: a lower rate or larger batches"
        } else if steep > flat {
            "updates overshoot and come back: more steps or a lower rate"
        } else {
            "more steps or a higher rate"
        }
    }
}

/// One draw of what is added to a point.
fn draw(noise: Noise, rng: &mut ChaCha8Rng) -> f64 {
    match noise {
        Noise::Uniform(width) => width * rng.random::<f64>(),
        // Box and Muller 1958; 1 − u is never 0.
        Noise::Normal(deviation) => {
            let (u, angle) = (1.0 - rng.random::<f64>(), std::f64::consts::TAU * rng.random::<f64>());
            deviation * (-2.0 * u.ln()).sqrt() * angle.cos()
        }
    }
}

impl Points {
    /// All points of an experiment.
    fn draw(lab: &SgdLab, rng: &mut ChaCha8Rng) -> Self {
        let count = lab.points as usize;
        let u: Vec<f64> = (0..count).map(|_| rng.random_range(-1.0..1.0)).collect();
        let [slope, intercept] = lab.coefficients;
        let y: Vec<f64> = u.iter().map(|u| slope * u + intercept + draw(lab.noise, rng)).collect();
        let x: Vec<f64> = u.iter().flat_map(|&u| [u, 1.0]).collect();
        Self { x: Tensor::from_slice(&x).view([-1, 2]), y: Tensor::from_slice(&y) }
    }

    /// Those of one update.
    fn batch(&self, lab: &SgdLab, rng: &mut ChaCha8Rng) -> Self {
        let Some(size) = lab.batch_size else { return self.shallow_clone() };
        let chosen = index::sample(&mut ChaCha8Rng::from_rng(rng), lab.points as usize, size as usize);
        let chosen: Vec<i64> = chosen.iter().map(|index| index as i64).collect();
        let chosen = Tensor::from_slice(&chosen);
        Self { x: self.x.index_select(0, &chosen), y: self.y.index_select(0, &chosen) }
    }

    /// Mean squared error of the line `a`, f64 `[2]`.
    fn loss(&self, a: &Tensor) -> Tensor {
        (self.x.mv(a) - &self.y).square().mean(Kind::Double)
    }

    /// The least-squares coefficients, and how the loss curves about them.
    fn solution(&self) -> ([f64; 2], Curvature) {
        // Of the symmetric matrix xᵀx/n = [[spread, lean], [lean, 1]] and the vector xᵀy/n.
        let count = self.y.size()[0] as f64;
        let moments = self.x.transpose(0, 1).matmul(&self.x) / count;
        let (spread, lean) = (moments.double_value(&[0, 0]), moments.double_value(&[0, 1]));
        let [product, mean] = pair(&(self.x.transpose(0, 1).mv(&self.y) / count));
        let determinant = spread - lean * lean;
        let optimum = [(product - lean * mean) / determinant, (spread * mean - lean * product) / determinant];
        // The Hessian of the mean squared error is twice the matrix, whose eigenvalues are half of sum ± width.
        let (sum, width) = (spread + 1.0, ((spread - 1.0).powi(2) + 4.0 * lean * lean).sqrt());
        (optimum, Curvature { least: sum - width, most: sum + width })
    }

    fn shallow_clone(&self) -> Self {
        Self { x: self.x.shallow_clone(), y: self.y.shallow_clone() }
    }
}

fn pair(tensor: &Tensor) -> [f64; 2] {
    [0, 1].map(|index| tensor.to_device(Device::Cpu).double_value(&[index]))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Run = (Vec<SgdStep>, SgdOutcome);

    fn run(lab: &SgdLab) -> Run {
        let mut steps = Vec::new();
        let outcome = run_sgd_lab(lab, |step| {
            steps.push(*step);
            ControlFlow::Continue(())
        });
        (steps, outcome.unwrap())
    }

    fn lab(noise: Noise, learning_rate: f64, seed: u64) -> SgdLab {
        SgdLab { noise, learning_rate, seed, ..SgdLab::default() }
    }

    /// Mean first loss, last loss and last coefficients of many seeds.
    fn means(noise: Noise) -> (f64, f64, [f64; 2]) {
        let runs: Vec<_> = (0..60).map(|seed| run(&lab(noise, 0.1, seed))).collect();
        let mean = |of: &dyn Fn(&Run) -> f64| runs.iter().map(of).sum::<f64>() / runs.len() as f64;
        let coefficients = [0, 1].map(|index| mean(&|run| run.1.last.coefficients[index]));
        (mean(&|run| run.0[0].loss), mean(&|run| run.1.last.loss), coefficients)
    }

    #[test]
    fn uniform_noise_starts_near_7_67_and_ends_near_3_and_2_5() {
        let (first, last, [slope, intercept]) = means(Noise::Uniform(1.0));
        assert!((first - 7.667).abs() < 0.5, "{first}");
        assert!((last - 0.0833).abs() < 0.01, "{last}");
        assert!((slope - 3.0).abs() < 0.03 && (intercept - 2.5).abs() < 0.02, "{slope} {intercept}");
    }

    #[test]
    fn normal_noise_starts_near_6_4_and_ends_near_3_and_2() {
        let (first, last, [slope, intercept]) = means(Noise::Normal(0.25));
        assert!((first - 6.396).abs() < 0.4, "{first}");
        assert!((last - 0.0625).abs() < 0.008, "{last}");
        assert!((slope - 3.0).abs() < 0.03 && (intercept - 2.0).abs() < 0.02, "{slope} {intercept}");
    }

    #[test]
    fn errors_shrink_by_the_factors_of_the_curvature() {
        let exact = SgdLab { points: 20_000, ..lab(Noise::Uniform(0.0), 0.1, 1) };
        let (steps, _) = run(&exact);
        for pair in steps[..9].windows(2) {
            let [slope, intercept] = [0, 1].map(|index| {
                let error = |step: &SgdStep| step.coefficients[index] - exact.coefficients[index];
                error(&pair[1]) / error(&pair[0])
            });
            assert!((slope - 0.933).abs() < 0.01 && (intercept - 0.8).abs() < 0.05, "{slope} {intercept}");
        }
    }

    #[test]
    fn an_update_is_the_gradient_written_out() {
        let lab = SgdLab { points: 3, steps: 1, ..SgdLab::default() };
        let points = Points::draw(&lab, &mut stream(lab.seed, Purpose::Laboratory, 0, 0));
        let mut expected = START;
        for index in 0..3 {
            let (x, y) = (points.x.double_value(&[index, 0]), points.y.double_value(&[index]));
            let error = START[0] * x + START[1] - y;
            expected[0] -= 0.1 * 2.0 / 3.0 * error * x;
            expected[1] -= 0.1 * 2.0 / 3.0 * error;
        }
        let found = run(&lab).1.last.coefficients;
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?} {expected:?}");
    }

    #[test]
    fn nine_tenths_converge_and_eleven_tenths_diverge_and_say_so() {
        let (_, outcome) = run(&lab(Noise::Uniform(1.0), 0.9, 1));
        assert!(!outcome.diverged && outcome.verdict.starts_with("converged"), "{outcome:?}");
        assert!((outcome.rate_limit - 1.0).abs() < 0.05, "{outcome:?}");
        let (steps, outcome) = run(&SgdLab { steps: 1000, ..lab(Noise::Uniform(1.0), 1.1, 1) });
        assert!(outcome.diverged && outcome.verdict.contains("overshoots"), "{outcome:?}");
        assert!(steps.len() < 200, "a run that diverged goes on");
        let (_, outcome) = run(&lab(Noise::Uniform(1.0), 1e-3, 1));
        assert!(outcome.verdict.starts_with("not there yet"), "{outcome:?}");
    }

    /// Lesson 2, §2.9.
    #[test]
    fn starts_ends_and_what_the_highest_rate_leaves_are_in_the_lessons_ranges() {
        for (noise, starts, end) in [(Noise::Uniform(1.0), 6.2..=9.2, 0.081), (Noise::Normal(0.25), 5.2..=7.6, 0.061)] {
            let runs: Vec<Run> = (0..100).map(|seed| run(&lab(noise, 0.1, seed))).collect();
            let inside = runs.iter().filter(|(steps, _)| starts.contains(&steps[0].loss)).count();
            assert!((79..=99).contains(&inside), "{inside} of 100");
            let mean = runs.iter().map(|(_, outcome)| outcome.last.loss).sum::<f64>() / 100.0;
            assert!((mean - end).abs() < 0.003, "{mean}");
        }
        // So many points that the limit is 1 to four digits.
        let (_, outcome) = run(&SgdLab { points: 20_000, ..lab(Noise::Uniform(1.0), 1.0, 1) });
        assert!((2.0..=4.0).contains(&outcome.last.loss), "{outcome:?}");
    }

    #[test]
    fn near_the_limit_the_verdict_goes_by_the_limit() {
        let verdict =
            |learning_rate, steps| run(&SgdLab { steps, ..lab(Noise::Uniform(1.0), learning_rate, 1) }).1.verdict;
        for (rate, steps) in [(1.1, 10), (1.02, 20), (1.1, 0)] {
            let told = verdict(rate, steps);
            assert!(told.starts_with("diverging") && told.contains("overshoots farther"), "{rate} {steps}: {told}");
        }
        let many = |learning_rate, batch_size| {
            let lab = SgdLab { points: 20_000, batch_size, ..lab(Noise::Uniform(1.0), learning_rate, 1) };
            run(&SgdLab { steps: 30, ..lab }).1.verdict
        };
        let told = many(0.99, None);
        assert!(told.starts_with("not there yet") && told.contains("a lower rate"), "{told}");
        assert!(many(1.02, Some(256)).starts_with("diverging"), "of batches, too");
        let told = verdict(1e-3, 100);
        assert!(told.ends_with("more steps or a higher rate"), "{told}");
    }

    #[test]
    fn batches_that_diverge_or_wander_below_the_limit_are_told_so() {
        let steep = SgdLab { points: 20_000, ..lab(Noise::Uniform(1.0), 0.97, 1) };
        let outcome = run(&SgdLab { batch_size: Some(1), ..steep }).1;
        assert!(outcome.diverged && outcome.rate_limit > 0.97, "{outcome:?}");
        assert!(outcome.verdict.contains("larger batches"), "{outcome:?}");
        let verdicts: Vec<String> = (0..30)
            .map(|seed| SgdLab { batch_size: Some(1), steps: 200, ..lab(Noise::Normal(1.0), 0.6, seed) })
            .map(|lab| run(&lab).1.verdict)
            .collect();
        assert!(verdicts.iter().any(|told| told.contains("wander")), "{verdicts:?}");
        assert!(!verdicts.iter().any(|told| told.contains("higher rate")), "{verdicts:?}");
    }

    #[test]
    fn small_batches_wander_about_the_same_place_and_repeat_with_the_seed() {
        let lab = SgdLab { batch_size: Some(16), steps: 300, ..SgdLab::default() };
        let (steps, outcome) = run(&lab);
        assert_eq!(run(&lab).0, steps);
        let near = |index: usize| (outcome.last.coefficients[index] - outcome.optimum[index]).abs() < 0.3;
        assert!(near(0) && near(1), "{outcome:?}");
    }

    #[test]
    fn an_experiment_is_checked_first_and_can_be_stopped() {
        let lab = SgdLab { points: 1, ..SgdLab::default() };
        let error = run_sgd_lab(&lab, |_| ControlFlow::Continue(())).unwrap_err();
        assert!(error.to_string().contains("points"), "{error}");
        assert_eq!(run_sgd_lab(&SgdLab::default(), |_| ControlFlow::Break(())), Err(LearnError::Cancelled));
    }
}
