//! Listeners: one per worker thread on one port.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections the kernel keeps until they are accepted.
const BACKLOG: i32 = 4096;

/// Binds a listener for each worker. A fixed port is first bound without sharing, so that one that is taken is an error and not a share of
/// somebody else's traffic; with port 0 the first worker binds and the others take the port it got.
///
/// # Errors
/// The address is taken or not ours.
pub fn bind(address: SocketAddr, workers: usize) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    if address.port() != 0 {
        drop(listener(address, false)?);
    }
    let first = listener(address, true)?;
    let address = first.local_addr()?;
    let mut listeners = vec![first];
    for _ in 1..workers {
        listeners.push(listener(address, true)?);
    }
    Ok((address, listeners))
}

fn listener(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    if shared {
        socket.listen(BACKLOG)?;
    }
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_share_a_port_and_a_taken_port_is_an_error() {
        let (address, listeners) = bind("127.0.0.1:0".parse().expect("an address"), 3).expect("a free port");
        assert_eq!(listeners.len(), 3);
        for listener in &listeners {
            assert_eq!(listener.local_addr().expect("bound"), address);
        }
        let taken = bind(address, 1).expect_err("the port is taken");
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
    }
}
