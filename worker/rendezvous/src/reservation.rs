//! The port, bound long before it is served.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::sockopt::{set_ipv6_v6only, set_socket_reuseaddr, set_tcp_nodelay};
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, getsockname, ipproto, listen, socket_with,
};

use crate::Error;

/// A listening socket that nobody serves yet. Clients that connect wait in the kernel's queue, which is the best
/// place for them: one that is accepted and not answered waits without a limit of time. When it is dropped, they
/// see their connections reset.
#[derive(Debug)]
pub struct Reservation {
    socket: OwnedFd,
    port: u16,
}

/// Longer than any queue; the kernel takes `net.core.somaxconn` instead.
const BACKLOG: i32 = i32::MAX;

impl Reservation {
    /// Binds a port on all addresses of the machine, for IPv6 and IPv4 where it has both. If the preferred one is
    /// taken, another is: see [`port`](Self::port).
    pub fn bind(prefer_port: Option<u16>) -> Result<Self, Error> {
        Self::on([Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()], prefer_port)
    }

    /// Binds a port that only this machine reaches, as 127.0.0.1, or as ::1 where there is no IPv4.
    pub fn bind_loopback(prefer_port: Option<u16>) -> Result<Self, Error> {
        Self::on([Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()], prefer_port)
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn into_socket(self) -> OwnedFd {
        self.socket
    }

    /// The first address that this machine has, with the port if it is free.
    fn on(addresses: [std::net::IpAddr; 2], prefer_port: Option<u16>) -> Result<Self, Error> {
        let mut failure = Errno::ADDRNOTAVAIL;
        for port in prefer_port.into_iter().chain([0]) {
            for address in addresses {
                match Self::at(SocketAddr::new(address, port)) {
                    Ok(reservation) => return Ok(reservation),
                    // Taken for one family is taken: a second socket would split the job's processes.
                    Err(Errno::ADDRINUSE) => break,
                    Err(errno) => failure = errno,
                }
            }
        }
        Err(Error::Bind { source: failure })
    }

    fn at(address: SocketAddr) -> Result<Self, Errno> {
        let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
        if address.is_ipv6() {
            set_ipv6_v6only(&socket, false)?;
        }
        // Connections of an earlier generation may linger on the port; two listeners are still impossible.
        set_socket_reuseaddr(&socket, true)?;
        // Accepted sockets inherit it.
        set_tcp_nodelay(&socket, true)?;
        bind(&socket, &address)?;
        listen(&socket, BACKLOG)?;
        let bound = SocketAddr::try_from(getsockname(&socket)?)?;
        Ok(Self { socket, port: bound.port() })
    }
}

impl AsFd for Reservation {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A socket that somebody else bound, to be served.
impl TryFrom<TcpListener> for Reservation {
    type Error = Error;

    fn try_from(listener: TcpListener) -> Result<Self, Error> {
        let start = |source| Error::start("taking over the socket", source);
        listener.set_nonblocking(true).map_err(start)?;
        let port = listener.local_addr().map_err(start)?.port();
        let socket = OwnedFd::from(listener);
        set_tcp_nodelay(&socket, true).map_err(|errno| start(errno.into()))?;
        Ok(Self { socket, port })
    }
}
