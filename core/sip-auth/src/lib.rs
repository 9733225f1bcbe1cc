//! HTTP digest for SIP: challenge to answer, nonce count, MD5, SHA-256 and SHA-512-256.
