//! What a start finds in the store, and what it puts there for the next: secret, certificate, signing key.

use wakeline_clock::system;

use super::StartError;
use crate::config::Config;
use crate::edge::certificate::Certificates;
use crate::provision::{self, Signer};
use crate::store::{self, Row, Store, Table};

/// The gateway's own rows: what was there, and what is new.
#[derive(Default)]
pub(super) struct Own {
    pub(super) known: Vec<Row>,
    pub(super) new: Vec<Row>,
}

impl Own {
    pub(super) fn get(&self, name: &str) -> Option<String> {
        let row = self.known.iter().find(|row| row.key == name.as_bytes())?;
        String::from_utf8(row.value.clone()).ok()
    }

    pub(super) fn put(&mut self, name: &str, value: &str) {
        self.new.push(Row { key: name.into(), value: value.into(), until: None });
    }
}

/// A store that can be given to a thread.
pub(super) type AnyStore = Box<dyn Store>;

pub(super) fn open_store(config: &Config) -> Result<(Option<AnyStore>, Own), StartError> {
    if !config.store.is_on() {
        tracing::info!("no store is configured: phones must register anew after a restart");
        return Ok((None, Own::default()));
    }
    let mut store: AnyStore = match config.cluster.is_on() && !config.store.url.is_empty() {
        true => Box::new(store::Redis::open(&config.store.url)?.telling(&config.cluster.node)),
        false => store::open(&config.store.path, &config.store.url)?,
    };
    let known = store.load(Table::Own, system::wall())?;
    Ok((Some(store), Own { known, new: Vec::new() }))
}

/// The secret that all names and nonces hang on; of several nodes that start at once the first one's stands.
pub(super) fn secret(store: &mut Option<AnyStore>, own: &mut Own) -> Result<String, StartError> {
    if let Some(known) = own.get("secret") {
        return Ok(known);
    }
    let made = hex(&random()?);
    if let Some(store) = store {
        let row = Row { key: b"secret".to_vec(), value: made.clone().into_bytes(), until: None };
        let stands = store.claim(Table::Own, row)?;
        own.new.push(stands.clone());
        return Ok(String::from_utf8_lossy(&stands.value).into_owned());
    }
    Ok(made)
}

/// What phones were granted, and the key that signs it, of several nodes that start at once the first one's; no key when
/// nobody is.
pub(super) fn granted(
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
            let row = Row { key: provision::KEY.into(), value: signer.store().into_bytes(), until: None };
            let stands = store.claim(Table::Own, row)?;
            let text = String::from_utf8_lossy(&stands.value).into_owned();
            own.new.push(stands);
            Signer::load(&text).unwrap_or(signer)
        }
    };
    Ok((store.load(Table::Grants, now)?, Some(signer)))
}

/// The operator's certificate, or one of our own; of several nodes that start at once the first one's stands.
pub(super) fn certificates(
    config: &Config,
    store: &mut Option<AnyStore>,
    own: &mut Own,
) -> Result<Certificates, StartError> {
    match config.tls.checked()? {
        Some((certificate, key)) => Ok(Certificates::from_files(certificate, key)?),
        None => {
            let mut names = config.domains.clone();
            names.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
            names.sort();
            names.dedup();
            let known = own.get("certificate");
            let (mut certificates, mut pem) = Certificates::self_signed(names.clone(), known.as_deref())?;
            if let (None, Some(store)) = (known, store) {
                let row = Row { key: b"certificate".to_vec(), value: pem.clone().into_bytes(), until: None };
                let stands = String::from_utf8_lossy(&store.claim(Table::Own, row)?.value).into_owned();
                if stands != pem {
                    (certificates, pem) = Certificates::self_signed(names, Some(&stands))?;
                }
            }
            own.put("certificate", &pem);
            Ok(certificates)
        }
    }
}

pub(super) fn random() -> Result<[u8; 32], StartError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| StartError::System(std::io::Error::other(error.to_string())))?;
    Ok(bytes)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
