//! Chaos: the whole system at work while processes are killed and stopped, connections cut, Postgres restarted, disks slow
//! and clocks wrong; and a checker that reads everything that happened, and proves that nothing was lost or done twice.

pub mod acts;
pub mod checker;
pub mod fault;
pub mod history;
pub mod load;
pub mod logs;
pub mod nemesis;
pub mod processes;
pub mod recovery;
pub mod report;
pub mod run;
pub mod schedule;
pub mod stage;
pub mod strikes;
