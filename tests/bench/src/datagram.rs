//! Receiving datagrams with a time-out.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};

/// The next datagram's length and sender; panics when none comes in time.
///
/// A process that was stopped and goes on gets its call back interrupted when the socket has a time-out: asked again.
pub fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> (usize, SocketAddr) {
    loop {
        match socket.recv_from(buffer) {
            Ok(received) => return received,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("no message in time: {error}"),
        }
    }
}
