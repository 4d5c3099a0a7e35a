//! What the tests share.

mod disk;
mod front;
mod guests;
mod h2;
pub mod frames;
mod node;
mod origin;
mod raw;
mod slow_registry;
mod tls;

// Debian's programs are run as they are for the registry's own tests.
#[path = "../../../registry/tests/it/support/programs.rs"]
mod programs;

pub use disk::SmallDisk;
pub use front::{Front, ServiceOptions, compile, compiler_setup, error_of};
pub use guests::{guest, preview1_guest, wat};
pub use h2::H2;
pub use node::{
    Node, Setup, http_client, own_address, ran, serve_command, serve_on, wait_for, wharf_command,
};
pub use origin::{Origin, crashing, dead_address, saying};
pub(crate) use programs::{DockerRegistry, skopeo};
pub use raw::{Answer, End, Raw, eventually, within};
pub use slow_registry::SlowRegistry;
pub use tls::{Pair, exchange, last_get, shake_hands, shake_hands_on, tls_client};

use raw::PATIENCE;
