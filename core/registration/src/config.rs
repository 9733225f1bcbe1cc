//! What a registration is told of its account.

use wakeline_push::PushMode;
use wakeline_sip_auth::Credentials;
use wakeline_sip_message::{Name, OwnedUri};

use crate::instance::Instance;
use crate::recovery::RecoveryTimes;
use crate::seen::SeenAddress;

/// An account, as far as its registration cares.
#[derive(Clone, PartialEq, Debug)]
pub struct AccountConfig {
    /// The request URI of every REGISTER: the domain, without user (RFC 3261 §10.2).
    pub registrar: OwnedUri,
    /// The address of record: From and To.
    pub address: OwnedUri,
    /// Its display name.
    pub display_name: Option<String>,
    /// The user part of the Contact.
    pub contact_user: String,
    /// Further parameters of the Contact URI (`contact_uri_parameters`).
    pub contact_uri_parameters: Vec<(String, Option<String>)>,
    /// Further parameters behind the Contact URI (`contact_parameters`).
    pub contact_parameters: Vec<(String, Option<String>)>,
    /// Who we are.
    pub credentials: Credentials,
    /// The installation's name (RFC 5626 §4.1), the same for all of its accounts; one is drawn and remembered when absent.
    pub instance: Option<Instance>,
    /// Which of an instance's flows this is (RFC 5626 §4.2).
    pub reg_id: u32,
    /// Whether RFC 5626 is offered.
    pub outbound: OutboundUse,
    /// Seconds to ask for.
    pub expires: u32,
    /// In which dialect we ask to be woken.
    pub push_mode: PushMode,
    /// Whether we can refresh without being woken (RFC 8599 §4.1.4).
    pub push_refresh: PushRefresh,
    /// Route of every REGISTER: an outbound proxy that is not the next hop already.
    pub routes: Vec<String>,
    /// Further header fields of every REGISTER: User-Agent, `customsipheader`.
    pub headers: Vec<(Name, String)>,
    /// How failures are followed by new tries.
    pub recovery: RecoveryTimes,
    /// Whether they are.
    pub reregister: Reregister,
    /// Whether our Contact names the address that the registrar saw (RFC 3581).
    pub seen_address: SeenAddress,
}

impl AccountConfig {
    /// An account with the usual choices: outbound offered, RFC 8599, an hour.
    pub fn new(registrar: OwnedUri, address: OwnedUri, credentials: Credentials) -> AccountConfig {
        let contact_user = address.view().user_unescaped().map(|user| user.into_owned()).unwrap_or_default();
        AccountConfig {
            registrar,
            address,
            display_name: None,
            contact_user,
            contact_uri_parameters: Vec::new(),
            contact_parameters: Vec::new(),
            credentials,
            instance: None,
            reg_id: 1,
            outbound: OutboundUse::Offered,
            expires: 3600,
            push_mode: PushMode::Rfc8599,
            push_refresh: PushRefresh::OnPush,
            routes: Vec::new(),
            headers: Vec::new(),
            recovery: RecoveryTimes::default(),
            reregister: Reregister::AfterSuccess,
            seen_address: SeenAddress::WhenCertain,
        }
    }
}

/// Whether a registration that failed or was lost is tried again by itself (`forcereregister`, B-071). A REGISTER that a
/// waiting call needs always is; and one that nobody answered is tried again when the network changes or the app returns,
/// which is another occasion and no repetition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reregister {
    /// 0: no.
    Never,
    /// 1: if an earlier registration had succeeded, in this process or one before; never with refused credentials.
    AfterSuccess,
    /// 2: whatever the error was, wrong credentials included; those at the longest interval.
    Always,
}

/// Whether RFC 5626 is offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OutboundUse {
    /// `Supported: outbound`, `ob`, `reg-id`.
    Offered,
    /// Neither; the instance is still told.
    Off,
}

/// Whether a sleeping phone wakes by itself to refresh (RFC 8599 §4.1.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PushRefresh {
    /// `+sip.pnsreg`: by a timer of the system (Android).
    ByTimer,
    /// Only a push wakes it (iOS).
    OnPush,
}
