//! The wakeline program: phone, call, gateway, demo.

fn main() {}
