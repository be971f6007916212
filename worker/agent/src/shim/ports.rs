//! A port that is kept free for the program.
//!
//! The socket is bound, so that nobody else gets the port, and never listens, so that nobody connects to it.
//! It is closed just before the program starts, which then binds the port itself.

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::{BuildHasher as _, Hasher as _};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with};

/// How many ports are tried before the kernel is asked for any.
const TRIES: u64 = 32;

/// How many ports below the kernel's own range are used.
const WIDTH: u64 = 12_000;

/// The lowest port that is used.
const LOWEST: u64 = 10_000;

#[derive(Debug)]
pub(super) struct FreePort {
    pub(super) number: u16,
    _bound: OwnedFd,
}

impl FreePort {
    /// Reserves a port, for IPv6 and IPv4 where the machine has both.
    ///
    /// It is taken at random from below those that the kernel gives to outgoing connections, so that none of
    /// them takes it between its release and the program's own bind.
    pub(super) fn reserve() -> io::Result<Self> {
        for port in candidates() {
            if let Ok(reserved) = Self::bind(port) {
                return Ok(reserved);
            }
        }
        Self::bind(0)
    }

    fn bind(port: u16) -> io::Result<Self> {
        let any = [
            SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, port, 0, 0)),
            SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port)),
        ];
        // A machine without IPv6 refuses the first.
        let dual = Self::bind_to(&any[0]);
        match dual {
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => Self::bind_to(&any[1]),
            other => other,
        }
    }

    fn bind_to(address: &SocketAddr) -> io::Result<Self> {
        let family = match address {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        if address.is_ipv6() {
            rustix::net::sockopt::set_ipv6_v6only(&socket, false)?;
        }
        bind(&socket, address)?;
        let bound = SocketAddr::try_from(getsockname(&socket)?)?;
        Ok(Self { number: bound.port(), _bound: socket })
    }
}

fn candidates() -> impl Iterator<Item = u16> {
    let first_ephemeral = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok())
        .unwrap_or(32_768);
    let lowest = first_ephemeral.saturating_sub(WIDTH).max(LOWEST);
    let width = first_ephemeral.saturating_sub(lowest);
    let tries = if width == 0 { 0 } else { TRIES };
    (0..tries).filter_map(move |_| u16::try_from(lowest + random() % width).ok())
}

/// A random number, by the keys that the standard library draws for its hash tables.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_reserved_port_is_nobody_elses_until_it_is_released() {
        let reserved = FreePort::reserve().unwrap();
        let number = reserved.number;
        assert!(TcpListener::bind(("127.0.0.1", number)).is_err());
        assert!(TcpStream::connect(("127.0.0.1", number)).is_err());
        assert_ne!(FreePort::reserve().unwrap().number, number);
        drop(reserved);
        let listener = TcpListener::bind(("127.0.0.1", number)).unwrap();
        assert!(TcpStream::connect(("127.0.0.1", number)).is_ok());
        drop(listener);
    }
}
