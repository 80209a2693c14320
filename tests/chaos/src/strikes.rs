//! Does every fault of a schedule at its time, as soon as it can hit somebody, and nothing else is done to the same target.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::Context as _;
use chrono::Utc;
use tokio::time::Instant;

use crate::fault::{Fault, Target};
use crate::nemesis::{self, Begun, Step};
use crate::recovery::Struck;
use crate::report::Report;
use crate::schedule::{Schedule, Strike};
use crate::stage::Stage;

/// How long a fault may wait for somebody to hit.
const PATIENCE: Duration = Duration::from_mins(1);

/// See the module.
#[derive(Debug)]
pub struct Strikes {
    started: Instant,
    waiting: Vec<Strike>,
    ongoing: Vec<Ongoing>,
    done: Vec<Struck>,
}

/// A fault that is on.
#[derive(Debug)]
struct Ongoing {
    fault: Fault,
    begun: Begun,
    /// When it shall end; later, when it has hit nobody until then.
    until: Instant,
}

impl Strikes {
    /// The time of the schedule begins.
    pub fn begin(schedule: &Schedule) -> Self {
        let waiting = schedule.strikes.clone();
        Self { started: Instant::now(), waiting, ongoing: Vec::new(), done: Vec::new() }
    }

    /// Whether nothing goes wrong any more.
    pub fn are_over(&self) -> bool {
        self.waiting.is_empty() && self.ongoing.is_empty()
    }

    /// What was done.
    pub fn done(&self) -> &[Struck] {
        &self.done
    }

    /// Ends and begins what is due. Has to be called again and again.
    pub async fn step(
        &mut self,
        stage: &mut Stage,
        report: &mut Report,
        say: &mut impl FnMut(String),
    ) -> anyhow::Result<()> {
        self.end_due(stage, report, say).await?;
        self.begin_due(stage, report).await
    }

    async fn end_due(
        &mut self,
        stage: &mut Stage,
        report: &mut Report,
        say: &mut impl FnMut(String),
    ) -> anyhow::Result<()> {
        for one in std::mem::take(&mut self.ongoing) {
            if Instant::now() < one.until {
                self.ongoing.push(one);
                continue;
            }
            let Ongoing { fault, begun, until } = one;
            match nemesis::end(stage, &fault, &begun).await.with_context(|| format!("ending {fault}"))? {
                Step::Done(proof) => {
                    say(format!("{:7.1} s  {fault}: {proof}", self.started.elapsed().as_secs_f64()));
                    let Begun { at, worker, .. } = begun;
                    self.done.push(Struck { fault, begun_at: at, ended_at: Utc::now(), worker, proof });
                }
                Step::NotYet(why) if until.elapsed() > PATIENCE => {
                    report.violate("faults-fire", format!("{fault}: {why}"));
                    nemesis::give_up(stage, &fault)?;
                }
                Step::NotYet(_) => self.ongoing.push(Ongoing { fault, begun, until }),
            }
        }
        Ok(())
    }

    async fn begin_due(&mut self, stage: &mut Stage, report: &mut Report) -> anyhow::Result<()> {
        let mut busy: HashSet<Target> = self.ongoing.iter().map(|one| one.fault.target).collect();
        for strike in std::mem::take(&mut self.waiting) {
            let (fault, due) = (strike.fault, self.started + strike.at);
            if Instant::now() < due || busy.contains(&fault.target) {
                self.waiting.push(strike);
                continue;
            }
            match nemesis::begin(stage, &fault).await.with_context(|| format!("beginning {fault}"))? {
                Step::Done(begun) => {
                    busy.insert(fault.target);
                    self.ongoing.push(Ongoing { fault, begun, until: Instant::now() + fault.lasts });
                }
                Step::NotYet(why) if due.elapsed() > PATIENCE => {
                    report.violate("faults-fire", format!("{fault}: {why}"));
                }
                Step::NotYet(_) => self.waiting.push(strike),
            }
        }
        Ok(())
    }
}
