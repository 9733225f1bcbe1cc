//! Names for connections and the bytes on them.
