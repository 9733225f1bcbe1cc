//! How media packets travel: SDES-SRTP, symmetric RTP and its source lock.
