//! Every address of the file is bound before anything is served: a half-started gateway would take calls and lose them.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::net::TcpListener;
use wakeline_flow::Transport;

use super::StartError;
use crate::config::Config;
use crate::edge::certificate::Certificates;
use crate::edge::sessions::Sessions;
use crate::edge::udp::UdpPort;
use crate::edge::{listen, tls};

/// A listener, under TLS or not.
pub(super) type Listener = (TcpListener, Option<Arc<ServerConfig>>);

/// What is listened on.
#[derive(Debug, Default)]
pub(super) struct Bound {
    pub(super) sip: Vec<(Transport, SocketAddr)>,
    pub(super) admin: Vec<SocketAddr>,
    pub(super) provision: Vec<SocketAddr>,
}

/// The sockets.
pub(super) struct Sockets {
    pub(super) udp: Vec<UdpPort>,
    pub(super) streams: Vec<(Transport, Listener)>,
    pub(super) admin: Vec<Listener>,
    pub(super) provision: Vec<Listener>,
}

impl Sockets {
    /// Binds them all.
    pub(super) fn bind(
        config: &Config,
        certificates: &Arc<Certificates>,
        sessions: &Arc<Sessions>,
    ) -> Result<(Sockets, Bound), StartError> {
        let mut bound = Bound::default();
        let udp = udp(config, &mut bound)?;
        let streams = streams(config, certificates, sessions, &mut bound)?;
        let mut admin = Vec::new();
        for address in &config.admin.listen {
            let failed = |source| StartError::BindAdmin { address: *address, source };
            // Beyond this machine a token travels, so TLS does too.
            let tls = web_tls(!address.ip().is_loopback(), certificates)?;
            let listener = listen::bind(*address).map_err(failed)?;
            bound.admin.push(listener.local_addr().map_err(failed)?);
            admin.push((listener, tls));
        }
        let mut provision = Vec::new();
        for address in &config.provision.listen {
            let failed = |source| StartError::BindWeb { key: "provision.listen", address: *address, source };
            let tls = web_tls(!config.provision.behind_proxy, certificates)?;
            let listener = listen::bind(*address).map_err(failed)?;
            bound.provision.push(listener.local_addr().map_err(failed)?);
            provision.push((listener, tls));
        }
        Ok((Sockets { udp, streams, admin, provision }, bound))
    }
}

fn web_tls(wanted: bool, certificates: &Arc<Certificates>) -> Result<Option<Arc<ServerConfig>>, StartError> {
    if wanted { Ok(Some(tls::for_http(Arc::clone(certificates) as _)?)) } else { Ok(None) }
}

fn udp(config: &Config, bound: &mut Bound) -> Result<Vec<UdpPort>, StartError> {
    let mut ports = Vec::new();
    for (index, address) in config.listen.udp.iter().enumerate() {
        let failed = |source| StartError::Bind { transport: Transport::Udp, address: *address, source };
        let index = u8::try_from(index).unwrap_or(u8::MAX);
        if index > 63 {
            return Err(failed(std::io::Error::other("at most 64 UDP addresses")));
        }
        let port = UdpPort::bind(*address, index).map_err(failed)?;
        bound.sip.push((Transport::Udp, port.local()));
        ports.push(port);
    }
    Ok(ports)
}

fn streams(
    config: &Config,
    certificates: &Arc<Certificates>,
    sessions: &Arc<Sessions>,
    bound: &mut Bound,
) -> Result<Vec<(Transport, Listener)>, StartError> {
    let secure = tls::for_sip(Arc::clone(certificates) as _, Arc::clone(sessions) as _)?;
    let secure_web = tls::for_websocket(Arc::clone(certificates) as _, Arc::clone(sessions) as _)?;
    let mut listeners = Vec::new();
    for (transport, addresses, tls) in [
        (Transport::Tcp, &config.listen.tcp, None),
        (Transport::Tls, &config.listen.tls, Some(secure)),
        (Transport::Ws, &config.listen.ws, None),
        (Transport::Wss, &config.listen.wss, Some(secure_web)),
    ] {
        for address in addresses {
            let failed = |source| StartError::Bind { transport, address: *address, source };
            let listener = listen::bind(*address).map_err(failed)?;
            bound.sip.push((transport, listener.local_addr().map_err(failed)?));
            listeners.push((transport, (listener, tls.clone())));
        }
    }
    Ok(listeners)
}
