//! Where a value came from, and which source is stronger (B-061).

/// A source of parameter values, weakest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Source {
    /// Kept from an earlier run.
    Stored,
    /// A configuration file.
    File,
    /// The environment of the process.
    Environment,
    /// The operator's server: the answer to `scurl_setparameters`, `x-mparam` in a SIP message.
    Server,
    /// This session: command line, `setparameter`, what a person typed.
    Session,
    /// A link, or the query of the page's address.
    Link,
    /// Assigned while the phone runs; not to be overridden by `setparameter` (B-039).
    Assigned,
}

impl Source {
    /// The strength of a value of this source. A file's value under a name with `ucfg_` gives way to stored ones and
    /// to every other source (B-038).
    pub(crate) const fn rank(self, gives_way: bool) -> u8 {
        match (self, gives_way) {
            (_, true) => 0,
            (Source::Stored, false) => 1,
            (Source::File, false) => 2,
            (Source::Environment, false) => 3,
            (Source::Server, false) => 4,
            (Source::Session, false) => 5,
            (Source::Link, false) => 6,
            (Source::Assigned, false) => 7,
        }
    }
}

impl core::fmt::Display for Source {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Source::Stored => "stored settings",
            Source::File => "the file",
            Source::Environment => "the environment",
            Source::Server => "the server",
            Source::Session => "this session",
            Source::Link => "the link",
            Source::Assigned => "the program",
        })
    }
}
