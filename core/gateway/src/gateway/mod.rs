//! Starting and holding a gateway: what it starts from is prepared here; a thread of its own then serves.

mod bind;
mod handle;
mod own;
mod serve;
mod start_error;

use std::sync::Arc;

use tokio::sync::{broadcast, mpsc};
use wakeline_clock::system;
use wakeline_registrar::{Loaded, NodeName};
use wakeline_secret::Secret;

use self::bind::Bound;
pub use self::handle::Handle;
use self::own::{certificates, granted, hex, open_store, random, secret};
use self::serve::{Parts, serve};
pub use self::start_error::StartError;
use crate::admin::Access;
use crate::cluster::{self, Ears, Listener};
use crate::config::Config;
use crate::edge::next_hop;
use crate::edge::sessions::Sessions;
use crate::provision::{Ledger, Office};
use crate::push::canary::canaries;
use crate::push::dispatch::Senders;
use crate::store::{Change, Keeper, Redis, Table, record};

/// Trace values that a slow subscriber may fall behind.
const TRACES: usize = 4096;

/// The gateway.
#[derive(Debug, Clone, Copy)]
pub struct Gateway;

impl Gateway {
    /// Reads the store, binds every address and starts serving on a thread of its own.
    ///
    /// # Errors
    /// With cause and cure; nothing is left running then.
    pub fn start(config: Config) -> Result<Handle, StartError> {
        let (mut store, mut own) = open_store(&config)?;
        let wall = system::wall();
        let (mut loaded, useless) = match &mut store {
            Some(store) => record::load(store.as_mut(), wall)?,
            None => (Loaded::default(), Vec::new()),
        };
        let sessions = match &mut store {
            Some(store) => store.load(Table::TlsSessions, wall)?,
            None => Vec::new(),
        };
        let secret = secret(&mut store, &mut own)?;
        let mut machine = config.for_registrar(Secret::from(secret))?;
        config.cluster.check(&config.store, !config.listen.tcp.is_empty())?;
        if config.cluster.is_on() {
            let (name, mark) = (config.cluster.node.clone(), hex(&random()?));
            machine.node = Some(NodeName { name, mark });
        }
        let access = Access::by(config.admin.checked()?);
        config.provision.check(config.store.is_on())?;
        let trusts = next_hop::trusts(&config.upstream)?;
        // Accounts of the file stand above those that were added while the gateway ran.
        loaded.accounts.extend(config.accounts()?);
        let senders = Senders::new(&config.push)?;
        machine.push.vapid = senders.vapid();
        let canaries = canaries(&senders, &config.push.canary)?;
        let certificates = Arc::new(certificates(&config, &mut store, &mut own)?);
        let (grants, signer) = granted(&config, &mut store, &mut own)?;
        let seed = random()?;
        // Among several nodes each use has a row of its own.
        let nonces = record::nonces(&own.known).filter(|_| !config.cluster.is_on());

        let mut threads = Vec::new();
        let keeper = match store {
            None => None,
            Some(store) => {
                let started = match config.cluster.is_on() {
                    true => Keeper::start_with(store, cluster::GATHER),
                    false => Keeper::start(store),
                };
                let (keeper, thread) = started.map_err(StartError::System)?;
                threads.push(thread);
                keeper.put(Table::Own, Change::Remove(record::NONCES.to_vec()));
                for row in own.new {
                    keeper.put(Table::Own, Change::Put(row));
                }
                for change in useless {
                    keeper.put(Table::Bindings, change);
                }
                Some(keeper)
            }
        };
        let (commands, orders) = mpsc::unbounded_channel();
        let office = match signer {
            None => None,
            Some(signer) => {
                let ledger = match config.cluster.is_on() {
                    true => {
                        let server = Redis::open(&config.store.url)?.telling(&config.cluster.node);
                        Ledger::Shared(Box::new(server))
                    }
                    false => Ledger::Own(keeper.clone()),
                };
                let (settings, domains) = (config.provision.clone(), machine.domains.clone());
                Some(Arc::new(Office::new(settings, domains, &grants, signer, ledger, commands.clone())))
            }
        };
        let traces = broadcast::Sender::new(TRACES);
        let mut handle = Handle {
            bound: Bound::default(),
            certificate: certificates.self_signed.clone(),
            commands,
            traces: traces.clone(),
            keeper: keeper.clone(),
            threads,
            ended: Arc::default(),
        };
        let sessions = Arc::new(Sessions::new(config.tls.sessions, sessions, keeper.clone()));
        let listening = match config.cluster.is_on() {
            true => Some((Redis::open(&config.store.url)?, config.cluster.node.clone())),
            false => None,
        };
        let ears = Ears { sessions: Arc::clone(&sessions), office: office.clone() };
        let parts = Parts {
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
            orders: handle.commands.clone(),
            commands: orders,
            access,
            office,
            trusts,
        };
        let (ready, started) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("gateway".to_owned())
            .spawn(move || serve(parts, &ready))
            .map_err(StartError::System)?;
        handle.threads.insert(0, thread);
        match started.recv() {
            Ok(bound) => handle.bound = bound?,
            Err(_) => return Err(StartError::System(std::io::Error::other("the gateway's thread ended"))),
        }
        if let Some((store, name)) = listening {
            let (commands, ended) = (handle.commands.clone(), Arc::clone(&handle.ended));
            let thread = Listener::start(store, &name, commands, ears, ended);
            handle.threads.push(thread.map_err(StartError::System)?);
        }
        Ok(handle)
    }
}
