//! Datagrams with the moment at which the system took them in.
//!
//! On iOS a datagram counts from when it is read: the bindings to its sockets (nix 0.31) do not compile there.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

/// A stamp older than this is not believed: the wall clock was set meanwhile.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "macos"))]
const OLDEST: Duration = Duration::from_millis(500);

/// Asks for stamps. Where the system has none, a datagram counts from when it is read.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "macos"))]
pub(super) fn ask(socket: &UdpSocket) {
    use nix::sys::socket::{setsockopt, sockopt};
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let asked = setsockopt(socket, sockopt::ReceiveTimestampns, &true);
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let asked = setsockopt(socket, sockopt::ReceiveTimestamp, &true);
    if let Err(error) = asked {
        tracing::debug!(%error, "no arrival times");
    }
}

/// Reads a datagram: its length, where it is from, and how long ago it came.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "macos"))]
pub(super) fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr, Duration)> {
    use std::os::fd::AsRawFd as _;

    use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg};
    use nix::sys::time::TimeSpec;

    let (mut parts, mut control) = ([io::IoSliceMut::new(buffer)], [0; CONTROL]);
    let read =
        recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty())?;
    let source = read.address.as_ref().and_then(|address| {
        let four = address.as_sockaddr_in().map(|address| SocketAddr::V4((*address).into()));
        four.or_else(|| address.as_sockaddr_in6().map(|address| SocketAddr::V6((*address).into())))
    });
    let source = source.ok_or(io::ErrorKind::InvalidData)?;
    let stamps = read.cmsgs().into_iter().flatten();
    let mut stamps = stamps.filter_map(|message| match message {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        ControlMessageOwned::ScmTimestampns(stamp) => Some(stamp),
        ControlMessageOwned::ScmTimestamp(stamp) => Some(TimeSpec::from_duration(
            Duration::from_secs(stamp.tv_sec().try_into().ok()?)
                + Duration::from_micros(stamp.tv_usec().try_into().ok()?),
        )),
        _ => None,
    });
    let age = stamps.next().map(|stamp| wakeline_clock::system::since(Duration::from(stamp)));
    Ok((read.bytes, source, age.filter(|age| *age < OLDEST).unwrap_or_default()))
}

/// Room for one stamp with its header.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "macos"))]
const CONTROL: usize = 64;

/// Asks for nothing: there are no stamps here.
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "macos")))]
pub(super) fn ask(_: &UdpSocket) {}

/// Reads a datagram: its length, where it is from, and how long ago it came, as far as is known.
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "macos")))]
pub(super) fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr, Duration)> {
    socket.recv_from(buffer).map(|(length, source)| (length, source, Duration::ZERO))
}

#[cfg(all(test, any(target_os = "linux", target_os = "android", target_os = "macos")))]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_is_as_old_as_it_has_waited() {
        for local in ["127.0.0.1:0", "[::1]:0"] {
            let (one, two) = (UdpSocket::bind(local).unwrap(), UdpSocket::bind(local).unwrap());
            ask(&one);
            let before = wakeline_clock::system::now();
            two.send_to(b"late", one.local_addr().unwrap()).unwrap();
            // The kernel's stamp lies between sending and now, whatever else this machine does.
            let mut buffer = [0; 16];
            let (length, source, age) = receive(&one, &mut buffer).unwrap();
            assert_eq!((&buffer[..length], source), (&b"late"[..], two.local_addr().unwrap()));
            let passed = wakeline_clock::system::now().since(before);
            assert!(age > Duration::ZERO && age <= passed || passed >= OLDEST, "{age:?} of {passed:?}");
        }
    }
}
