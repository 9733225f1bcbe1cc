//! One TCP or TLS connection: bytes in, frames up; flights down, bytes out.
//!
//! TLS is driven here and not by a stream adapter, because a REGISTER in early data must be answered before the
//! handshake is over, and because an idle connection must not hold buffers.

use std::cell::RefCell;
use std::io::{self, IoSlice, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustls::Connection as Tls;
use rustls::{ServerConfig, ServerConnection};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use wakeline_clock::{Time, system};
use wakeline_flow::FlowInfo;
use wakeline_sip_message::{Frame, FrameError, Framer};

use super::{HANDSHAKE, Inbound, Outgoing, PATIENCE, PINGS, safe_in_early_data};

thread_local! {
    /// One buffer for all connections of the thread: it is never kept across an await.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; 32 * 1024]);
}

/// Why a connection ends.
#[derive(Debug)]
enum End {
    /// The peer closed, or we were told to.
    Closed,
    /// Sockets, TLS or patience.
    Failed,
    /// What came in cannot be framed.
    Broken(Box<FrameError>),
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> End {
        End::Failed
    }
}

/// A connection's protocol state.
struct Connection {
    io: TcpStream,
    tls: Option<Box<Tls>>,
    framer: Framer,
    flow: FlowInfo,
    /// Messages that came as early data and must wait for the end of the handshake.
    parked: Vec<Bytes>,
    pings: u32,
    pings_since: Time,
}

/// Serves one accepted connection until it ends, then tells so.
pub(crate) async fn serve(
    io: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    flow: FlowInfo,
    inbound: mpsc::Sender<Inbound>,
    outgoing: mpsc::Receiver<Outgoing>,
) {
    let tls = match tls.map(ServerConnection::new).transpose() {
        Ok(tls) => tls.map(|tls| Box::new(Tls::Server(tls))),
        Err(error) => {
            tracing::error!(%error, "TLS cannot begin");
            let _ = inbound.send(Inbound::Closed(flow.id)).await;
            return;
        }
    };
    carry(io, tls, flow, inbound, outgoing).await;
}

/// Carries messages on a connection, whoever opened it, until it ends.
pub(crate) async fn carry(
    io: TcpStream,
    tls: Option<Box<Tls>>,
    flow: FlowInfo,
    inbound: mpsc::Sender<Inbound>,
    mut outgoing: mpsc::Receiver<Outgoing>,
) {
    let mut connection = Connection {
        io,
        tls,
        framer: Framer::default(),
        flow,
        parked: Vec::new(),
        pings: 0,
        pings_since: Time::ZERO,
    };
    let end = connection.run(&inbound, &mut outgoing).await;
    if let End::Broken(error) = end {
        // RFC 3261 §18.3: answer what can be answered, then close. The answer comes like any other.
        let known = error.message().cloned();
        if inbound.send(Inbound::Broken(flow, known)).await.is_ok() {
            connection.last_words(&mut outgoing).await;
        }
    }
    connection.close().await;
    let _ = inbound.send(Inbound::Closed(flow.id)).await;
}

impl Connection {
    async fn run(&mut self, inbound: &mpsc::Sender<Inbound>, outgoing: &mut mpsc::Receiver<Outgoing>) -> End {
        let opened = system::now();
        let mut partial_since: Option<Time> = None;
        loop {
            let deadline = match (self.is_handshaking(), partial_since) {
                (true, _) => Some(opened + HANDSHAKE),
                (false, Some(since)) => Some(since + PATIENCE),
                (false, None) => None,
            };
            let outcome = tokio::select! {
                ready = self.io.readable() => match ready {
                    Ok(()) => self.take_in(inbound).await,
                    Err(error) => Err(error.into()),
                },
                flight = outgoing.recv() => match flight {
                    Some(Outgoing::Flight(messages)) => self.send(&messages).await,
                    Some(Outgoing::Close) | None => return End::Closed,
                },
                () = until(deadline) => return End::Failed,
            };
            if let Err(end) = outcome {
                return end;
            }
            partial_since = match (self.framer.buffered(), partial_since) {
                (0, _) => None,
                (_, Some(since)) => Some(since),
                (_, None) => Some(system::now()),
            };
        }
    }

    fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// Reads what is there, once, and passes on what is whole.
    async fn take_in(&mut self, inbound: &mpsc::Sender<Inbound>) -> Result<(), End> {
        let early = self.read()?;
        if self.tls.as_ref().is_some_and(|tls| tls.wants_write()) {
            self.write_tls().await?;
        }
        loop {
            match self.framer.next() {
                Ok(Some(Frame::Message(bytes))) => {
                    if early && self.is_handshaking() && !safe_in_early_data(&bytes) {
                        self.parked.push(bytes);
                    } else {
                        pass(inbound, Inbound::Message(self.flow, bytes)).await?;
                    }
                }
                Ok(Some(Frame::Ping)) => {
                    self.count_ping()?;
                    self.send(&[Bytes::from_static(b"\r\n")]).await?;
                    pass(inbound, Inbound::KeepAlive(self.flow.id)).await?;
                }
                Ok(Some(Frame::Pong)) => self.count_ping()?,
                Ok(None) => break,
                Err(error) => return Err(End::Broken(Box::new(error))),
            }
        }
        if !self.parked.is_empty() && !self.is_handshaking() {
            for bytes in std::mem::take(&mut self.parked) {
                pass(inbound, Inbound::Message(self.flow, bytes)).await?;
            }
        }
        Ok(())
    }

    fn count_ping(&mut self) -> Result<(), End> {
        let now = system::now();
        if now.since(self.pings_since) > Duration::from_secs(1) {
            self.pings_since = now;
            self.pings = 0;
        }
        self.pings += 1;
        if self.pings > PINGS { Err(End::Failed) } else { Ok(()) }
    }

    /// One read; says whether early data was among it.
    fn read(&mut self) -> Result<bool, End> {
        SCRATCH.with_borrow_mut(|scratch| {
            let count = match self.io.try_read(scratch) {
                Ok(0) => return Err(End::Closed),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error.into()),
            };
            let (received, _) = scratch.split_at_mut(count);
            let Some(tls) = &mut self.tls else {
                self.framer.push(received);
                return Ok(false);
            };
            let mut early = false;
            let mut rest: &[u8] = received;
            let mut clear = Vec::new();
            while !rest.is_empty() {
                tls.read_tls(&mut rest)?;
                let state = match tls.process_new_packets() {
                    Ok(state) => state,
                    Err(error) => {
                        tracing::debug!(%error, "TLS failed");
                        // The alert that says why; nobody waits for it.
                        let _ = tls.write_tls(&mut Immediate(&self.io));
                        return Err(End::Failed);
                    }
                };
                if let Tls::Server(tls) = &mut **tls
                    && let Some(mut data) = tls.early_data()
                {
                    early |= data.read_to_end(&mut clear)? > 0;
                }
                let ready = state.plaintext_bytes_to_read();
                if ready > 0 {
                    let from = clear.len();
                    clear.resize(from + ready, 0);
                    let (_, space) = clear.split_at_mut(from);
                    tls.reader().read_exact(space)?;
                }
                if state.peer_has_closed() && clear.is_empty() {
                    return Err(End::Closed);
                }
            }
            self.framer.push(&clear);
            Ok(early)
        })
    }

    /// Writes whole messages in one go: one TLS record or one segment, as far as they fit.
    async fn send(&mut self, messages: &[Bytes]) -> Result<(), End> {
        let joined;
        let bytes = match messages {
            [] => return Ok(()),
            [one] => one,
            many => {
                joined = Bytes::from(many.concat());
                &joined
            }
        };
        match &mut self.tls {
            Some(tls) => {
                tls.writer().write_all(bytes)?;
                self.write_tls().await
            }
            None => {
                let mut rest: &[u8] = bytes;
                while !rest.is_empty() {
                    match self.io.try_write(rest) {
                        Ok(count) => rest = rest.get(count..).unwrap_or(&[]),
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable().await?,
                        Err(error) => return Err(error.into()),
                    }
                }
                Ok(())
            }
        }
    }

    async fn write_tls(&mut self) -> Result<(), End> {
        while let Some(tls) = self.tls.as_mut().filter(|tls| tls.wants_write()) {
            match tls.write_tls(&mut Immediate(&self.io)) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable().await?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Waits for room, but not for ever: a peer that does not read is given up.
    async fn writable(&self) -> Result<(), End> {
        match tokio::time::timeout(PATIENCE, self.io.writable()).await {
            Ok(ready) => Ok(ready?),
            Err(_) => Err(End::Failed),
        }
    }

    /// Sends what is still handed down until a close comes, shortly.
    async fn last_words(&mut self, outgoing: &mut mpsc::Receiver<Outgoing>) {
        let words = async {
            while let Some(Outgoing::Flight(messages)) = outgoing.recv().await {
                if self.send(&messages).await.is_err() {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(2), words).await;
    }

    async fn close(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            let _ = tls.write_tls(&mut Immediate(&self.io));
        }
        let _ = tokio::io::AsyncWriteExt::shutdown(&mut self.io).await;
    }
}

/// Hands up; fails when the event loop is gone.
async fn pass(inbound: &mpsc::Sender<Inbound>, what: Inbound) -> Result<(), End> {
    inbound.send(what).await.map_err(|_| End::Closed)
}

async fn until(deadline: Option<Time>) {
    match deadline {
        Some(deadline) => tokio::time::sleep(deadline.since(system::now())).await,
        None => std::future::pending().await,
    }
}

/// A socket that takes what it can, now.
struct Immediate<'a>(&'a TcpStream);

impl Write for Immediate<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
