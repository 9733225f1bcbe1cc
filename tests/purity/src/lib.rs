//! The phone's machines as a wasm module that may import nothing.
