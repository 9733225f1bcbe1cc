//! RTP, RTCP and telephone-event packets.
