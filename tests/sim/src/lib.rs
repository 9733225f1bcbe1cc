//! Phones, registrar, callers, push providers and network on one virtual clock with a seed.
//!
//! The machines are the ones that ship; only the I/O around them is played. A [`World`] is a queue of happenings: bytes
//! that arrive, pushes that are delivered, wishes of persons, faults. Everything random comes from one seed, so a run
//! repeats itself exactly. What must hold in every run is watched all the time (`watch`), and [`World::finish`] looks at
//! what is left when all is over. [`run_seed`] draws a world and a schedule from a number.

mod breaking;
mod broken;
mod finish;
mod gateway;
mod ghosts;
mod network;
mod nodes;
mod phone;
mod phones;
mod push;
mod random;
mod script;
mod sniff;
mod watch;
mod wire;
mod world;

pub use broken::Broken;
pub use gateway::gateway_config;
pub use network::{End, Link, LinkState, Seen, Weather};
pub use nodes::NodeNews;
pub use phone::{Life, Pace, Reach, SimPhone};
pub use push::{Delivery, Fate};
pub use random::{Run, run_pair, run_seed};
pub use script::Script;
pub use world::{Happening, Scripted, Whim, World};
