//! Why a provider's settings do not come to be used: each with its cause, and what helps.

use thiserror::Error;

/// Why no answer came from a provider.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum FetchFailure {
    /// No name server knows the name.
    #[error("there is no such server")]
    NoSuchServer,
    /// Nobody listens there, or no route.
    #[error("the server cannot be reached")]
    Unreachable,
    /// Its certificate is not the one that was asked for, or nobody vouches for it.
    #[error("the server's certificate is not trusted")]
    CertificateRefused,
    /// No whole answer in time.
    #[error("the server did not answer in time")]
    TimedOut,
    /// The answer is longer than is read.
    #[error("the answer is too long")]
    TooLong,
    /// What came is no HTTP, or broke off.
    #[error("the answer broke off or is no HTTP")]
    Broken,
}

/// Why provisioning failed. Whatever it is, the settings in use stay as they were.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum ProvisionError {
    /// It is no link, and no code.
    #[error("this is no link of a provider")]
    NoLink,
    /// It leads elsewhere than to a server with TLS.
    #[error("the link is not https: settings hold a password and travel encrypted only")]
    NotHttps,
    /// The server's part of it cannot be read, or hides something.
    #[error("the link's server cannot be read")]
    BadAddress,
    /// A link without a code.
    #[error("the link has no code, or not a whole one")]
    NoCode,
    /// A code, and nobody knows of which provider.
    #[error("a code alone does not say who the provider is")]
    NoProvider,
    /// No answer.
    #[error("{0}")]
    NoAnswer(FetchFailure),
    /// The server sends us elsewhere.
    #[error("the server sends this phone elsewhere ({0}), where it does not go")]
    Redirected(u16),
    /// No such code: used, lapsed, withdrawn or never there; the server does not tell which.
    #[error("the code is not known: it was used, has lapsed, was withdrawn or mistyped")]
    UnknownCode,
    /// The server knows nothing of these settings, or not of this phone.
    #[error("the provider no longer knows this phone's settings")]
    Forgotten,
    /// Too many wrong codes from this address.
    #[error("the provider saw too many wrong codes from this network")]
    TooOften,
    /// Any other status.
    #[error("the provider's server refuses ({0})")]
    Refused(u16),
    /// What came is no signed object.
    #[error("the provider's answer is no signed settings: {0}")]
    NoSignedObject(&'static str),
    /// The key set is none.
    #[error("the provider's keys cannot be read")]
    NoKeys,
    /// It is signed with a key that the provider does not publish.
    #[error("the settings are signed with a key that the provider does not publish")]
    UnknownKey,
    /// The key that was trusted so far is no longer among the provider's.
    #[error("the provider's key is not the one that was trusted so far")]
    StrangeKey,
    /// The signature does not fit.
    #[error("the settings are not what was signed")]
    BadSignature,
    /// The payload is not what the schema says.
    #[error("the settings do not follow their schema: {0}")]
    Schema(String),
    /// Signed by somebody else than the server of the link.
    #[error("the settings are of another provider than the link")]
    OtherIssuer,
    /// Settings of another phone.
    #[error("the settings are another phone's")]
    OtherGrant,
    /// Past its time.
    #[error("the settings are past their time")]
    Expired,
    /// Signed in the future.
    #[error("the settings are of a time that has not come")]
    NotYet,
    /// Older than what is in use.
    #[error("the settings are older than those in use")]
    Outdated,
    /// The person said no.
    #[error("the settings were declined")]
    Declined,
}

impl ProvisionError {
    /// What helps, in a sentence.
    pub fn cure(&self) -> &'static str {
        match self {
            ProvisionError::NoLink | ProvisionError::NoCode => {
                "copy the whole link, or scan the picture again"
            }
            ProvisionError::NotHttps | ProvisionError::BadAddress => {
                "ask the provider for a link that starts with https://"
            }
            ProvisionError::NoProvider => "use the whole link in place of the code",
            ProvisionError::NoAnswer(FetchFailure::NoSuchServer) => "check the link and the network",
            ProvisionError::NoAnswer(FetchFailure::CertificateRefused) => {
                "do not go on in this network; ask the provider, or name the authority that vouches for its server"
            }
            ProvisionError::NoAnswer(
                FetchFailure::Unreachable
                | FetchFailure::TimedOut
                | FetchFailure::Broken
                | FetchFailure::TooLong,
            ) => "check the network and try again",
            ProvisionError::TooOften => "wait a minute and try again",
            ProvisionError::UnknownCode | ProvisionError::Forgotten | ProvisionError::OtherGrant => {
                "ask the provider for a new link"
            }
            ProvisionError::Expired | ProvisionError::NotYet => {
                "check the date and time of this device, then try again"
            }
            ProvisionError::UnknownKey | ProvisionError::StrangeKey | ProvisionError::BadSignature => {
                "nothing was changed; tell the provider, and ask for a new link"
            }
            ProvisionError::Redirected(_)
            | ProvisionError::Refused(_)
            | ProvisionError::NoSignedObject(_)
            | ProvisionError::NoKeys
            | ProvisionError::Schema(_)
            | ProvisionError::OtherIssuer => "nothing was changed; tell the provider",
            ProvisionError::Outdated => "nothing needs to be done",
            ProvisionError::Declined => "open the link again to accept them",
        }
    }
}
