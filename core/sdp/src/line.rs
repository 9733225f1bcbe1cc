//! Lines that stand in a session and in a medium alike: `c=`, `a=`, and those that are only carried.

use core::fmt;
use core::net::IpAddr;

/// `c=` (RFC 8866 §5.7).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Connection {
    /// An address, or a name, which is nothing we send media to.
    pub address: String,
}

impl Connection {
    /// The address when it is numeric.
    pub fn ip(&self) -> Option<IpAddr> {
        self.address.parse().ok()
    }
}

impl From<IpAddr> for Connection {
    fn from(address: IpAddr) -> Connection {
        Connection { address: address.to_string() }
    }
}

/// A line that this crate only carries.
#[derive(Clone, PartialEq, Eq)]
pub struct Line {
    /// The letter before `=`.
    pub kind: char,
    /// What follows it.
    pub value: String,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // k= is the obsolete place of keys.
        let value = if self.kind == 'k' { ".." } else { &self.value };
        write!(f, "{}={value:?}", self.kind)
    }
}

/// `a=` (RFC 8866 §5.13).
#[derive(Clone, PartialEq, Eq)]
pub struct Attribute {
    /// Before the colon.
    pub name: String,
    /// After it; `None` for a property attribute.
    pub value: Option<String>,
}

impl Attribute {
    /// `a=name`.
    pub fn flag(name: &str) -> Attribute {
        Attribute { name: name.into(), value: None }
    }

    /// `a=name:value`.
    pub fn with(name: &str, value: impl Into<String>) -> Attribute {
        Attribute { name: name.into(), value: Some(value.into()) }
    }
}

impl fmt::Debug for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            None => write!(f, "a={}", self.name),
            // Keys and passwords reach no log (bug class S23).
            Some(_) if matches!(self.name.as_str(), "crypto" | "ice-pwd") => write!(f, "a={}:..", self.name),
            Some(value) => write!(f, "a={}:{value:?}", self.name),
        }
    }
}

pub(crate) fn find<'a>(attributes: &'a [Attribute], name: &str) -> Option<&'a Attribute> {
    attributes.iter().find(|attribute| attribute.name == name)
}
