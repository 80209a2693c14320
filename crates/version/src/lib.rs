//! Which code this is. It changes with every change of what decides the result of a job, so whatever depends on it is
//! compiled again: programs shall, libraries shall not.

/// The version of the code that decides what comes out of a job: the first 16 hexadecimal digits of a SHA-256 of its sources.
pub const CODE: &str = env!("URSA_CODE_VERSION");

/// The version of the software and of that code, for people, such as `0.1.0+1f2e3d4c5b6a7988`.
pub const NAME: &str = concat!(env!("CARGO_PKG_VERSION"), "+", env!("URSA_CODE_VERSION"));
