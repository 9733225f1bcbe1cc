//! Read and write SIP messages: tolerant in, strict out.
