//! Loopback ports.

use std::net::{Ipv4Addr, TcpListener};

use crate::error::{Context, Result};

/// Finds a free loopback port: the preferred one if it is free, so that addresses survive a restart.
pub fn free(preferred: Option<u16>) -> Result<u16> {
    let listener = preferred
        .and_then(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok())
        .map_or_else(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)), Ok)
        .context("find a free port")?;
    Ok(listener.local_addr().context("find a free port")?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preferred_port_is_used_unless_taken() {
        let free_port = free(None).unwrap();
        assert_eq!(free(Some(free_port)).unwrap(), free_port);
        let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, free_port)).unwrap();
        assert_ne!(free(Some(free_port)).unwrap(), free_port);
    }
}
