//! Signed settings: a compact JWS (RFC 7515) with Ed25519 (RFC 8037), and the provider's keys (RFC 7517).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use wakeline_clock::WallTime;
use wakeline_secret::Secret;

use super::address::HttpsAddress;
use super::error::ProvisionError;
use super::grant::TrustedKey;
use crate::diagnosis::one_line;

/// `typ` of the signed object.
const TYPE: &str = "wakeline-settings+jws";
/// Keys that are read of a set.
const KEYS: usize = 16;
/// Longest value of a parameter (the schema's `maxLength`).
const MAX_VALUE: usize = 16_384;
/// The members that the schema knows; only `name` may be missing.
const MEMBERS: [&str; 9] = ["iss", "sub", "name", "iat", "exp", "serial", "parameters", "fetch", "keys"];
/// By so much the clocks of phone and provider may differ, in seconds.
const SKEW: u64 = 300;

/// A signature that is to be checked with Ed25519 (RFC 8032), by whoever has the means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignatureCheck {
    /// The public key.
    pub public: [u8; 32],
    /// What was signed.
    pub signed: Vec<u8>,
    /// The signature.
    pub signature: [u8; 64],
}

/// What came of a check.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It fits.
    Good,
    /// It does not.
    Bad,
}

/// An object whose signature has not been checked: nothing of its payload has been looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct SignedObject {
    pub(super) kid: String,
    signed: Vec<u8>,
    signature: [u8; 64],
    payload: Secret,
}

impl SignedObject {
    /// Takes a compact serialisation apart (RFC 7515 §5.2, steps 1 to 7).
    pub(super) fn read(text: &str) -> Result<SignedObject, ProvisionError> {
        let no = |why| ProvisionError::NoSignedObject(why);
        let text = text.trim_ascii();
        let (signed, signature) = text.rsplit_once('.').ok_or(no("it has no three parts"))?;
        let (head, payload) = signed.split_once('.').ok_or(no("it has no three parts"))?;
        let part = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| no("it is not base64url"));
        let header: Map<String, Value> =
            serde_json::from_slice(&part(head)?).map_err(|_| no("its header is no JSON object"))?;
        let member = |name: &str| header.get(name).and_then(Value::as_str);
        if member("alg") != Some("EdDSA") {
            return Err(no("its algorithm is not EdDSA"));
        }
        if member("typ") != Some(TYPE) {
            return Err(no("it is of another type"));
        }
        // RFC 7515 §4.1.11: an extension that must be understood, and none is.
        if header.contains_key("crit") {
            return Err(no("it asks for an extension that this phone does not know"));
        }
        let kid = member("kid").filter(|kid| !kid.is_empty()).ok_or(no("it names no key"))?.to_owned();
        let signature =
            <[u8; 64]>::try_from(part(signature)?).map_err(|_| no("its signature has a wrong length"))?;
        let payload = String::from_utf8(part(payload)?).map_err(|_| no("its payload is no text"))?;
        Ok(SignedObject { kid, signed: signed.as_bytes().to_vec(), signature, payload: Secret::new(payload) })
    }

    /// The check that a key decides.
    pub(super) fn check(&self, key: &TrustedKey) -> Result<SignatureCheck, ProvisionError> {
        let public = URL_SAFE_NO_PAD.decode(&key.x).ok().and_then(|x| <[u8; 32]>::try_from(x).ok());
        let public = public.ok_or(ProvisionError::NoKeys)?;
        Ok(SignatureCheck { public, signed: self.signed.clone(), signature: self.signature })
    }

    /// The payload. To be asked for once the signature is known to be good.
    pub(super) fn claims(&self) -> Result<Claims, ProvisionError> {
        Claims::read(self.payload.expose())
    }
}

/// A provider's published keys: those of the kind that signs settings.
pub(super) fn key_set(text: &str) -> Result<Vec<TrustedKey>, ProvisionError> {
    let set: Value = serde_json::from_str(text).map_err(|_| ProvisionError::NoKeys)?;
    let keys = set.get("keys").and_then(Value::as_array).ok_or(ProvisionError::NoKeys)?;
    let read = |key: &Value| {
        let member = |name: &str| key.get(name).and_then(Value::as_str);
        let fits = member("kty") == Some("OKP")
            && member("crv") == Some("Ed25519")
            && member("use").is_none_or(|usage| usage == "sig");
        let key = TrustedKey { kid: member("kid")?.to_owned(), x: member("x")?.to_owned() };
        fits.then_some(key)
    };
    Ok(keys.iter().take(KEYS).filter_map(read).collect())
}

/// What the payload says (`settings.schema.json`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Claims {
    pub(super) issuer: HttpsAddress,
    pub(super) id: String,
    pub(super) name: Option<String>,
    pub(super) issued_at: u64,
    pub(super) expires_at: u64,
    pub(super) serial: u32,
    pub(super) parameters: BTreeMap<String, Secret>,
    pub(super) fetch: HttpsAddress,
    pub(super) keys: HttpsAddress,
}

impl Claims {
    fn read(text: &str) -> Result<Claims, ProvisionError> {
        let wrong = |what: String| ProvisionError::Schema(what);
        let Ok(Value::Object(object)) = serde_json::from_str(text) else {
            return Err(wrong("it is no JSON object".to_owned()));
        };
        if let Some(other) = object.keys().find(|name| !MEMBERS.contains(&name.as_str())) {
            return Err(wrong(format!("it has {}", one_line(other))));
        }
        let bad = |name: &str| ProvisionError::Schema(format!("{name} is missing or wrong"));
        let text = |name: &str| object.get(name).and_then(Value::as_str).ok_or_else(|| bad(name));
        let number = |name: &str| object.get(name).and_then(Value::as_u64).ok_or_else(|| bad(name));
        let address =
            |name: &str| text(name).and_then(|text| HttpsAddress::parse(text).ok_or_else(|| bad(name)));
        let id = text("sub")?.to_owned();
        if id.is_empty()
            || id.len() > 128
            || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
        {
            return Err(bad("sub"));
        }
        let name = object.contains_key("name").then(|| text("name")).transpose()?;
        let serial = u32::try_from(number("serial")?).ok().filter(|serial| *serial > 0);
        let Some(Value::Object(given)) = object.get("parameters") else { return Err(bad("parameters")) };
        let mut parameters = BTreeMap::new();
        for (name, value) in given {
            let value = value.as_str().filter(|value| value.len() <= MAX_VALUE);
            let value = value.ok_or_else(|| wrong(format!("the parameter {} is no text", one_line(name))))?;
            parameters.insert(name.clone(), Secret::from(value));
        }
        Ok(Claims {
            issuer: address("iss")?,
            id,
            name: name.map(str::to_owned),
            issued_at: number("iat")?,
            expires_at: number("exp")?,
            serial: serial.ok_or_else(|| bad("serial"))?,
            parameters,
            fetch: address("fetch")?,
            keys: address("keys")?,
        })
    }

    /// Whether they are of this provider, and of now.
    pub(super) fn hold(&self, provider: &HttpsAddress, now: WallTime) -> Result<(), ProvisionError> {
        let ours =
            [&self.issuer, &self.fetch, &self.keys].iter().all(|address| address.is_same_origin(provider));
        let now = now.as_secs();
        if !ours {
            Err(ProvisionError::OtherIssuer)
        } else if self.expires_at <= now {
            Err(ProvisionError::Expired)
        } else if self.issued_at > now.saturating_add(SKEW) {
            Err(ProvisionError::NotYet)
        } else {
            Ok(())
        }
    }
}
