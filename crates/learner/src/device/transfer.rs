//! The way of numbers to a device, which nobody waits for: a GPU that is given its next batch in time never stands still.

use tch::{Device, Tensor};

/// The tensor on `device`. A GPU gets it when it is done with what it was given before, and the caller goes on.
pub(crate) fn upload(tensor: &Tensor, device: Device) -> Tensor {
    if device.is_cuda() {
        pinned(tensor, device).to_device_(device, tensor.kind(), true, false)
    } else {
        tensor.to_device(device)
    }
}

/// A copy in memory that a GPU reads by itself. The tensor as it is for any other device; and where no such memory is left:
/// it is copied all the same, but waited for.
pub(crate) fn pinned(tensor: &Tensor, device: Device) -> Tensor {
    let copy = device.is_cuda().then(|| tensor.f_pin_memory(device).ok());
    copy.flatten().unwrap_or_else(|| tensor.shallow_clone())
}
