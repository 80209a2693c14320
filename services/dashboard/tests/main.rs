//! The dashboard over HTTP, with a scripted coordinator behind it on the real gRPC services.

#[cfg(test)]
mod data;
#[cfg(test)]
mod explained;
#[cfg(test)]
mod fake;
#[cfg(test)]
mod guard;
mod learned;
#[cfg(test)]
mod live;
#[cfg(test)]
mod pages;
#[cfg(test)]
mod searched;
#[cfg(test)]
mod setup;
#[cfg(test)]
mod trying;
