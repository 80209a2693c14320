//! A trainer as a child process, with every wait bounded.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nix::unistd::Pid;
use ursa_domain::run::{EvaluationOrder, ExplanationOrder, RunOrder, TrainerEvent, TrainerInput};
use ursa_domain::sgd_lab::SgdLab;

const PATIENCE: Duration = Duration::from_mins(2);

pub(crate) struct Trainer {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    seen: Vec<TrainerEvent>,
}

impl Trainer {
    /// A trainer that has read nothing yet.
    pub(crate) fn spawn() -> Self {
        Self::spawn_command(&mut Command::new(env!("CARGO_BIN_EXE_ursa-trainer")))
    }

    pub(crate) fn start(order: &RunOrder) -> Self {
        let mut trainer = Self::spawn();
        trainer.write(&TrainerInput::Run(Box::new(order.clone())));
        trainer
    }

    /// A trainer on a machine whose GPUs are gone.
    pub(crate) fn start_without_gpus(order: &RunOrder) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ursa-trainer"));
        let mut trainer = Self::spawn_command(command.env("CUDA_VISIBLE_DEVICES", ""));
        trainer.write(&TrainerInput::Run(Box::new(order.clone())));
        trainer
    }

    pub(crate) fn start_evaluation(order: &EvaluationOrder) -> Self {
        let mut trainer = Self::spawn();
        trainer.write(&TrainerInput::Evaluate(Box::new(order.clone())));
        trainer
    }

    pub(crate) fn start_explanation(order: &ExplanationOrder) -> Self {
        let mut trainer = Self::spawn();
        trainer.write(&TrainerInput::Explain(order.clone()));
        trainer
    }

    pub(crate) fn start_lab(lab: &SgdLab) -> Self {
        let mut trainer = Self::spawn();
        trainer.write(&TrainerInput::Lab(lab.clone()));
        trainer
    }

    /// A trainer whose address space ends at `kibibytes`.
    pub(crate) fn start_with_memory(order: &RunOrder, kibibytes: u64) -> Self {
        let script = format!("ulimit -v {kibibytes} && exec {}", env!("CARGO_BIN_EXE_ursa-trainer"));
        let mut trainer = Self::spawn_command(Command::new("sh").args(["-c", &script]));
        trainer.write(&TrainerInput::Run(Box::new(order.clone())));
        trainer
    }

    /// A trainer for which no tensor may have more than `bytes`: memory runs out where one would.
    pub(crate) fn start_with_small_tensors(order: &RunOrder, bytes: u64) -> Self {
        let library = std::path::Path::new(&order.cache_dir).with_file_name(format!("short-memory-{bytes}.so"));
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", &format!("-DLIMIT={bytes}"), "-o"]).arg(&library);
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/short_memory.c");
        assert!(compiler.arg(source).status().unwrap().success());
        let mut command = Command::new(env!("CARGO_BIN_EXE_ursa-trainer"));
        let mut trainer = Self::spawn_command(command.env("LD_PRELOAD", library));
        trainer.write(&TrainerInput::Run(Box::new(order.clone())));
        trainer
    }

    fn spawn_command(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { input: child.stdin.take(), child, lines, seen: Vec::new() }
    }

    pub(crate) fn write(&mut self, message: &TrainerInput) {
        self.write_line(&serde_json::to_string(message).unwrap());
    }

    pub(crate) fn write_line(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    pub(crate) fn close_input(&mut self) {
        self.input = None;
    }

    /// The processes that it has started.
    pub(crate) fn children(&self) -> Vec<Pid> {
        let pid = self.child.id();
        let listed = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        listed.split_whitespace().map(|child| Pid::from_raw(child.parse().unwrap())).collect()
    }

    /// Ends it by SIGKILL; every event that it got to say.
    pub(crate) fn kill(mut self) -> Vec<TrainerEvent> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let deadline = Instant::now() + PATIENCE;
        while self.next(deadline).is_some() {}
        std::mem::take(&mut self.seen)
    }

    /// The first event from here on that is `wanted`.
    pub(crate) fn wait_for(&mut self, what: &str, wanted: impl Fn(&TrainerEvent) -> bool) -> TrainerEvent {
        let deadline = Instant::now() + PATIENCE;
        while let Some(event) = self.next(deadline) {
            if wanted(&event) {
                return event;
            }
        }
        panic!("{what} did not come; last was {:?}", self.seen.last());
    }

    /// Every event until the process ends, and its exit code.
    pub(crate) fn finish(mut self) -> (Vec<TrainerEvent>, i32) {
        let deadline = Instant::now() + PATIENCE;
        while self.next(deadline).is_some() {}
        let status = self.child.wait().unwrap();
        (std::mem::take(&mut self.seen), status.code().unwrap_or_else(|| panic!("killed: {status}")))
    }

    /// `None` when standard output has ended.
    fn next(&mut self, deadline: Instant) -> Option<TrainerEvent> {
        use std::sync::mpsc::RecvTimeoutError::{Disconnected, Timeout};
        match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                let event: TrainerEvent = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
                self.seen.push(event.clone());
                Some(event)
            }
            Err(Disconnected) => None,
            Err(Timeout) => panic!("nothing came for too long; last was {:?}", self.seen.last()),
        }
    }
}

impl Drop for Trainer {
    fn drop(&mut self) {
        // After a failed assertion nobody else would end it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
