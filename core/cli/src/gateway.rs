//! `wakeline gateway`: starts it, says where it listens, and ends it on a signal.

use std::time::Duration;

use wakeline_gateway::config::{Account, Config, EXAMPLE};
use wakeline_gateway::store::{StoreError, backup, restore};
use wakeline_gateway::vault::Vault;
use wakeline_gateway::{Gateway, StartError};
use wakeline_secret::Secret;

use crate::arguments::{CopyFlags, GatewayAction, GatewayFlags};
use crate::exit::{Exit, Failure};

/// How long calls in progress may go on after the first signal.
const DRAIN: Duration = Duration::from_secs(10);

/// Runs the gateway, or prepares or copies what it stands on.
pub(crate) fn run(flags: &GatewayFlags) -> Result<Exit, Failure> {
    match &flags.action {
        None => serve(flags),
        Some(GatewayAction::Init(init)) => crate::gateway_init::run(init),
        Some(GatewayAction::Backup(flags)) => {
            let store = flags.store()?;
            let rows = backup(&store, &flags.copy).map_err(|error| stored(&error))?;
            println!("{} has {rows} rows", flags.copy.display());
            Ok(Exit::Well)
        }
        Some(GatewayAction::Restore(flags)) => {
            let store = flags.store()?;
            let mark = wakeline_clock::system::wall().as_secs();
            let (rows, kept) = restore(&flags.copy, &store, mark).map_err(|error| stored(&error))?;
            println!("{} has {rows} rows", store.display());
            if let Some(kept) = kept {
                println!("what was there is kept as {}", kept.display());
            }
            Ok(Exit::Well)
        }
    }
}

fn stored(error: &StoreError) -> Failure {
    Failure::new(Exit::Failed, error.to_string())
}

impl CopyFlags {
    /// The store that the gateway's file names.
    fn store(&self) -> Result<std::path::PathBuf, Failure> {
        let usage = |text: String| Failure::new(Exit::Usage, text);
        let config = Config::from_file(&self.config).map_err(|error| usage(error.to_string()))?;
        if !config.store.url.is_empty() {
            return Err(usage(
                "the store is a Redis server: copy it by its own means (BGSAVE, and its dump.rdb)".to_owned(),
            ));
        }
        let path = config.store.path;
        if path.as_os_str().is_empty() {
            return Err(usage(format!(
                "{} names no store.path: there is nothing to copy",
                self.config.display()
            )));
        }
        Ok(path)
    }
}

/// Serves until SIGINT or SIGTERM.
fn serve(flags: &GatewayFlags) -> Result<Exit, Failure> {
    if flags.example {
        print!("{EXAMPLE}");
        return Ok(Exit::Well);
    }
    crate::log::start(None, std::io::stderr());
    let usage = |error: &dyn std::fmt::Display| Failure::new(Exit::Usage, error.to_string());
    let config = match (&flags.config, &flags.seal) {
        // What is being sealed is still missing from the file.
        (Some(path), Some(account)) => {
            return seal(&Config::from_file(path).map_err(|error| usage(&error))?, account);
        }
        (Some(path), None) => Config::sound_from_file(path).map_err(|error| usage(&error))?,
        (None, Some(account)) => return seal(&Config::default(), account),
        (None, None) => to_try()?,
    };
    let handle = Gateway::start(config).map_err(|error| not_started(&error))?;
    for (transport, address) in handle.bound() {
        println!("listening on {} {address}", transport.via_token().to_ascii_lowercase());
    }
    for address in handle.admin() {
        let scheme = if address.ip().is_loopback() { "http" } else { "https" };
        println!("admin page at {scheme}://{address}/");
    }
    for address in handle.provision() {
        println!("settings for phones at {address}");
    }
    crate::block_on(async {
        signal().await;
        eprintln!("wakeline: ending; no new calls, {} s for those in progress", DRAIN.as_secs());
        tokio::select! {
            drained = handle.drain(DRAIN) => if !drained {
                eprintln!("wakeline: calls were still being set up");
            },
            () = signal() => {}
        }
    })?;
    handle.shutdown();
    Ok(Exit::Well)
}

/// Whose fault it is that nothing started.
pub(crate) fn not_started(error: &StartError) -> Failure {
    let exit = match error {
        StartError::Config(_) | StartError::Certificate(_) => Exit::Usage,
        StartError::Store(_)
        | StartError::Push(_)
        | StartError::Tls(_)
        | StartError::Bind { .. }
        | StartError::BindAdmin { .. }
        | StartError::BindWeb { .. }
        | StartError::System(_) => Exit::Failed,
    };
    Failure::new(exit, error.to_string())
}

/// Seals one password with the file's key, and prints the block for the file.
fn seal(config: &Config, account: &str) -> Result<Exit, Failure> {
    let usage = |why: &str| Failure::new(Exit::Usage, why.to_owned());
    let (user, domain) = account
        .split_once('@')
        .filter(|(user, domain)| !user.is_empty() && !domain.is_empty())
        .ok_or_else(|| usage("--seal wants USER@DOMAIN, such as mia@pbx.example.org"))?;
    let theirs = config.upstream.iter().flat_map(|upstream| &upstream.domains);
    if !theirs.into_iter().any(|known| known.eq_ignore_ascii_case(domain)) {
        return Err(usage(&format!("{domain} is not a domain of any [[upstream]] in the file")));
    }
    if config.vault.key_file.as_os_str().is_empty() {
        return Err(usage("name a key file first: [vault] key_file = \"/etc/wakeline/vault.key\""));
    }
    let failed = |error: &dyn std::fmt::Display| Failure::new(Exit::Failed, error.to_string());
    let vault = Vault::open_or_make(&config.vault.key_file).map_err(|error| failed(&error))?;
    eprintln!("the password of {account}, and Enter:");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(|error| failed(&error))?;
    let password = Secret::from(line.trim_end_matches(['\r', '\n']));
    if password.is_empty() {
        return Err(usage("no password came on standard input"));
    }
    let sealed = vault.seal(&format!("{user}@{}", domain.to_ascii_lowercase()), &password);
    let sealed = sealed.map_err(|error| failed(&error))?;
    println!("[[account]]\nuser = {user:?}\ndomain = {domain:?}\nsealed = {sealed:?}");
    Ok(Exit::Well)
}

/// Two accounts for a gateway without a file, so that it works; nobody but this machine can reach it.
fn to_try() -> Result<Config, Failure> {
    let mut config = Config::default();
    config.admin.listen.push(std::net::SocketAddr::from(([127, 0, 0, 1], 0)));
    println!("no configuration file: serving this machine only, nothing outlives the process");
    for user in ["mia", "ben"] {
        let password = crate::random::password()
            .map_err(|error| Failure::new(Exit::Failed, format!("no randomness: {error}")))?;
        // Said once, to the person who started it: this account lives and dies with the process.
        println!(
            "{user}: wakeline phone --serveraddress 127.0.0.1 --realm localhost --username {user} --password {password}"
        );
        config.account.push(Account {
            user: user.to_owned(),
            password: password.into(),
            ..Account::default()
        });
    }
    Ok(config)
}

/// SIGINT or SIGTERM.
pub(crate) async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
