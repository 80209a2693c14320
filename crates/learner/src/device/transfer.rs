//! The way of numbers to a device, which nobody waits for: a GPU that is given its next batch in time never stands still.

use tch::{Device, Tensor};

/// The tensor on `device`. A GPU gets it when it is done with what it was given before, and the caller goes on.
pub(crate) fn upload(tensor: &Tensor, device: Device) -> Tensor {
    send(&pinned(tensor, device), device)
}

/// The same for what is [pinned] already; anything else may be waited for.
pub(crate) fn send(tensor: &Tensor, device: Device) -> Tensor {
    tensor.to_device_(device, tensor.kind(), device.is_cuda(), false)
}

/// A copy in memory that a GPU reads by itself. The tensor as it is for any other device, and where no such memory is left.
pub(crate) fn pinned(tensor: &Tensor, device: Device) -> Tensor {
    // `pin_memory` is this too, but warns with every call that it need not be told the device; tch always tells it.
    let copy = device.is_cuda().then(|| tensor.f_internal_pin_memory(device).ok());
    copy.flatten().unwrap_or_else(|| tensor.shallow_clone())
}
