//! The gateway's machine: bindings, flows, held requests, forks and wake outcomes.
