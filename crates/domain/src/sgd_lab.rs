//! The settings of SGD from scratch, the lesson's experiment (lesson 2, 60–66 and §2.9): a line fitted to points by a
//! hand-written update.

use serde::{Deserialize, Serialize};

use crate::setting::{InvalidSetting, at_least, require, within};

const MAX_POINTS: u32 = 100_000;
const MAX_STEPS: u32 = 100_000;

/// An experiment. The defaults are the lesson's notebook of 2018.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SgdLab {
    /// How many points.
    pub points: u32,
    /// Slope and intercept that the points are made with.
    pub coefficients: [f64; 2],
    /// What is added to them.
    pub noise: Noise,
    /// How far an update goes.
    pub learning_rate: f64,
    /// Points per update, drawn anew for each; `None` is all of them.
    pub batch_size: Option<u32>,
    /// Updates.
    pub steps: u32,
    /// Draws the points and the batches.
    pub seed: u64,
}

/// What makes points miss the line.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Noise {
    /// Uniform from 0 to this: it lifts the line by half of that.
    Uniform(f64),
    /// Normal with this standard deviation.
    Normal(f64),
}

impl Default for SgdLab {
    fn default() -> Self {
        Self {
            points: 100,
            coefficients: [3.0, 2.0],
            noise: Noise::Uniform(1.0),
            learning_rate: 0.1,
            batch_size: None,
            steps: 100,
            seed: 42,
        }
    }
}

impl SgdLab {
    /// Refuses an experiment that cannot be made, naming the key.
    pub fn check(&self) -> Result<(), InvalidSetting> {
        within("points", self.points, 2..=MAX_POINTS)?;
        within("steps", self.steps, 0..=MAX_STEPS)?;
        self.batch_size.map_or(Ok(()), |size| within("batch_size", size, 1..=self.points))?;
        let (Noise::Uniform(noise) | Noise::Normal(noise)) = self.noise;
        at_least("noise", noise, 0.0)?;
        at_least("learning_rate", self.learning_rate, 0.0)?;
        let sound = self.coefficients.iter().all(|value| value.is_finite());
        require(sound, "coefficients", || format!("are {:?}; they must be numbers", self.coefficients))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_experiments_are_refused_by_key() {
        for (key, lab) in [
            ("points", SgdLab { points: 1, ..SgdLab::default() }),
            ("steps", SgdLab { steps: u32::MAX, ..SgdLab::default() }),
            ("batch_size", SgdLab { batch_size: Some(101), ..SgdLab::default() }),
            ("learning_rate", SgdLab { learning_rate: f64::NAN, ..SgdLab::default() }),
            ("noise", SgdLab { noise: Noise::Normal(-1.0), ..SgdLab::default() }),
            ("coefficients", SgdLab { coefficients: [f64::INFINITY, 0.0], ..SgdLab::default() }),
        ] {
            assert_eq!(lab.check().unwrap_err().key, key);
        }
        assert!(serde_json::from_str::<SgdLab>(r#"{"lr": 1}"#).is_err());
        SgdLab::default().check().unwrap();
    }
}
