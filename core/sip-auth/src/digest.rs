//! The computation of a digest (RFC 7616 §3.4).

use serde::{Deserialize, Serialize};

use crate::algorithm::{Algorithm, Digits};
use crate::credentials::Ha1;

/// Quality of protection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Qop {
    /// None: the form of RFC 2069, without nonce count.
    None,
    /// `auth`
    Auth,
    /// `auth-int`: the body too.
    AuthInt,
}

/// Everything a response is computed from, beside HA1.
#[derive(Clone, Copy)]
pub(crate) struct Inputs<'a> {
    pub(crate) algorithm: Algorithm,
    pub(crate) qop: Qop,
    pub(crate) nonce: &'a str,
    pub(crate) cnonce: &'a str,
    /// As it stands on the wire.
    pub(crate) count: &'a str,
    /// Empty for the server's own proof (§3.5).
    pub(crate) method: &'a str,
    pub(crate) uri: &'a str,
    pub(crate) body: &'a [u8],
}

impl Inputs<'_> {
    /// The `response`, or `rspauth`.
    pub(crate) fn response(&self, ha1: &Ha1) -> Digits {
        let hash = self.algorithm;
        let plain = ha1.digits.expose().as_bytes();
        let bound;
        let ha1 = if hash.is_session() {
            bound = hash.hash(&[plain, self.nonce.as_bytes(), self.cnonce.as_bytes()]);
            bound.as_bytes()
        } else {
            plain
        };
        let (method, uri, nonce) = (self.method.as_bytes(), self.uri.as_bytes(), self.nonce.as_bytes());
        let ha2 = match self.qop {
            Qop::None | Qop::Auth => hash.hash(&[method, uri]),
            Qop::AuthInt => hash.hash(&[method, uri, hash.hash(&[self.body]).as_bytes()]),
        };
        let qop = match self.qop {
            Qop::None => return hash.hash(&[ha1, nonce, ha2.as_bytes()]),
            Qop::Auth => "auth",
            Qop::AuthInt => "auth-int",
        };
        let (count, cnonce) = (self.count.as_bytes(), self.cnonce.as_bytes());
        hash.hash(&[ha1, nonce, count, cnonce, qop.as_bytes(), ha2.as_bytes()])
    }
}

/// Compares in a time that depends on the length of the first only (class S16).
pub(crate) fn same(ours: &[u8], theirs: &[u8]) -> bool {
    let mut difference = u8::from(ours.len() != theirs.len());
    for (place, byte) in ours.iter().enumerate() {
        difference |= byte ^ core::hint::black_box(theirs.get(place).copied().unwrap_or(0));
    }
    core::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use wakeline_secret::Secret;

    /// RFC 7616 §3.9.1.
    #[test]
    fn the_vectors_of_rfc_7616() {
        let password = Secret::from("Circle of Life");
        let response = |algorithm| {
            Inputs {
                algorithm,
                qop: Qop::Auth,
                nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
                cnonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
                count: "00000001",
                method: "GET",
                uri: "/dir/index.html",
                body: b"",
            }
            .response(&Ha1::of(algorithm, "Mufasa", "http-auth@example.org", &password))
            .to_string()
        };
        assert_eq!(response(Algorithm::Md5), "8ca523f5e9506fed4657c9700eebdbec");
        assert_eq!(
            response(Algorithm::Sha256),
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
        );
    }

    /// RFC 7616 §3.9.2 prints a response that its errata correct in the user name only; the hash of the user name is
    /// what can be compared: H(username ":" realm).
    #[test]
    fn sha_512_256_hashes_the_user_name_of_rfc_7616() {
        let hashed = Algorithm::Sha512Half.hash(&["Jäsøn Doe".as_bytes(), b"api@example.org"]);
        assert_eq!(hashed.as_str(), "793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b");
    }

    /// RFC 2617 §3.5, and RFC 2069's form by hand.
    #[test]
    fn the_vectors_of_rfc_2617_and_rfc_2069() {
        let ha1 = Ha1::of(Algorithm::Md5, "Mufasa", "testrealm@host.com", &"Circle Of Life".into());
        assert_eq!(ha1.digits.expose(), "939e7578ed9e3c518a452acee763bce9");
        let mut inputs = Inputs {
            algorithm: Algorithm::Md5,
            qop: Qop::Auth,
            nonce: "dcd98b7102dd2f0e8b11d0f600bfb0c093",
            cnonce: "0a4f113b",
            count: "00000001",
            method: "GET",
            uri: "/dir/index.html",
            body: b"",
        };
        assert_eq!(inputs.response(&ha1).to_string(), "6629fae49393a05397450978507c4ef1");
        inputs.qop = Qop::None;
        assert_eq!(inputs.response(&ha1).to_string(), "670fd8c2df070c60b045671b8b24ff02");
    }

    #[test]
    fn a_session_binds_ha1_and_auth_int_binds_the_body() {
        let ha1 = Ha1::of(Algorithm::Sha256, "u", "r", &"p".into());
        let inputs = |algorithm, qop, body| Inputs {
            algorithm,
            qop,
            nonce: "n",
            cnonce: "c",
            count: "00000001",
            method: "INVITE",
            uri: "sip:x",
            body,
        };
        let plain = inputs(Algorithm::Sha256, Qop::Auth, b"a").response(&ha1).to_string();
        assert_eq!(plain, inputs(Algorithm::Sha256, Qop::Auth, b"b").response(&ha1).to_string());
        assert_ne!(plain, inputs(Algorithm::Sha256Session, Qop::Auth, b"a").response(&ha1).to_string());
        let whole = inputs(Algorithm::Sha256, Qop::AuthInt, b"a").response(&ha1).to_string();
        assert_ne!(whole, inputs(Algorithm::Sha256, Qop::AuthInt, b"b").response(&ha1).to_string());
    }

    #[test]
    fn comparing_needs_every_byte() {
        assert!(same(b"abc", b"abc"));
        for other in [b"abd".as_slice(), b"ab", b"abcd", b""] {
            assert!(!same(b"abc", other));
        }
    }
}
