//! Starting and holding a gateway.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::sync::{broadcast, mpsc, oneshot};
use wakeline_clock::system;
use wakeline_flow::Transport;
use wakeline_registrar::{Account, BindingView, Loaded, Registrar, Trace};
use wakeline_secret::Secret;
use wakeline_sip_auth::ReplayMemory;

use crate::admin::{self, Access};
use crate::config::{Config, ConfigError};
use crate::edge::certificate::{CertificateError, Certificates};
use crate::edge::next_hop::{self, Dial};
use crate::edge::sessions::Sessions;
use crate::edge::udp::UdpPort;
use crate::edge::{listen, tls};
use crate::provision::{self, Office, Signer};
use crate::push::SetupError;
use crate::push::canary::{Canary, Reports};
use crate::push::dispatch::{Dispatcher, Senders};
use crate::server::{Command, Server, State};
use crate::stats::Stats;
use crate::store::{Change, Keeper, Row, Sqlite, Store, StoreError, Table, record};
use crate::strangers::Strangers;
use crate::web;

/// Trace values that a slow subscriber may fall behind.
const TRACES: usize = 4096;
/// Messages of all streams that may wait for the event loop.
const INBOUND: usize = 1024;
/// How long the end of the store's thread is waited for.
const LAST_WRITE: Duration = Duration::from_secs(10);

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration means nothing.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The push sender cannot be set up.
    #[error(transparent)]
    Push(#[from] SetupError),
    /// There is no certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// TLS cannot be set up.
    #[error("tls: {0}")]
    Tls(#[from] rustls::Error),
    /// An address cannot be listened on.
    #[error("listen.{}: cannot listen on {address}: {source}; is another server running there?", transport.via_token().to_ascii_lowercase())]
    Bind {
        /// On which transport.
        transport: Transport,
        /// On which address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The administrator's address cannot be listened on.
    #[error("admin.listen: cannot listen on {address}: {source}; is another server running there?")]
    BindAdmin {
        /// On which address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// An address for phones and apps cannot be listened on.
    #[error("{key}: cannot listen on {address}: {source}; is another server running there?")]
    BindWeb {
        /// The key that names it.
        key: &'static str,
        /// On which address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The system gives no thread, no randomness or no event queue.
    #[error("cannot start: {0}")]
    System(std::io::Error),
}

/// The gateway.
#[derive(Debug, Clone, Copy)]
pub struct Gateway;

/// A running gateway. It ends with this value; [`Handle::shutdown`] ends it and waits.
#[derive(Debug)]
pub struct Handle {
    bound: Bound,
    certificate: Option<String>,
    commands: mpsc::UnboundedSender<Command>,
    traces: broadcast::Sender<Trace>,
    keeper: Option<Keeper>,
    threads: Vec<JoinHandle<()>>,
}

/// What the gateway's thread starts from.
struct Parts {
    config: Config,
    machine: wakeline_registrar::Config,
    loaded: Loaded,
    seed: [u8; 32],
    nonces: Option<ReplayMemory>,
    senders: Senders,
    canaries: (Vec<Canary>, Reports),
    certificates: Arc<Certificates>,
    sessions: Arc<Sessions>,
    keeper: Option<Keeper>,
    traces: broadcast::Sender<Trace>,
    orders: mpsc::UnboundedSender<Command>,
    commands: mpsc::UnboundedReceiver<Command>,
    access: Access,
    office: Option<Arc<Office>>,
    /// How each next hop's certificate is judged.
    trusts: Vec<Option<Arc<ClientConfig>>>,
}

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
        let secret = own.take_or_make("secret", || Ok(hex(&random()?)))?;
        let mut machine = config.for_registrar(Secret::from(secret))?;
        let access = config.admin_access()?;
        config.provision.check(!config.store.path.as_os_str().is_empty())?;
        let trusts = next_hop::trusts(&config.upstream)?;
        // Accounts of the file stand above those that were added while the gateway ran.
        loaded.accounts.extend(config.accounts()?);
        let senders = Senders::new(&config.push)?;
        machine.push.vapid = senders.vapid();
        let canaries = senders.canaries(&config.push)?;
        let certificates = Arc::new(certificates(&config, &mut own)?);
        let (grants, signer) = granted(&config, &mut store, &mut own)?;
        let seed = random()?;
        let nonces = record::nonces(&own.known);

        let mut threads = Vec::new();
        let keeper = match store {
            None => None,
            Some(store) => {
                let (keeper, thread) = Keeper::start(store).map_err(StartError::System)?;
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
        let office = signer.map(|signer| {
            let settings = config.provision.clone();
            let domains = machine.domains.clone();
            Arc::new(Office::new(settings, domains, &grants, signer, keeper.clone(), commands.clone()))
        });
        let traces = broadcast::Sender::new(TRACES);
        let mut handle = Handle {
            bound: Bound::default(),
            certificate: certificates.self_signed.clone(),
            commands,
            traces: traces.clone(),
            keeper: keeper.clone(),
            threads,
        };
        let sessions = Arc::new(Sessions::new(config.tls.sessions, sessions, keeper.clone()));
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
        Ok(handle)
    }
}

impl Handle {
    /// Every address that is listened on.
    pub fn bound(&self) -> &[(Transport, SocketAddr)] {
        &self.bound.sip
    }

    /// The first address of a transport.
    pub fn address(&self, transport: Transport) -> Option<SocketAddr> {
        self.bound.sip.iter().find(|(bound, _)| *bound == transport).map(|(_, address)| *address)
    }

    /// Where the administrator's view is.
    pub fn admin(&self) -> &[SocketAddr] {
        &self.bound.admin
    }

    /// Where phones get their settings.
    pub fn provision(&self) -> &[SocketAddr] {
        &self.bound.provision
    }

    /// The self-signed certificate, PEM, that a phone on the same machine may pin; `None` when the operator named one.
    pub fn certificate_pem(&self) -> Option<&str> {
        self.certificate.as_deref()
    }

    /// Every trace value from now on. A subscriber that falls behind loses the oldest.
    pub fn traces(&self) -> broadcast::Receiver<Trace> {
        self.traces.subscribe()
    }

    /// A snapshot; `None` once the gateway has ended.
    pub async fn stats(&self) -> Option<Stats> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Stats(reply)).ok()?;
        answer.await.ok()
    }

    /// The bindings of one address of record.
    pub async fn bindings(&self, user: &str, domain: &str) -> Vec<BindingView> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Bindings { user: user.to_owned(), domain: domain.to_owned(), reply };
        if self.commands.send(command).is_err() {
            return Vec::new();
        }
        answer.await.unwrap_or_default()
    }

    /// Adds an account, or replaces the credential of one; it is stored, unless the gateway is to register it at an
    /// upstream itself: that lasts until the gateway ends.
    pub fn put_account(&self, account: Account) {
        let _ = self.commands.send(Command::PutAccount(account));
    }

    /// Takes an account away, with its bindings.
    pub fn remove_account(&self, user: &str, domain: &str) {
        let command = Command::RemoveAccount { user: user.to_owned(), domain: domain.to_owned() };
        let _ = self.commands.send(command);
    }

    /// Reads the certificate's files again now, if they changed.
    pub fn reload_certificate(&self) {
        let _ = self.commands.send(Command::ReloadCertificate);
    }

    /// Takes on nothing new (503 with Retry-After) and waits until nothing is in progress; `false` when that took
    /// longer than `limit`. A planned restart drains, then shuts down.
    pub async fn drain(&self, limit: Duration) -> bool {
        let (done, drained) = oneshot::channel();
        if self.commands.send(Command::Drain { limit, done }).is_err() {
            return true;
        }
        drained.await.unwrap_or(true)
    }

    /// Waits until everything that changed so far is in the store; `false` when it was not within `limit`.
    pub fn flush(&self, limit: Duration) -> bool {
        self.keeper.as_ref().is_none_or(|keeper| keeper.flush(limit))
    }

    /// Ends the gateway: streams are closed, the store is written. Blocks for that; up to some seconds.
    pub fn shutdown(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let _ = self.commands.send(Command::Shutdown);
        if self.threads.is_empty() {
            return;
        }
        let gateway = self.threads.remove(0);
        let _ = gateway.join();
        if let Some(keeper) = &self.keeper {
            keeper.flush(LAST_WRITE);
            keeper.end();
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.end();
    }
}

/// The gateway's own rows: what was there, and what is new.
#[derive(Default)]
struct Own {
    known: Vec<Row>,
    new: Vec<Row>,
}

impl Own {
    fn take_or_make(
        &mut self,
        name: &str,
        make: impl FnOnce() -> Result<String, StartError>,
    ) -> Result<String, StartError> {
        if let Some(known) = self.get(name) {
            return Ok(known);
        }
        let made = make()?;
        self.put(name, &made);
        Ok(made)
    }

    fn get(&self, name: &str) -> Option<String> {
        let row = self.known.iter().find(|row| row.key == name.as_bytes())?;
        String::from_utf8(row.value.clone()).ok()
    }

    fn put(&mut self, name: &str, value: &str) {
        self.new.push(Row { key: name.into(), value: value.into(), until: None });
    }
}

/// A store that can be given to a thread.
type AnyStore = Box<dyn Store>;

fn open_store(config: &Config) -> Result<(Option<AnyStore>, Own), StartError> {
    if config.store.path.as_os_str().is_empty() {
        tracing::info!("no store is configured: phones must register anew after a restart");
        return Ok((None, Own::default()));
    }
    let mut store: AnyStore = Box::new(Sqlite::open(&config.store.path)?);
    let known = store.load(Table::Own, system::wall())?;
    Ok((Some(store), Own { known, new: Vec::new() }))
}

/// What phones were granted, and the key that signs it; no key when nobody is.
fn granted(
    config: &Config,
    store: &mut Option<AnyStore>,
    own: &mut Own,
) -> Result<(Vec<Row>, Option<Signer>), StartError> {
    let Some(store) = store.as_mut().filter(|_| config.provision.is_on()) else {
        return Ok((Vec::new(), None));
    };
    let now = system::wall();
    let no_key = || StartError::System(std::io::Error::other("no signing key can be made"));
    let signer = match own.get(provision::KEY).as_deref().and_then(Signer::load) {
        Some(signer) => signer,
        None => {
            let signer = Signer::make(now, None).ok_or_else(no_key)?;
            own.put(provision::KEY, &signer.store());
            signer
        }
    };
    Ok((store.load(Table::Grants, now)?, Some(signer)))
}

fn certificates(config: &Config, own: &mut Own) -> Result<Certificates, StartError> {
    let (certificate, key) = (&config.tls.certificate, &config.tls.key);
    match (certificate.as_os_str().is_empty(), key.as_os_str().is_empty()) {
        (false, false) => Ok(Certificates::from_files(certificate, key)?),
        (true, true) => {
            let mut names = config.domains.clone();
            names.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
            names.sort();
            names.dedup();
            let (certificates, pem) = Certificates::self_signed(names, own.get("certificate").as_deref())?;
            own.put("certificate", &pem);
            Ok(certificates)
        }
        (true, false) | (false, true) => Err(StartError::Config(ConfigError::Value {
            key: "tls",
            why: "certificate and key belong together: name both or neither".to_owned(),
        })),
    }
}

fn random() -> Result<[u8; 32], StartError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| StartError::System(std::io::Error::other(error.to_string())))?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a start gives, or why it failed.
type Started = Result<Bound, StartError>;

/// What is listened on.
#[derive(Debug, Default)]
struct Bound {
    sip: Vec<(Transport, SocketAddr)>,
    admin: Vec<SocketAddr>,
    provision: Vec<SocketAddr>,
}

/// The gateway's thread.
fn serve(parts: Parts, ready: &std::sync::mpsc::Sender<Started>) {
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
    let (sender, inbound) = mpsc::channel(INBOUND);
    let names = Arc::new(AtomicU64::new(1));
    let mut bound = Bound::default();
    let mut udp = Vec::new();
    for (index, address) in config.listen.udp.iter().enumerate() {
        let failed = |source| StartError::Bind { transport: Transport::Udp, address: *address, source };
        let index = u8::try_from(index).unwrap_or(u8::MAX);
        if index > 63 {
            return Err(failed(std::io::Error::other("at most 64 UDP addresses")));
        }
        let port = UdpPort::bind(*address, index).map_err(failed)?;
        bound.sip.push((Transport::Udp, port.local()));
        udp.push(port);
    }
    let secure = tls::for_sip(Arc::clone(&certificates) as _, Arc::clone(&sessions) as _)?;
    let secure_web = tls::for_websocket(Arc::clone(&certificates) as _, sessions)?;
    let streams = [
        (Transport::Tcp, &config.listen.tcp, None),
        (Transport::Tls, &config.listen.tls, Some(secure)),
        (Transport::Ws, &config.listen.ws, None),
        (Transport::Wss, &config.listen.wss, Some(secure_web)),
    ];
    let mut listeners = Vec::new();
    for (transport, addresses, tls) in streams {
        for address in addresses {
            let failed = |source| StartError::Bind { transport, address: *address, source };
            let listener = listen::bind(*address).map_err(failed)?;
            bound.sip.push((transport, listener.local_addr().map_err(failed)?));
            listeners.push((listener, transport, tls.clone()));
        }
    }
    let mut admins = Vec::new();
    for address in &config.admin.listen {
        let failed = |source| StartError::BindAdmin { address: *address, source };
        // Beyond this machine a token travels, so TLS does too.
        let tls = if address.ip().is_loopback() {
            None
        } else {
            Some(tls::for_http(Arc::clone(&certificates) as _)?)
        };
        let listener = listen::bind(*address).map_err(failed)?;
        bound.admin.push(listener.local_addr().map_err(failed)?);
        admins.push((listener, tls));
    }
    let mut desks = Vec::new();
    for address in &config.provision.listen {
        let failed = |source| StartError::BindWeb { key: "provision.listen", address: *address, source };
        let tls = if config.provision.behind_proxy {
            None
        } else {
            Some(tls::for_http(Arc::clone(&certificates) as _)?)
        };
        let listener = listen::bind(*address).map_err(failed)?;
        bound.provision.push(listener.local_addr().map_err(failed)?);
        desks.push((listener, tls));
    }
    // Only when every address is ours: a half-started gateway would take calls and lose them.
    for (listener, transport, tls) in listeners {
        tokio::spawn(listen::accept(listener, transport, tls, Arc::clone(&names), sender.clone()));
    }
    for (listener, tls) in admins {
        let router = admin::router(access.clone(), orders.clone(), traces.clone());
        tokio::spawn(web::serve(listener, tls, router, web::ADMINISTRATOR));
    }
    if let Some(office) = office {
        // All connections of a proxy come from one address.
        let manners = web::PUBLIC;
        let crowd = if config.provision.behind_proxy { manners.connections } else { manners.per_address };
        let manners = web::Manners { per_address: crowd, ..manners };
        for (listener, tls) in desks {
            tokio::spawn(web::serve(listener, tls, provision::router(Arc::clone(&office)), manners));
        }
    }
    let warming = senders.clone();
    tokio::spawn(async move { warming.warm().await });
    let (canaries, reports) = canaries;
    for canary in canaries {
        tokio::spawn(canary.run());
    }
    let (results_in, results) = mpsc::unbounded_channel();
    let now = system::now();
    let mut trusted = machine.trusted.clone();
    trusted.extend(machine.upstreams.iter().flat_map(|upstream| &upstream.networks));
    let limits = &config.limits;
    let mut registrar = Registrar::new(machine, loaded, seed, now, system::wall());
    if let Some(nonces) = nonces {
        registrar.import_nonces(nonces);
    }
    let server = Server {
        registrar,
        udp,
        inbound,
        commands,
        results,
        pushes: Dispatcher::new(senders, results_in),
        canaries: reports,
        keeper,
        traces,
        certificates,
        trusted,
        strangers: Strangers::new(
            limits.unregistered_per_source,
            limits.unregistered,
            Duration::from_secs(limits.unregistered_seconds),
        ),
        dial: Dial::new(trusts, names, sender, &bound.sip),
        state: State::new(now),
    };
    Ok((server, bound))
}
