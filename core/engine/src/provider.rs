//! What the user agent wishes of a provider, done: requests over HTTPS, signatures checked.

use ring::signature::{ED25519, UnparsedPublicKey};
use tokio::sync::mpsc;
use wakeline_settings::provisioning::{FetchFailure, SignatureCheck, Verdict, Wish};
use wakeline_user_agent::{AccountId, Input, ProvisionFact};

use crate::dns::Resolver;
use crate::https;
use crate::net::{self, Trust};

/// The way to providers.
pub(crate) struct Provider {
    /// Whom to trust, by account: what the program and the person say, never a provider.
    trusts: Vec<Trust>,
    resolver: Resolver,
    facts: mpsc::Sender<Input>,
}

impl Provider {
    /// One that has not been needed yet.
    pub(crate) fn new(trusts: Vec<Trust>, resolver: Resolver, facts: mpsc::Sender<Input>) -> Provider {
        Provider { trusts, resolver, facts }
    }

    /// Does it. A fetch runs on by itself and tells its outcome as a fact.
    pub(crate) fn grant(&self, account: AccountId, run: u64, wish: Wish) -> Option<Input> {
        let told = move |fact| Input::Provision { run, fact };
        match wish {
            Wish::Check(check) => Some(told(ProvisionFact::Checked(verdict(&check)))),
            Wish::Fetch(request) => {
                let tls =
                    match net::tls_for(&self.trusts.get(account.0 as usize).cloned().unwrap_or_default()) {
                        Ok(tls) => tls,
                        Err(error) => {
                            tracing::error!(%error, "no TLS");
                            return Some(told(ProvisionFact::Answered(Err(
                                FetchFailure::CertificateRefused,
                            ))));
                        }
                    };
                let (resolver, facts) = (self.resolver.clone(), self.facts.clone());
                tokio::spawn(async move {
                    let answer = https::fetch(&request, tls, &resolver).await;
                    // The loop may be gone already.
                    let _ = facts.send(told(ProvisionFact::Answered(answer))).await;
                });
                None
            }
        }
    }
}

fn verdict(check: &SignatureCheck) -> Verdict {
    let key = UnparsedPublicKey::new(&ED25519, &check.public);
    match key.verify(&check.signed, &check.signature) {
        Ok(()) => Verdict::Good,
        Err(_) => Verdict::Bad,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::signature::{Ed25519KeyPair, KeyPair as _};

    #[test]
    fn a_signature_fits_its_key_and_its_text_only() {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[5; 32]).unwrap();
        let good = SignatureCheck {
            public: pair.public_key().as_ref().try_into().unwrap(),
            signed: b"text".to_vec(),
            signature: pair.sign(b"text").as_ref().try_into().unwrap(),
        };
        assert_eq!(verdict(&good), Verdict::Good);
        assert_eq!(verdict(&SignatureCheck { signed: b"texT".to_vec(), ..good.clone() }), Verdict::Bad);
        assert_eq!(verdict(&SignatureCheck { public: [0; 32], ..good.clone() }), Verdict::Bad);
        let mut signature = good.signature;
        signature[63] ^= 1;
        assert_eq!(verdict(&SignatureCheck { signature, ..good }), Verdict::Bad);
    }
}
