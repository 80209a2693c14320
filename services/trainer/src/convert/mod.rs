//! `ursa-trainer convert`: from a state dict of PyTorch to safetensors, for weights to start from. Nothing in the file is
//! executed: see [`pickle`].

mod pickle;
mod state_dict;

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use safetensors::tensor::TensorView;
use ursa_storage::Digest;

/// The largest published weights of the networks we know are a tenth of this.
const MAX_BYTES: u64 = 1 << 30;

/// From which file to which.
#[derive(Debug, Args)]
pub(crate) struct Conversion {
    /// A file of `torch.save(model.state_dict(), …)`, for instance torchvision's resnet34-b627a593.pth.
    from: PathBuf,
    /// The safetensors file to write; it must not be there yet.
    to: PathBuf,
}

/// Converts, and prints what a pipeline file has to say to start from the weights.
#[expect(clippy::print_stdout, reason = "what it prints is for the person who runs it")]
pub(crate) fn run(conversion: &Conversion) -> ExitCode {
    match convert(conversion) {
        Ok(sha256) => {
            println!("pretrained: {{location: {}, sha256: {sha256}}}", conversion.to.display());
            ExitCode::SUCCESS
        }
        Err(reason) => {
            tracing::error!("{reason}");
            ExitCode::FAILURE
        }
    }
}

fn convert(Conversion { from, to }: &Conversion) -> Result<Digest, String> {
    let safetensors = to_safetensors(&read(from)?).map_err(|reason| format!("{}: {reason}", from.display()))?;
    let unwritable = |error: std::io::Error| format!("cannot write {}: {error}", to.display());
    let mut file = OpenOptions::new().write(true).create_new(true).open(to).map_err(unwritable)?;
    file.write_all(&safetensors).map_err(unwritable)?;
    Ok(Digest::of(&safetensors))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let unreadable = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("{} has more than {MAX_BYTES} bytes: no weights that can be used here", path.display()));
    }
    Ok(bytes)
}

fn to_safetensors(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let tensors = state_dict::read(bytes)?;
    let views = tensors
        .iter()
        .map(|tensor| Ok((&tensor.name, TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.data)?)))
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>();
    views.and_then(|views| safetensors::serialize(views, None)).map_err(|error| error.to_string())
}
