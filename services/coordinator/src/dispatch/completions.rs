//! Ends many short attempts in one transaction.

use ursa_domain::Lease;
use ursa_proto::ApiError;

use crate::context::Context;
use crate::gathered::Gathered;
use crate::store::Completion;

/// Those who want to end. Each hears when that is durable, or that the lease is lost, or that the database is away.
pub(crate) type Completions = Gathered<Lease, Completion>;

/// Commits for ever.
pub(super) async fn run(context: Context) {
    let commit = |leases: Vec<Lease>| {
        let context = context.clone();
        async move { end(&context, &leases).await }
    };
    context.completions.run(commit).await;
}

async fn end(context: &Context, leases: &[Lease]) -> Vec<Completion> {
    let answers = match context.store.patience().with(context.store.complete_probes(leases)).await {
        Ok(answers) => answers,
        Err(error) => {
            let error = ApiError::from(error);
            leases.iter().map(|_| Err(error.clone())).collect()
        }
    };
    let ended: Vec<Lease> =
        leases.iter().zip(&answers).filter(|(_, answer)| answer.is_ok()).map(|(lease, _)| *lease).collect();
    context.roster.ended(&ended, false);
    answers
}
