//! Which ports to answer on.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context as _, bail};

use crate::say;

/// The port wished for, or the usual one; 0, for any that is free, where the usual one is taken.
pub(super) fn choose(wish: Option<u16>, usual: u16, flag: &str) -> anyhow::Result<u16> {
    let port = wish.unwrap_or(usual);
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => Ok(port),
        Err(error) if error.kind() == ErrorKind::AddrInUse && wish.is_none() => {
            say(&format!("port {usual} is taken; using a free one (choose one with {flag})"));
            Ok(0)
        }
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            bail!("port {port} is taken; choose another one with {flag}, or leave {flag} out to get a free one")
        }
        Err(error) => Err(error).with_context(|| format!("cannot use port {port}; choose another one with {flag}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_replaced_unless_it_was_wished_for() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        assert_eq!(choose(None, port, "--port").unwrap(), 0);
        let refused = choose(Some(port), 7400, "--port").unwrap_err().to_string();
        assert!(refused.contains(&format!("port {port} is taken")) && refused.contains("--port"), "{refused}");
        assert_eq!(choose(Some(0), port, "--port").unwrap(), 0);
        drop(taken);
        assert_eq!(choose(None, port, "--port").unwrap(), port);
    }
}
