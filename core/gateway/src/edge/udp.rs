//! UDP: one socket, read and written in batches.
//!
//! A flow over UDP is a pair of our socket and a remote address (RFC 5626 §2), so its name is made from just these:
//! no table for IPv4, a bounded one for IPv6. Nothing here waits; the event loop does.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::task::{Context, Poll};

use bytes::Bytes;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use wakeline_flow::{FlowId, FlowInfo, Transport};

/// Datagrams per system call.
pub(crate) const BATCH: usize = 32;
/// The largest datagram.
const DATAGRAM: usize = 65_535;
/// What the kernel may hold for us: a storm of registrations must survive a pause of the loop.
const KERNEL_BUFFER: usize = 8 * 1024 * 1024;
/// Datagrams that may wait for room in the kernel; more are dropped, as the network would.
const QUEUE: usize = 4096;
/// IPv6 peers whose names are kept.
const PEERS: usize = 100_000;

/// The bit that tells UDP flows from streams, and the one that tells IPv6 among them.
const UDP: u64 = 1 << 63;
const V6: u64 = 1 << 55;

/// One UDP socket.
pub(crate) struct UdpPort {
    index: u8,
    socket: UdpSocket,
    local: SocketAddr,
    buffers: Vec<u8>,
    queue: VecDeque<(SocketAddr, Bytes)>,
    peers: Peers,
    pub(crate) dropped: u64,
}

/// IPv6 peers by name and back.
#[derive(Default)]
struct Peers {
    names: HashMap<SocketAddrV6, u64>,
    addresses: HashMap<u64, SocketAddrV6>,
    next: u64,
}

impl Peers {
    fn name(&mut self, address: SocketAddrV6) -> u64 {
        if let Some(name) = self.names.get(&address) {
            return *name;
        }
        self.next += 1;
        let name = self.next & ((1 << 48) - 1);
        // The oldest name goes; its flow is then unknown, which is what a long silence makes of it anyway.
        if let Some(old) = name.checked_sub(PEERS as u64)
            && let Some(address) = self.addresses.remove(&old)
        {
            self.names.remove(&address);
        }
        self.names.insert(address, name);
        self.addresses.insert(name, address);
        name
    }
}

impl UdpPort {
    /// Binds; `index` is this socket's number in the names of its flows.
    pub(crate) fn bind(address: SocketAddr, index: u8) -> io::Result<UdpPort> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // Best effort: the system may allow less.
        let _ = socket.set_recv_buffer_size(KERNEL_BUFFER);
        let _ = socket.set_send_buffer_size(KERNEL_BUFFER);
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        let socket = UdpSocket::from_std(socket.into())?;
        let local = socket.local_addr()?;
        Ok(UdpPort {
            index: index & 0x3F,
            socket,
            local,
            buffers: vec![0; BATCH * DATAGRAM],
            queue: VecDeque::new(),
            peers: Peers::default(),
            dropped: 0,
        })
    }

    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }

    /// Whether this flow's name is one of a UDP flow, and of which socket.
    pub(crate) fn socket_of(flow: FlowId) -> Option<usize> {
        (flow.0 & UDP != 0).then_some(((flow.0 >> 56) & 0x3F) as usize)
    }

    /// The flow between this socket and `remote`.
    pub(crate) fn flow(&mut self, remote: SocketAddr) -> FlowInfo {
        let socket = UDP | u64::from(self.index) << 56;
        let id = match remote {
            SocketAddr::V4(remote) => {
                socket | u64::from(u32::from(*remote.ip())) << 16 | u64::from(remote.port())
            }
            SocketAddr::V6(remote) => socket | V6 | self.peers.name(remote),
        };
        FlowInfo { id: FlowId(id), transport: Transport::Udp, local: self.local, remote }
    }

    /// Who is at the other end of a flow of this socket.
    pub(crate) fn remote(&self, flow: FlowId) -> Option<SocketAddr> {
        let low = flow.0 & ((1 << 48) - 1);
        if flow.0 & V6 == 0 {
            let address = Ipv4Addr::from((low >> 16) as u32);
            return Some(SocketAddrV4::new(address, (low & 0xFFFF) as u16).into());
        }
        self.peers.addresses.get(&low).map(|address| (*address).into())
    }

    /// Ready when something can be read.
    pub(crate) fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        self.socket.poll_recv_ready(context).map(|_| ())
    }

    /// Ready when queued datagrams may be tried again.
    pub(crate) fn poll_unblocked(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.queue.is_empty() {
            return Poll::Pending;
        }
        self.socket.poll_send_ready(context).map(|_| ())
    }

    /// One batch of what has come in; empty when nothing has.
    pub(crate) fn receive(&mut self, batch: &mut Vec<(FlowInfo, Bytes)>) {
        let mut froms = [(0, SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0))); BATCH];
        let received = self.socket.try_io(tokio::io::Interest::READABLE, || {
            calls::receive(&self.socket, &mut self.buffers, &mut froms)
        });
        for (slot, (length, from)) in froms.iter().enumerate().take(received.unwrap_or(0)) {
            let from_byte = slot * DATAGRAM;
            let datagram = self.buffers.get(from_byte..from_byte + length).map(Bytes::copy_from_slice);
            if let Some(datagram) = datagram {
                batch.push((self.flow(*from), datagram));
            }
        }
    }

    /// Queues a datagram; it leaves with the next [`UdpPort::flush`].
    pub(crate) fn queue(&mut self, flow: FlowId, bytes: Bytes) {
        match self.remote(flow) {
            Some(remote) if self.queue.len() < QUEUE => self.queue.push_back((remote, bytes)),
            Some(_) | None => self.dropped += 1,
        }
    }

    /// Sends what is queued, as far as the kernel takes it.
    pub(crate) fn flush(&mut self) {
        while !self.queue.is_empty() {
            let queue = &mut self.queue;
            let front = queue.make_contiguous();
            let sent = self.socket.try_io(tokio::io::Interest::WRITABLE, || {
                calls::send(&self.socket, front.get(..front.len().min(BATCH)).unwrap_or(&[]))
            });
            match sent {
                Ok(count) => drop(queue.drain(..count.max(1).min(queue.len()))),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // The first one cannot be sent (too large, no route): it is lost, the others go on.
                Err(error) => {
                    tracing::debug!(%error, "a datagram could not be sent");
                    self.dropped += 1;
                    queue.pop_front();
                }
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod calls {
    //! One datagram per system call.

    use super::*;

    pub(super) fn receive(
        socket: &UdpSocket,
        buffers: &mut [u8],
        froms: &mut [(usize, SocketAddr); BATCH],
    ) -> io::Result<usize> {
        let socket = socket2::SockRef::from(socket);
        let mut count = 0;
        for (buffer, slot) in buffers.chunks_mut(DATAGRAM).zip(froms.iter_mut()) {
            // Reading into plain bytes: the library's signature wants them as maybe not written yet.
            let mut reader = &*socket;
            let _ = &mut reader;
            match io::Read::read(&mut reader, buffer) {
                Ok(length) => slot.0 = length,
                Err(error) if count == 0 => return Err(error),
                Err(_) => break,
            }
            count += 1;
        }
        Ok(count)
    }

    pub(super) fn send(socket: &UdpSocket, datagrams: &[(SocketAddr, Bytes)]) -> io::Result<usize> {
        let socket = socket2::SockRef::from(socket);
        for (sent, (to, bytes)) in datagrams.iter().enumerate() {
            if let Err(error) = socket.send_to(bytes, &(*to).into()) {
                return if sent == 0 { Err(error) } else { Ok(sent) };
            }
        }
        Ok(datagrams.len())
    }
}

#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
mod calls {
    //! `recvmmsg` and `sendmmsg`: a batch per system call.

    use std::mem::zeroed;
    use std::os::fd::AsRawFd as _;

    use super::*;

    pub(super) fn receive(
        socket: &UdpSocket,
        buffers: &mut [u8],
        froms: &mut [(usize, SocketAddr); BATCH],
    ) -> io::Result<usize> {
        // SAFETY: all of these are plain C structures for which zero is a valid value.
        let (mut names, mut parts, mut heads): (
            [libc::sockaddr_storage; BATCH],
            [libc::iovec; BATCH],
            [libc::mmsghdr; BATCH],
        ) = unsafe { (zeroed(), zeroed(), zeroed()) };
        let buffers = buffers.chunks_exact_mut(DATAGRAM);
        for (((buffer, name), part), head) in buffers.zip(&mut names).zip(&mut parts).zip(&mut heads) {
            part.iov_base = buffer.as_mut_ptr().cast();
            part.iov_len = buffer.len();
            head.msg_hdr.msg_name = std::ptr::from_mut(name).cast();
            head.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            head.msg_hdr.msg_iov = part;
            head.msg_hdr.msg_iovlen = 1;
        }
        // SAFETY: every header points at one name and one part, every part at its own buffer; all of them live until
        // the call returns and nothing else refers to them meanwhile. No timeout is passed.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                heads.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        for ((slot, head), name) in froms.iter_mut().zip(&heads).zip(&names).take(count) {
            // SAFETY: the kernel wrote an address of `msg_namelen` bytes into this storage, which began as zeros.
            let name = unsafe { socket2::SockAddr::new(storage(name), head.msg_hdr.msg_namelen) };
            if let Some(from) = name.as_socket() {
                *slot = (head.msg_len as usize, from);
            } else {
                slot.0 = 0;
            }
        }
        Ok(count)
    }

    /// The same bytes under the library's type.
    fn storage(name: &libc::sockaddr_storage) -> socket2::SockAddrStorage {
        let mut storage = socket2::SockAddrStorage::zeroed();
        // SAFETY: both types are the operating system's `sockaddr_storage`; `view_as` checks that it fits.
        *unsafe { storage.view_as::<libc::sockaddr_storage>() } = *name;
        storage
    }

    pub(super) fn send(socket: &UdpSocket, datagrams: &[(SocketAddr, Bytes)]) -> io::Result<usize> {
        let names: [Option<socket2::SockAddr>; BATCH] =
            std::array::from_fn(|slot| datagrams.get(slot).map(|(to, _)| (*to).into()));
        // SAFETY: plain C structures for which zero is a valid value.
        let (mut parts, mut heads): ([libc::iovec; BATCH], [libc::mmsghdr; BATCH]) =
            unsafe { (zeroed(), zeroed()) };
        let mut count = 0;
        for ((((_, bytes), name), part), head) in datagrams.iter().zip(&names).zip(&mut parts).zip(&mut heads)
        {
            let Some(name) = name else { break };
            part.iov_base = bytes.as_ptr().cast_mut().cast();
            part.iov_len = bytes.len();
            head.msg_hdr.msg_name = name.as_ptr().cast_mut().cast();
            head.msg_hdr.msg_namelen = name.len();
            head.msg_hdr.msg_iov = part;
            head.msg_hdr.msg_iovlen = 1;
            count += 1;
        }
        // SAFETY: the first `count` headers point at names, parts and bytes that live until the call returns; the
        // kernel only reads them.
        let sent =
            unsafe { libc::sendmmsg(socket.as_raw_fd(), heads.as_mut_ptr(), count, libc::MSG_DONTWAIT) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn batches_arrive_whole_and_flows_lead_back() {
        for ip in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(mut port) = UdpPort::bind(ip.parse().unwrap(), 3) else { continue };
            let peer = std::net::UdpSocket::bind(ip).unwrap();
            for number in 0..70_u8 {
                peer.send_to(&[number; 9], port.local()).unwrap();
            }
            let mut batch = Vec::new();
            while batch.len() < 70 {
                std::future::poll_fn(|context| port.poll_readable(context)).await;
                port.receive(&mut batch);
            }
            let (flow, first) = batch[0].clone();
            assert_eq!(&first[..], [0; 9]);
            assert_eq!(batch[69].1[0], 69);
            assert_eq!(flow.remote, peer.local_addr().unwrap());
            assert_eq!(UdpPort::socket_of(flow.id), Some(3));
            assert_eq!(UdpPort::socket_of(FlowId(17)), None);
            for number in 0..70_u8 {
                port.queue(flow.id, Bytes::from(vec![number; 5]));
            }
            port.flush();
            let mut buffer = [0; 64];
            for number in 0..70_u8 {
                let (length, from) = peer.recv_from(&mut buffer).unwrap();
                assert_eq!(&buffer[..length], [number; 5]);
                assert_eq!(from, port.local());
            }
            assert_eq!(port.dropped, 0);
        }
    }
}
