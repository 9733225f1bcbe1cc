//! How messages find their transaction (RFC 3261 §17.1.3, §17.2.3), and which requests are the same one (§8.2.2.2).

use core::hash::Hasher;
use std::hash::DefaultHasher;

use wakeline_entropy::Entropy;
use wakeline_sip_message::{CSeq, Message, Method, Via};

/// What names a transaction on the wire, as 128 bits under a secret: small whatever a peer writes into its branch, and
/// not to be steered into collisions.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct MatchKey(u64, u64);

/// Makes [`MatchKey`]s.
pub(crate) struct Matcher {
    secrets: [[u64; 2]; 2],
}

impl Matcher {
    pub(crate) fn new(entropy: &mut Entropy) -> Matcher {
        let mut secret = || [entropy.u64(), entropy.u64()];
        Matcher { secrets: [secret(), secret()] }
    }

    fn key<'a>(&self, parts: impl Iterator<Item = &'a [u8]> + Clone) -> MatchKey {
        let hash = |secret: [u64; 2]| {
            let mut hasher = DefaultHasher::new();
            secret.into_iter().for_each(|word| hasher.write_u64(word));
            for part in parts.clone() {
                hasher.write_usize(part.len());
                hasher.write(part);
            }
            hasher.finish()
        };
        MatchKey(hash(self.secrets[0]), hash(self.secrets[1]))
    }

    /// A client transaction by the branch of the topmost Via and CSeq's method (§17.1.3).
    pub(crate) fn client(&self, branch: &str, method: &Method) -> MatchKey {
        self.key([b"client".as_slice(), branch.as_bytes(), method.as_str().as_bytes()].into_iter())
    }

    /// A server transaction (§17.2.3). `method` is INVITE for an ACK, and for the INVITE that a CANCEL means.
    pub(crate) fn server(&self, request: &Message, via: &Via<'_>, cseq: &CSeq, method: &Method) -> MatchKey {
        let branch = via.branch().filter(|_| via.has_cookie());
        if let Some(branch) = branch {
            let sent_by = via.sent_by().to_ascii_lowercase();
            let parts =
                [b"server".as_slice(), branch.as_bytes(), sent_by.as_bytes(), method.as_str().as_bytes()];
            return self.key(parts.into_iter());
        }
        // A peer of RFC 2543: everything that makes the request itself; To's tag is looked at afterwards, because
        // that of an ACK is not the INVITE's.
        let number = cseq.number.to_be_bytes();
        let parts = [
            b"2543".as_slice(),
            request.request_uri_text().as_bytes(),
            request.from_tag().unwrap_or("").as_bytes(),
            request.call_id().as_bytes(),
            &number,
            via.as_str().as_bytes(),
            method.as_str().as_bytes(),
        ];
        self.key(parts.into_iter())
    }

    /// What all copies of a forked request have in common; nothing for a request within a dialog (§8.2.2.2).
    pub(crate) fn merged(&self, request: &Message, cseq: &CSeq) -> Option<MatchKey> {
        if request.to_tag().is_some() || request.call_id().is_empty() {
            return None;
        }
        let number = cseq.number.to_be_bytes();
        let parts = [
            b"merged".as_slice(),
            request.from_tag().unwrap_or("").as_bytes(),
            request.call_id().as_bytes(),
            &number,
            cseq.method.as_str().as_bytes(),
        ];
        Some(self.key(parts.into_iter()))
    }

    /// A To tag for a response that no transaction remembers: the same for every copy of the request (§8.2.7).
    pub(crate) fn stateless_tag(&self, request: &Message) -> String {
        let top = request.via().map(|via| via.as_str().to_owned()).unwrap_or_default();
        let key = self.key([b"tag".as_slice(), request.call_id().as_bytes(), top.as_bytes()].into_iter());
        format!("{:016x}", key.0)
    }
}
