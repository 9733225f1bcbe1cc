//! RFC 8599 parameters, the dialects of other stacks, wake ids, and what a push payload may carry.
