//! From prepared parts to the loop that serves, on a thread of its own.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::sync::{broadcast, mpsc};
use wakeline_clock::system;
use wakeline_flow::Transport;
use wakeline_registrar::{Loaded, Registrar, Trace};
use wakeline_sip_auth::ReplayMemory;

use super::StartError;
use super::bind::{Bound, Sockets};
use crate::admin::{self, Access};
use crate::cluster::{Beat, Condition};
use crate::config::Config;
use crate::edge::certificate::Certificates;
use crate::edge::listen;
use crate::edge::next_hop::Dial;
use crate::edge::sessions::Sessions;
use crate::knocks::Knocks;
use crate::provision::{self, Office};
use crate::push::PushThread;
use crate::push::canary::{Canary, Reports};
use crate::push::dispatch::{Dispatcher, Senders};
use crate::server::{Command, Server, State};
use crate::store::Keeper;
use crate::strangers::Strangers;
use crate::web;

/// Messages of all streams that may wait for the event loop.
const INBOUND: usize = 1024;

/// What the gateway's thread starts from.
pub(super) struct Parts {
    pub(super) config: Config,
    pub(super) machine: wakeline_registrar::Config,
    pub(super) loaded: Loaded,
    pub(super) seed: [u8; 32],
    pub(super) nonces: Option<ReplayMemory>,
    pub(super) senders: Senders,
    pub(super) canaries: (Vec<Canary>, Reports),
    pub(super) certificates: Arc<Certificates>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) keeper: Option<Keeper>,
    pub(super) traces: broadcast::Sender<Trace>,
    pub(super) orders: mpsc::UnboundedSender<Command>,
    pub(super) commands: mpsc::UnboundedReceiver<Command>,
    pub(super) access: Access,
    pub(super) office: Option<Arc<Office>>,
    /// How each next hop's certificate is judged.
    pub(super) trusts: Vec<Option<Arc<ClientConfig>>>,
}

/// What a start gives, or why it failed.
pub(super) type Started = Result<Bound, StartError>;

/// The gateway's thread.
pub(super) fn serve(parts: Parts, ready: &std::sync::mpsc::Sender<Started>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = ready.send(Err(StartError::System(error)));
            return;
        }
    };
    runtime.block_on(async {
        match open(parts) {
            Ok((server, bound)) => {
                if ready.send(Ok(bound)).is_ok() {
                    server.run().await;
                }
            }
            Err(error) => drop(ready.send(Err(error))),
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
}

/// Binds everything and composes the event loop.
fn open(parts: Parts) -> Result<(Server, Bound), StartError> {
    let Parts {
        config,
        machine,
        loaded,
        seed,
        nonces,
        senders,
        canaries,
        certificates,
        sessions,
        keeper,
        traces,
        orders,
        commands,
        access,
        office,
        trusts,
    } = parts;
    let (sockets, bound) = Sockets::bind(&config, &certificates, &sessions)?;
    let (sender, inbound) = mpsc::channel(INBOUND);
    let names = Arc::new(AtomicU64::new(1));
    for (transport, (listener, tls)) in sockets.streams {
        tokio::spawn(listen::accept(listener, transport, tls, Arc::clone(&names), sender.clone()));
    }
    for (listener, tls) in sockets.admin {
        let router = admin::router(access.clone(), orders.clone(), traces.clone());
        tokio::spawn(web::serve(listener, tls, router, web::ADMINISTRATOR));
    }
    if let Some(office) = office {
        tokio::spawn(provision::tidy(Arc::clone(&office)));
        // All connections of a proxy come from one address.
        let manners = web::PUBLIC;
        let crowd = if config.provision.behind_proxy { manners.connections } else { manners.per_address };
        let manners = web::Manners { per_address: crowd, ..manners };
        for (listener, tls) in sockets.provision {
            tokio::spawn(web::serve(listener, tls, provision::router(Arc::clone(&office)), manners));
        }
    }
    let pushing = PushThread::start().map_err(StartError::System)?;
    let warming = senders.clone();
    pushing.spawn(async move { warming.warm().await });
    let (canaries, reports) = canaries;
    for canary in canaries {
        pushing.spawn(canary.run());
    }
    let (results_in, results) = mpsc::unbounded_channel();
    let now = system::now();
    let beat = match &machine.node {
        Some(node) => {
            let tcp = bound.sip.iter().find(|(transport, _)| *transport == Transport::Tcp);
            let at = config.cluster.reached(tcp.map_or(0, |(_, address)| address.port()))?;
            let beat = Beat {
                mark: node.mark.clone(),
                host: at.host,
                port: at.port,
                wall: 0,
                condition: Condition::default(),
            };
            Some((node.name.clone(), beat))
        }
        None => None,
    };
    let mut trusted = machine.trusted.clone();
    trusted.extend(machine.upstreams.iter().flat_map(|upstream| &upstream.networks));
    let limits = &config.limits;
    let mut registrar = Registrar::new(machine, loaded, seed, now, system::wall());
    if let Some(nonces) = nonces {
        registrar.import_nonces(nonces);
    }
    let server = Server {
        registrar,
        udp: sockets.udp,
        inbound,
        commands,
        results,
        pushes: Dispatcher::new(senders, pushing, results_in),
        canaries: reports,
        keeper,
        traces,
        certificates,
        trusted,
        peers: Vec::new(),
        beat,
        strangers: Strangers::new(
            limits.unregistered_per_source,
            limits.unregistered,
            Duration::from_secs(limits.unregistered_seconds),
        ),
        knocks: Knocks::new(limits.refusals, limits.refusals_per_second),
        dial: Dial::new(trusts, names, sender, &bound.sip),
        state: State::new(now),
    };
    Ok((server, bound))
}
