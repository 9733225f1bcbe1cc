//! Every limit of this crate in one place.

/// The largest message, start line to end of body: what one UDP datagram could carry. Bytes.
pub const MESSAGE: usize = 65_535;
/// The most header lines of one message.
pub const HEADER_LINES: usize = 256;
/// The most bytes a [`crate::Framer`] holds back while a message is incomplete.
pub const BUFFERED: usize = MESSAGE + 1;
/// How deep multipart bodies may be nested.
pub const MULTIPART_DEPTH: usize = 4;
/// The most parts of one multipart body.
pub const MULTIPART_PARTS: usize = 64;
/// The longest request URI; beyond it a request is refused with 414.
pub const REQUEST_URI: usize = 8_192;
