//! Who follows when an account becomes another one.

use crate::config::AccountConfig;

/// Another account that takes this one's place as soon as the old binding is removed.
pub(crate) enum Successor {
    None,
    /// It is to be registered.
    Starts(Box<AccountConfig>),
    /// It is not, for now.
    Rests(Box<AccountConfig>),
}

impl Successor {
    /// The account was started.
    pub(crate) fn is_to_start(&mut self) {
        *self = match core::mem::replace(self, Successor::None) {
            Successor::Rests(config) | Successor::Starts(config) => Successor::Starts(config),
            Successor::None => Successor::None,
        };
    }

    /// It was told to unregister.
    pub(crate) fn is_to_rest(&mut self) {
        *self = match core::mem::replace(self, Successor::None) {
            Successor::Rests(config) | Successor::Starts(config) => Successor::Rests(config),
            Successor::None => Successor::None,
        };
    }
}
