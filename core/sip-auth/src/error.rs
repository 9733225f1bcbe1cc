//! Why a challenge is not answered.

/// Why a challenge is not answered, or an answer not believed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AuthError {
    /// The challenge came from a peer that the account is not configured for (class S1).
    #[error("challenged by a peer that has no claim to our credentials")]
    Untrusted,
    /// The challenge names another realm than the account's.
    #[error("challenged for a foreign realm")]
    ForeignRealm,
    /// No challenge with an algorithm and a quality of protection that we know, or that the stored secret fits.
    #[error("no challenge that can be answered")]
    Unsupported,
    /// The credentials were right in form and were refused: a wrong user name or password.
    #[error("credentials refused")]
    Rejected,
    /// The server calls every nonce stale that it has just made.
    #[error("challenged again and again")]
    Loop,
    /// There is no challenge in the response.
    #[error("no challenge")]
    Missing,
    /// The server does not know our secret: its `rspauth` is wrong (RFC 7616 §3.5).
    #[error("server could not prove itself")]
    NotMutual,
}
