//! The processes of a run that several learn together, one for each GPU, or for tests some on a CPU.
//!
//! The process that the supervisor started has rank 0. It starts the others, each with one end of a socket pair as its
//! standard input: over that it sends the order, and then gradients are summed, by rank 0, in the order of the ranks. Whoever
//! loses the other end ends. The sums pass through the machine's memory: NCCL, which would keep them on the GPUs, has no
//! binding that takes a tensor of tch's, or the stream that computes it.

use std::io::{Error, ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use ursa_domain::run::RunOrder;
use ursa_learner::AllReduce;
use ursa_process::end_with_parent;

use crate::failure::Failure;

/// An order is a few kilobytes.
const MAX_ORDER: u32 = 16 << 20;

/// What a process has to know that rank 0 starts.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PeerOrder {
    /// The run.
    pub order: RunOrder,
    /// Which process of it this is, from 1.
    pub rank: usize,
}

/// All others, as rank 0 has them.
#[derive(Debug)]
pub(crate) struct Peers {
    links: Vec<UnixStream>,
    children: Vec<Child>,
}

impl Peers {
    /// Starts the others of `order`. Call it from a thread that lives as long as the run.
    pub(crate) fn start(order: &RunOrder) -> Result<Self, Failure> {
        let mut peers = Self { links: Vec::new(), children: Vec::new() };
        for rank in 1..order.processes as usize {
            let started = peers.add(&PeerOrder { order: order.clone(), rank });
            started
                .map_err(|error| Failure::retryable(format!("process {rank} of the run cannot be started: {error}")))?;
        }
        Ok(peers)
    }

    fn add(&mut self, order: &PeerOrder) -> Result<(), Error> {
        let (mut ours, theirs) = UnixStream::pair()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("peer").stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::null());
        end_with_parent(&mut command, Signal::SIGKILL);
        self.children.push(command.spawn()?);
        let order = serde_json::to_vec(order)?;
        ours.write_all(&(order.len() as u32).to_le_bytes())?;
        ours.write_all(&order)?;
        self.links.push(ours);
        Ok(())
    }
}

impl AllReduce for Peers {
    fn rank(&self) -> usize {
        0
    }

    fn processes(&self) -> usize {
        1 + self.links.len()
    }

    fn sum(&mut self, values: &mut [f32]) -> Result<(), Error> {
        let mut theirs = vec![0; size_of_val(values)];
        for (rank, link) in (1..).zip(&mut self.links) {
            link.read_exact(&mut theirs).map_err(|error| gone(rank, &error))?;
            values.iter_mut().zip(floats(&theirs)).for_each(|(value, other)| *value += other);
        }
        let sums = bytes(values);
        (1..)
            .zip(&mut self.links)
            .try_for_each(|(rank, link)| link.write_all(&sums).map_err(|error| gone(rank, &error)))
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        for child in &mut self.children {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The way to rank 0, as each of the others has it.
#[derive(Debug)]
pub(crate) struct Link {
    stream: UnixStream,
    rank: usize,
    processes: usize,
}

/// What rank 0 has to say to this process, and the way to it.
pub(crate) fn read_order() -> Result<(PeerOrder, Link), Failure> {
    let broken = |error: Error| Failure::fatal(format!("no order came from the first process of the run: {error}"));
    let mut stream = std::io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from).map_err(broken)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length).map_err(broken)?;
    let length = u32::from_le_bytes(length);
    if length > MAX_ORDER {
        return Err(Failure::fatal(format!("an order of {length} bytes is none")));
    }
    let mut order = vec![0; length as usize];
    stream.read_exact(&mut order).map_err(broken)?;
    let order: PeerOrder = serde_json::from_slice(&order).map_err(|error| broken(error.into()))?;
    let link = Link { stream, rank: order.rank, processes: order.order.processes as usize };
    Ok((order, link))
}

impl AllReduce for Link {
    fn rank(&self) -> usize {
        self.rank
    }

    fn processes(&self) -> usize {
        self.processes
    }

    fn sum(&mut self, values: &mut [f32]) -> Result<(), Error> {
        self.stream.write_all(&bytes(values)).map_err(|error| gone(0, &error))?;
        let mut sums = vec![0; size_of_val(values)];
        self.stream.read_exact(&mut sums).map_err(|error| gone(0, &error))?;
        values.iter_mut().zip(floats(&sums)).for_each(|(value, sum)| *value = sum);
        Ok(())
    }
}

fn gone(rank: usize, error: &Error) -> Error {
    let ended = matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe | ErrorKind::ConnectionReset);
    let reason = if ended { "it ended".to_owned() } else { error.to_string() };
    Error::new(error.kind(), format!("process {rank}: {reason}; what it said is in the log of the worker"))
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn floats(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_process_gets_the_sums_of_all() {
        let (first, second) = (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
        let others = [(first.1, 1), (second.1, 2)].map(|(stream, rank)| {
            std::thread::spawn(move || {
                let mut link = Link { stream, rank, processes: 3 };
                let mut values = [rank as f32, 10.0];
                link.sum(&mut values).unwrap();
                (values, link.sum(&mut [0.0]).unwrap_err().to_string())
            })
        });
        let mut peers = Peers { links: vec![first.0, second.0], children: Vec::new() };
        assert_eq!((peers.rank(), peers.processes()), (0, 3));
        let mut values = [0.5, 1.0];
        peers.sum(&mut values).unwrap();
        drop(peers);
        let values = values.map(f32::to_bits);
        assert_eq!(values, [3.5_f32, 21.0].map(f32::to_bits));
        for other in others {
            let (found, error) = other.join().unwrap();
            assert!(found.map(f32::to_bits) == values && error.contains("process 0: it ended"), "{found:?} {error}");
        }
    }
}
