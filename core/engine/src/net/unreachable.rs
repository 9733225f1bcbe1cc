//! What ICMP says of datagrams that did not arrive (RFC 3261 §18.4): the kernel's error queue, on Linux and Android.
//!
//! Without it a server that is not there looks like one that is slow, and costs 32 s. Elsewhere nothing is heard.

use std::net::SocketAddr;

use tokio::net::UdpSocket;

/// Errors that are read in one go.
#[cfg(any(target_os = "linux", target_os = "android"))]
const MOST: usize = 64;

/// Asks the kernel to tell.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn listen(socket: &socket2::Socket, ipv6: bool) {
    use nix::sys::socket::{setsockopt, sockopt};
    let asked = if ipv6 {
        setsockopt(socket, sockopt::Ipv6RecvErr, &true)
    } else {
        setsockopt(socket, sockopt::Ipv4RecvErr, &true)
    };
    if let Err(error) = asked {
        tracing::debug!(%error, "unreachable servers are not told of");
    }
}

/// Asks for nothing.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn listen(_socket: &socket2::Socket, _ipv6: bool) {}

/// The addresses to which datagrams did not arrive. An error that is said to be of passing nature (a message that was
/// too long, a time exceeded) is none.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[expect(clippy::wildcard_enum_match_arm, reason = "the system's enum, of which two values are asked for")]
pub(super) fn told(socket: &UdpSocket) -> Vec<SocketAddr> {
    use std::os::fd::AsRawFd as _;

    use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg};

    let mut addresses = Vec::new();
    for _ in 0..MOST {
        // The datagram itself comes back too; nobody needs it.
        let mut datagram = [0; 64];
        let (mut parts, mut control) = ([std::io::IoSliceMut::new(&mut datagram)], [0; 512]);
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let read = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags);
        let Ok(read) = read else { break };
        let mut codes = read.cmsgs().into_iter().flatten().filter_map(|message| match message {
            ControlMessageOwned::Ipv4RecvErr(error, _) | ControlMessageOwned::Ipv6RecvErr(error, _) => {
                i32::try_from(error.ee_errno).ok()
            }
            _ => None,
        });
        let is_final = codes.any(|code| {
            matches!(code, libc::ECONNREFUSED | libc::EHOSTUNREACH | libc::ENETUNREACH | libc::ENOPROTOOPT)
        });
        let remote = read.address.as_ref().and_then(|address| {
            let four = address.as_sockaddr_in().map(|address| SocketAddr::V4((*address).into()));
            four.or_else(|| address.as_sockaddr_in6().map(|address| SocketAddr::V6((*address).into())))
        });
        addresses.extend(remote.filter(|_| is_final));
    }
    addresses
}

/// Nothing is heard.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn told(_socket: &UdpSocket) -> Vec<SocketAddr> {
    Vec::new()
}
