//! Ports that no other test process uses.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};

use crate::error::BoxError;

/// Free ports are taken from this range. The system takes ports for outgoing connections from 32768 upwards (macOS: from 49152). So no
/// outgoing connection takes the port of a server that is down, or connects to itself there.
const PORTS: std::ops::Range<u16> = 10_240..32_768;

/// A TCP port of 127.0.0.1 on which nothing listened.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    /// The UDP port of the same number. While it is taken, other test processes choose another port.
    _claim: UdpSocket,
}

impl Port {
    pub(crate) fn claim() -> Result<Self, BoxError> {
        for _ in 0..1000 {
            let random = RandomState::new().hash_one("port") % u64::try_from(PORTS.len())?;
            let number = PORTS.start + u16::try_from(random)?;
            let Ok(claim) = UdpSocket::bind((Ipv4Addr::LOCALHOST, number)) else { continue };
            if TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Ok(Self { number, _claim: claim });
            }
        }
        Err(format!("no port of 127.0.0.1 from {} to {} is free", PORTS.start, PORTS.end - 1).into())
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }
}
