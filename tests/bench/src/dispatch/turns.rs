//! A machine that others share is a third slower in one minute than in the next. So what is compared is measured in turns, and
//! the middle one counts.

use ursa_bench::report::Report;

use crate::Arguments;
use crate::ground::Ground;
use crate::latency::{self, Waits};
use crate::tables::Tables;
use crate::throughput::{self, Ours, Theirs};

/// An odd number.
pub(crate) const TURNS: usize = 3;

/// All turns with the same tables.
pub(crate) struct Turns {
    tables: Tables,
    wants_rates: bool,
    wants_waits: bool,
    pub(crate) rates: Vec<Ours>,
    their_rates: Vec<Theirs>,
    pub(crate) waits: Vec<Waits>,
}

impl Turns {
    /// None yet.
    pub(crate) fn new(tables: Tables, wants_rates: bool, wants_waits: bool) -> Self {
        Self { tables, wants_rates, wants_waits, rates: Vec::new(), their_rates: Vec::new(), waits: Vec::new() }
    }

    /// Another one. In full tables the peer is so slow that it takes one only.
    pub(crate) async fn take(&mut self, arguments: &Arguments, ground: &mut Ground) -> anyhow::Result<()> {
        ground.turn_to(self.tables)?;
        if self.wants_rates {
            if self.tables == Tables::Empty || self.their_rates.is_empty() {
                self.their_rates.push(throughput::theirs(arguments, ground, self.tables)?);
            }
            self.rates.push(throughput::ours(arguments, ground).await?);
        }
        if self.wants_waits {
            self.waits.push(latency::ours(arguments, ground).await?);
        }
        Ok(())
    }

    /// Adds the rows.
    pub(crate) fn tell(&self, arguments: &Arguments, ground: &mut Ground, report: &mut Report) -> anyhow::Result<()> {
        ground.turn_to(self.tables)?;
        if self.wants_rates {
            throughput::tell(report, self.tables, &self.rates, &self.their_rates);
        }
        if self.wants_waits {
            let theirs = latency::theirs(arguments, ground, self.tables, &self.waits)?;
            latency::tell(report, self.tables, &self.waits, &theirs);
        }
        Ok(())
    }
}

/// The middle of what `key` says.
pub(crate) fn middle<T>(all: &[T], key: impl Fn(&T) -> f64) -> f64 {
    key(middle_of(all, &key))
}

/// The one in the middle by what `key` says.
pub(crate) fn middle_of<T>(all: &[T], key: impl Fn(&T) -> f64) -> &T {
    let mut sorted: Vec<&T> = all.iter().collect();
    sorted.sort_by(|one, other| key(one).total_cmp(&key(other)));
    sorted[sorted.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_one_counts_whatever_the_order() {
        assert_eq!(middle_of(&[3_u8, 1, 2], |figure| f64::from(*figure)), &2);
        assert_eq!(middle_of(&[5_u8], |figure| f64::from(*figure)), &5);
    }
}
