//! What is to be said of parameters that cannot be used as they stand.

use core::fmt;

use crate::source::Source;

/// One remark on one parameter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnosis {
    /// The name as it was given, made safe for one line of a log.
    pub parameter: String,
    /// Where it came from.
    pub source: Source,
    /// What there is to say.
    pub finding: Finding,
}

/// What there is to say of a parameter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Finding {
    /// There is no such parameter. It is ignored (B-058).
    Unknown {
        /// The known name that is written most like it.
        nearest: Option<&'static str>,
    },
    /// It is known, and this phone does not obey it yet.
    NotHonoured,
    /// Its value cannot be used; the parameter keeps its former value.
    BadValue {
        /// Why.
        cause: String,
        /// What helps.
        cure: String,
    },
    /// The value is used, and may not do what is wanted.
    Advice {
        /// Why.
        cause: String,
    },
}

impl Diagnosis {
    pub(crate) fn new(parameter: &str, source: Source, finding: Finding) -> Diagnosis {
        Diagnosis { parameter: one_line(parameter), source, finding }
    }

    /// Whether the parameter is without effect by mistake.
    pub fn is_error(&self) -> bool {
        match self.finding {
            Finding::Unknown { .. } | Finding::BadValue { .. } => true,
            Finding::NotHonoured | Finding::Advice { .. } => false,
        }
    }
}

/// A text of foreign origin as it may stand in a log: short, one line, no control characters (S7).
pub(crate) fn one_line(text: &str) -> String {
    const LONGEST: usize = 64;
    let mut shown: String = text.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Diagnosis { parameter, source, finding } = self;
        match finding {
            Finding::Unknown { nearest: Some(nearest) } => {
                write!(f, "{parameter} ({source}): no such parameter; did you mean {nearest}?")
            }
            Finding::Unknown { nearest: None } => write!(f, "{parameter} ({source}): no such parameter"),
            Finding::NotHonoured => write!(f, "{parameter} ({source}): known, but not honoured yet"),
            Finding::BadValue { cause, cure } if cure.is_empty() => {
                write!(f, "{parameter} ({source}): {cause}")
            }
            Finding::BadValue { cause, cure } => write!(f, "{parameter} ({source}): {cause}; {cure}"),
            Finding::Advice { cause } => write!(f, "{parameter} ({source}): {cause}"),
        }
    }
}
