//! What stands in the values.
