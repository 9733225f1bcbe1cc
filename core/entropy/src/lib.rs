//! Unguessable names (tags, branches, Call-IDs, nonces) drawn from a seed that is handed in.
