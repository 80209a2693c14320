//! `ursa models`.

mod explain;
mod interpret;
mod show;

use clap::Subcommand;
use ursa_client::Client;
use ursa_proto::{ApiError, v1};

use super::pages::Limit;
use crate::output::{Column, Output};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List models, newest first.
    List {
        #[command(flatten)]
        limit: Limit,
    },
    /// Show one model.
    Get {
        /// Its digest, or the first eight digits or more.
        digest: String,
    },
    /// Show what a model gets wrong, image by image.
    #[command(after_help = "Examples:
  ursa models interpret 9f2c4e1a
  ursa models interpret 9f2c4e1a --side train --limit 50
  ursa models interpret 9f2c4e1a --snapshot 5b0d7c21
  ursa models interpret 9f2c4e1a --output json")]
    Interpret(interpret::Flags),
    /// Draw what in images speaks for a class, whether the model is served or not.
    #[command(after_help = "Examples:
  ursa models explain 9f2c4e1a 0193a1b2-c3d4-7e5f-8a6b-123456789abc
  ursa models explain 9f2c4e1a 0193a1b2-c3d4-7e5f-8a6b-123456789abc --predicted --folder why
  ursa models explain 9f2c4e1a 0193a1b2-c3d4-7e5f-8a6b-123456789abc --class teddy --output json")]
    Explain(explain::Flags),
}

const MODELS: &[Column] = &[
    ("DIGEST", "digest"),
    ("ARCHITECTURE", "architecture"),
    ("CLASSES", "classes"),
    ("ERROR RATE", "error_rate"),
    ("CREATED", "created_at"),
];

pub(crate) async fn run(command: &Command, client: &Client, output: &Output) -> anyhow::Result<()> {
    match command {
        Command::List { limit } => {
            let ask = async |page| client.models().list_models(v1::ListModelsRequest { page }).await;
            output.print(&limit.walk(ask).await?, "ListModelsResponse", "models", MODELS)
        }
        Command::Get { digest } => {
            let request = v1::GetModelRequest { digest: digest.clone() };
            let model = client.models().get_model(request).await.map_err(ApiError::from)?.into_inner();
            output.print_text(&model, "Model", || show::detail(&model))
        }
        Command::Interpret(flags) => interpret::run(flags, client, output).await,
        Command::Explain(flags) => explain::run(flags, client, output).await,
    }
}
