//! What the tests share.

mod front;
mod guests;

pub use front::{Front, ServiceOptions};
pub use guests::{guest, wat};
