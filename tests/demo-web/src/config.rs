//! Everything that can be set, each where it is declared.

use std::net::{Ipv4Addr, SocketAddr};

use clap::Parser;

/// A small web of drawn bears, with the dirt that a real web has: to scrape instead of the Internet.
#[derive(Debug, Clone, Parser)]
#[command(name = "ursa-demo-web", version)]
pub struct DemoWebConfig {
    /// Address to answer HTTP on; port 0 takes a free one. Only loopback addresses are served.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,

    /// Decides every picture and every line of the lists.
    #[arg(long, default_value_t = Self::SEED)]
    pub seed: u64,

    /// Usable pictures in the list of each class.
    #[arg(long, default_value_t = Self::PER_CLASS)]
    pub per_class: u32,

    /// How much dirt the lists hold besides, in percent of the usable pictures; the same share of the usable ones is odd:
    /// slow, moved, in unusual formats.
    #[arg(long, default_value_t = Self::DIRT_PERCENT)]
    pub dirt_percent: u32,
}

impl DemoWebConfig {
    const SEED: u64 = 2019;
    const PER_CLASS: u32 = 300;
    const DIRT_PERCENT: u32 = 10;
}

impl Default for DemoWebConfig {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            seed: Self::SEED,
            per_class: Self::PER_CLASS,
            dirt_percent: Self::DIRT_PERCENT,
        }
    }
}
