//! What the benchmarks share: their rows, and whether the aims hold.
//!
//! `dispatch`: how fast tasks go through, beside `graphile_worker` (the program in `peer/`). `train`: how fast networks learn,
//! beside PyTorch. `accuracy`: what bfloat16 costs. Each is a program of its own that writes JSON; `results/` keeps runs on a
//! quiet machine.

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

pub mod report;
