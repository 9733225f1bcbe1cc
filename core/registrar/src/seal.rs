//! Sealed names: what the gateway hands out and must recognise again without a table.
//!
//! A PURR (RFC 8599 §6.1.2: unforgeable, opaque, rotated, old values stay good), a temporary GRUU's user part
//! (RFC 5627 §5.4: unlinkable), and the flow token of a Record-Route (RFC 5626 §5.2: integrity protected) are all the
//! same thing: a number of ours, encrypted under a fresh nonce and authenticated. So a new one per REGISTER costs no
//! memory, and none can pile up.
//!
//! 22 bytes = nonce 6 ‖ number 8 ⊕ pad ‖ tag 8, where pad and tag come from SHA-256 over key ‖ purpose ‖ nonce (‖ number):
//! all inputs have one fixed length below a block, so the plain keyed hash is a sound MAC here.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use wakeline_entropy::Entropy;

/// What a sealed name stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    /// `pn-purr`: a binding to wake within a dialog (RFC 8599 §6).
    Purr,
    /// A temporary GRUU: a binding, without telling whose (RFC 5627 §3.1.2).
    TemporaryGruu,
    /// A Record-Route end that is a binding: its flow may change while the dialog lives.
    BindingRoute,
    /// A Record-Route end that is one flow of this process (RFC 5626 §5.2).
    FlowRoute,
    /// The user part of our Contact at an upstream: a binding.
    UpstreamContact,
    /// The user part of our own Contact at an upstream: an address of record whose credential we keep.
    UpstreamLine,
    /// A Record-Route end that is an upstream's next hop: it may be connected to anew while the dialog lives.
    UpstreamRoute,
    /// A binding whose device is connected to the node that the request is handed to; only nodes see it.
    Handed,
}

impl Purpose {
    const fn byte(self) -> u8 {
        match self {
            Purpose::Purr => b'p',
            Purpose::TemporaryGruu => b'g',
            Purpose::BindingRoute => b'b',
            Purpose::FlowRoute => b'f',
            Purpose::UpstreamContact => b'u',
            Purpose::UpstreamLine => b'l',
            Purpose::UpstreamRoute => b'r',
            Purpose::Handed => b'h',
        }
    }
}

const NONCE: usize = 6;
const SEALED: usize = NONCE + 8 + 8;

/// The two keys: one outlives restarts (bindings are stored), one is of this process (flows are not).
pub(crate) struct Seal {
    lasting: [u8; 32],
    process: [u8; 32],
    /// The process keys of the other nodes that live, by name.
    others: Vec<(String, [u8; 32])>,
}

impl Seal {
    /// `lasting` comes from the configuration's secret, the process key from the seed.
    pub(crate) fn new(secret: &str, entropy: &mut Entropy) -> Seal {
        let mut lasting = [0; 32];
        lasting.copy_from_slice(&Sha256::digest(secret.as_bytes()));
        let mut process = [0; 32];
        entropy.fill(&mut process);
        Seal { lasting, process, others: Vec::new() }
    }

    /// For one of several nodes: its process key is one that the others can make, from the common secret and the mark of
    /// this life.
    pub(crate) fn of_node(secret: &str, name: &str, mark: &str, entropy: &mut Entropy) -> Seal {
        Seal { process: process_key(secret, name, mark), ..Seal::new(secret, entropy) }
    }

    /// The other nodes that live, by name and mark.
    pub(crate) fn know<'a>(&mut self, secret: &str, nodes: impl Iterator<Item = (&'a str, &'a str)>) {
        self.others = nodes.map(|(name, mark)| (name.to_owned(), process_key(secret, name, mark))).collect();
    }

    /// The flow of another node that a name stands for, and whose it is.
    pub(crate) fn open_elsewhere(&self, name: &str) -> Option<(&str, u64)> {
        self.others.iter().find_map(|(node, key)| {
            let flow = Seal::open_under(key, Purpose::FlowRoute, name)?;
            Some((node.as_str(), flow))
        })
    }

    /// A fresh name for `number`: 30 characters of the base64url alphabet, valid in a URI's user part and parameters.
    pub(crate) fn seal(&self, purpose: Purpose, number: u64, entropy: &mut Entropy) -> String {
        let mut nonce = [0; NONCE];
        entropy.fill(&mut nonce);
        self.written(purpose, number, nonce)
    }

    /// The one name for `number` that is always the same: for whoever compares names, as a registrar compares Contacts.
    pub(crate) fn fixed(&self, purpose: Purpose, number: u64) -> String {
        let word = self.word(purpose, &[0; NONCE], Some(number)).to_be_bytes();
        let mut nonce = [0; NONCE];
        nonce.copy_from_slice(&word[..NONCE]);
        self.written(purpose, number, nonce)
    }

    fn written(&self, purpose: Purpose, number: u64, nonce: [u8; NONCE]) -> String {
        let mut bytes = [0; SEALED];
        bytes[..NONCE].copy_from_slice(&nonce);
        let pad = self.word(purpose, &bytes[..NONCE], None);
        let tag = self.word(purpose, &bytes[..NONCE], Some(number));
        bytes[NONCE..NONCE + 8].copy_from_slice(&(number ^ pad).to_be_bytes());
        bytes[NONCE + 8..].copy_from_slice(&tag.to_be_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The number in a name of ours; `None` for every forgery and every name with another purpose.
    pub(crate) fn open(&self, purpose: Purpose, name: &str) -> Option<u64> {
        Seal::open_under(self.key(purpose), purpose, name)
    }

    fn open_under(key: &[u8; 32], purpose: Purpose, name: &str) -> Option<u64> {
        let mut bytes = [0; SEALED];
        if URL_SAFE_NO_PAD.decode_slice(name, &mut bytes) != Ok(SEALED) {
            return None;
        }
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[NONCE..NONCE + 8]);
        let number = u64::from_be_bytes(word) ^ word_of(key, purpose, &bytes[..NONCE], None);
        word.copy_from_slice(&bytes[NONCE + 8..]);
        let difference = u64::from_be_bytes(word) ^ word_of(key, purpose, &bytes[..NONCE], Some(number));
        // One comparison of the whole word: its time does not tell how many bytes were right.
        (difference == 0).then_some(number)
    }

    fn word(&self, purpose: Purpose, nonce: &[u8], number: Option<u64>) -> u64 {
        word_of(self.key(purpose), purpose, nonce, number)
    }

    const fn key(&self, purpose: Purpose) -> &[u8; 32] {
        match purpose {
            Purpose::Purr
            | Purpose::TemporaryGruu
            | Purpose::BindingRoute
            | Purpose::UpstreamContact
            | Purpose::UpstreamLine
            | Purpose::UpstreamRoute
            | Purpose::Handed => &self.lasting,
            Purpose::FlowRoute => &self.process,
        }
    }
}

fn process_key(secret: &str, name: &str, mark: &str) -> [u8; 32] {
    let parts = [secret.as_bytes(), b"node", name.as_bytes(), mark.as_bytes()];
    // Each behind its length: no two nodes can come to the same text.
    let hash = parts.iter().fold(Sha256::new(), |hash, part| {
        hash.chain_update((part.len() as u64).to_be_bytes()).chain_update(part)
    });
    let mut key = [0; 32];
    key.copy_from_slice(&hash.finalize());
    key
}

fn word_of(key: &[u8; 32], purpose: Purpose, nonce: &[u8], number: Option<u64>) -> u64 {
    let mut block = [0; 48];
    block[..32].copy_from_slice(key);
    block[32] = purpose.byte();
    block[33] = u8::from(number.is_some());
    block[34..34 + NONCE].copy_from_slice(nonce);
    block[40..].copy_from_slice(&number.unwrap_or(0).to_be_bytes());
    let digest = Sha256::digest(block);
    let mut word = [0; 8];
    word.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_opens_only_for_its_purpose_and_key() {
        let mut entropy = Entropy::from_number(1);
        let seal = Seal::new("secret", &mut entropy);
        let other = Seal::new("another", &mut entropy);
        let name = seal.seal(Purpose::Purr, 77, &mut entropy);
        assert_eq!(name.len(), 30);
        assert_eq!(seal.open(Purpose::Purr, &name), Some(77));
        assert_eq!(seal.open(Purpose::BindingRoute, &name), None);
        assert_eq!(seal.open(Purpose::TemporaryGruu, &name), None);
        assert_eq!(other.open(Purpose::Purr, &name), None);
    }

    #[test]
    fn names_of_one_binding_do_not_repeat_and_both_stay_good() {
        let mut entropy = Entropy::from_number(2);
        let seal = Seal::new("secret", &mut entropy);
        let (first, second) =
            (seal.seal(Purpose::Purr, 5, &mut entropy), seal.seal(Purpose::Purr, 5, &mut entropy));
        assert_ne!(first, second);
        assert_eq!(seal.open(Purpose::Purr, &first), seal.open(Purpose::Purr, &second));
    }

    #[test]
    fn a_fixed_name_is_the_same_again_and_says_nothing_of_its_neighbour() {
        let before = Seal::new("secret", &mut Entropy::from_number(4));
        let after = Seal::new("secret", &mut Entropy::from_number(5));
        let name = before.fixed(Purpose::UpstreamContact, 7);
        assert_eq!(name, after.fixed(Purpose::UpstreamContact, 7));
        assert_eq!(after.open(Purpose::UpstreamContact, &name), Some(7));
        assert_eq!(after.open(Purpose::BindingRoute, &name), None);
        assert_ne!(name[..8], before.fixed(Purpose::UpstreamContact, 8)[..8]);
    }

    #[test]
    fn every_changed_character_is_a_forgery() {
        let mut entropy = Entropy::from_number(3);
        let seal = Seal::new("secret", &mut entropy);
        let name = seal.seal(Purpose::FlowRoute, 9, &mut entropy);
        for place in 0..name.len() {
            let mut forged = name.clone().into_bytes();
            forged[place] = if forged[place] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).unwrap();
            assert_eq!(seal.open(Purpose::FlowRoute, &forged), None);
        }
        assert_eq!(seal.open(Purpose::FlowRoute, ""), None);
        assert_eq!(seal.open(Purpose::FlowRoute, &name[1..]), None);
    }

    #[test]
    fn a_flow_name_dies_with_its_process_and_a_binding_name_does_not() {
        let before = Seal::new("secret", &mut Entropy::from_number(4));
        let after = Seal::new("secret", &mut Entropy::from_number(5));
        let mut entropy = Entropy::from_number(6);
        let flow = before.seal(Purpose::FlowRoute, 1, &mut entropy);
        let binding = before.seal(Purpose::BindingRoute, 1, &mut entropy);
        assert_eq!(after.open(Purpose::FlowRoute, &flow), None);
        assert_eq!(after.open(Purpose::BindingRoute, &binding), Some(1));
    }
}
