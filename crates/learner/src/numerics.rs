//! What the constants of fastai 1.0.61 and of fastai v2 are (lesson 2 §2.1–2.5).

use ursa_domain::recipe::{Numerics, Recipe, Stage};

use crate::network::{HeadKind, HeadSpec, Role};
use crate::schedule::{OneCycle, WarmUp};

/// Start of the cycle: the peak divided by this, in both versions.
const START_DIVISOR: f64 = 25.0;

/// The head that a recipe asks for.
pub(crate) fn head(recipe: &Recipe) -> HeadSpec {
    let kind = match recipe.numerics {
        Numerics::FastaiV1 => HeadKind::FastaiV1,
        Numerics::FastaiV2 => HeadKind::FastaiV2,
    };
    HeadSpec { kind, dropout: recipe.dropout }
}

/// Added to the root of Adam's second moment.
pub(crate) fn epsilon(numerics: Numerics) -> f64 {
    match numerics {
        Numerics::FastaiV1 => 1e-8,
        Numerics::FastaiV2 => 1e-5,
    }
}

/// Whether weight decay applies to such a parameter.
pub(crate) fn decays(numerics: Numerics, role: Role) -> bool {
    numerics == Numerics::FastaiV1 || role == Role::Weight
}

/// The schedule of a stage of `recipe`, `batches` batches long.
pub(crate) fn cycle(recipe: &Recipe, stage: &Stage, batches: u64) -> OneCycle {
    let start_divisor = stage.start_divisor.unwrap_or(START_DIVISOR);
    let (share, final_divisor) = match recipe.numerics {
        Numerics::FastaiV1 => (0.3, start_divisor * 1e4),
        Numerics::FastaiV2 => (0.25, 1e5),
    };
    let share = stage.warm_up_share.unwrap_or(share);
    let warm_up = match recipe.numerics {
        Numerics::FastaiV1 => WarmUp::WholeBatches(share),
        Numerics::FastaiV2 => WarmUp::Share(share),
    };
    let final_divisor = stage.final_divisor.unwrap_or(final_divisor);
    OneCycle { batches, warm_up, start_divisor, final_divisor, momentum: recipe.momentum }
}
