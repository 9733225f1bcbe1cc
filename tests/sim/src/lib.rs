//! Phones, registrar, callers, push providers and network on one virtual clock with a seed.
//!
//! The machines are the ones that ship; only the I/O around them is played. A [`World`] is a queue of happenings: bytes
//! that arrive, pushes that are delivered, wishes of persons, faults. Everything random comes from one seed, so a run
//! repeats itself exactly.

mod gateway;
mod network;
mod phone;
mod push;
mod world;

pub use network::{Link, Weather};
pub use phone::{Life, SimPhone};
pub use push::Delivery;
pub use world::{Happening, World};
