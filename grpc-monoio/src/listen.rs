//! The listening sockets of a group of workers: one for each, on one address.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, FromRawFd};

use nix::sys::socket::sockopt::{ReuseAddr, ReusePort};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, listen, setsockopt, socket,
};

/// Opens `count` sockets that listen at `address`, between which the kernel spreads connections (SO_REUSEPORT).
///
/// Unless the port is to be `shared` with other groups, the first socket takes the address without SO_REUSEPORT, which fails if
/// another socket listens there, and gets the option only then, for the sockets of this group.
pub(crate) fn listen_all(
    address: SocketAddr,
    count: usize,
    backlog: i32,
    shared: bool,
) -> io::Result<Vec<TcpListener>> {
    let named = |error: io::Error| {
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse if !shared => {
                " (another server listens there; WorkerOptions::share_port lets servers share a port)"
            }
            _ => "",
        };
        io::Error::new(error.kind(), format!("cannot listen at {address}: {error}{hint}"))
    };
    let first = listen_one(address, backlog, shared).map_err(named)?;
    // The others take the port that the first one got.
    let bound = first.local_addr().map_err(named)?;
    let mut listeners = vec![first];
    if count > 1 {
        setsockopt(listeners[0].as_raw_fd(), ReusePort, &true).map_err(io::Error::from)?;
    }
    while listeners.len() < count {
        listeners.push(listen_one(bound, backlog, true).map_err(named)?);
    }
    Ok(listeners)
}

fn listen_one(address: SocketAddr, backlog: i32, reuse_port: bool) -> io::Result<TcpListener> {
    let family = if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let fd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    // SAFETY: the descriptor is new and nobody else's.
    let listener = unsafe { TcpListener::from_raw_fd(fd) };
    // Old connections that wait for their last packets (TIME_WAIT) do not keep a restarted server out.
    setsockopt(fd, ReuseAddr, &true)?;
    if reuse_port {
        setsockopt(fd, ReusePort, &true)?;
    }
    bind(fd, &SockaddrStorage::from(address))?;
    listen(fd, usize::try_from(backlog).unwrap_or(0))?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: SocketAddr =
        SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

    #[test]
    fn a_second_group_on_a_port_is_refused_with_the_address_named() {
        for (first, second) in [(1, 1), (3, 1), (1, 3), (3, 3)] {
            let listeners = listen_all(LOOPBACK, first, 16, false).expect("loopback can be served");
            let address = listeners[0].local_addr().expect("bound");
            let error = listen_all(address, second, 16, false).expect_err("it is taken");
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{first} {second}");
            assert!(error.to_string().contains(&address.to_string()), "{error}");
            assert!(error.to_string().contains("share_port"), "{error}");
            drop(listeners);
            listen_all(address, second, 16, false).expect("it is free again");
        }
    }

    #[test]
    fn groups_that_both_ask_for_it_share_a_port() {
        let first = listen_all(LOOPBACK, 2, 16, true).expect("loopback can be served");
        let address = first[0].local_addr().expect("bound");
        let second = listen_all(address, 2, 16, true).expect("shared");
        assert!(second.iter().all(|listener| listener.local_addr().expect("bound") == address));
    }

    #[test]
    fn connections_reach_every_socket_of_a_group() {
        let listeners = listen_all(LOOPBACK, 3, 128, false).expect("loopback can be served");
        let address = listeners[0].local_addr().expect("bound");
        let clients: Vec<_> = (0..100)
            .map(|_| std::net::TcpStream::connect(address).expect("somebody listens"))
            .collect();
        let accepted: Vec<usize> = listeners
            .iter()
            .map(|listener| {
                listener.set_nonblocking(true).expect("a mode");
                std::iter::from_fn(|| listener.accept().ok()).count()
            })
            .collect();
        assert_eq!(accepted.iter().sum::<usize>(), clients.len(), "{accepted:?}");
        assert!(accepted.iter().all(|&count| count > 0), "{accepted:?}");
    }
}
