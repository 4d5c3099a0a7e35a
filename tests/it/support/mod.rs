//! What the tests share.

mod front;
mod guests;
mod node;
mod h2;
pub mod frames;
mod raw;

pub use front::{Front, ServiceOptions, error_of};
pub use guests::{guest, preview1_guest, wat};
pub use h2::H2;
pub use node::{Node, ran, serve_command, serve_on, wait_for};
pub use raw::{Answer, End, Raw, eventually, within};
