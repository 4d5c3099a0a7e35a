//! OCI artifacts that hold WebAssembly.
//!
//! This crate owns everything between "a reference in a manifest" and "the verified bytes of
//! one Wasm file on this disk", in both directions:
//!
//! - [`mod@reference`] and [`digest`] are the vocabulary: names of images and of content;
//! - [`artifact`] reads a manifest and says which layout it has (pure), [`unpack`] takes the
//!   one `.wasm` file out of a container image;
//! - [`content`] is the store of blobs by digest, bounded and evicting;
//! - [`client`] pulls from and pushes to registries;
//! - [`server`] is a registry of its own that standard clients can use.
//!
//! *Invariant:* nothing here knows of services, tasks or nodes; the crate can be used, and is
//! tested, without the rest of the project.
//!
//! *Invariant:* bytes from the network reach a caller only after their digest was verified.
//!
//! Start reading at [`client::Client::pull`].

pub mod artifact;
pub mod client;
pub mod content;
pub mod digest;
pub mod reference;
pub mod server;
pub mod unpack;

mod clock;

pub use artifact::Layout;
pub use client::{Artifact, Client, ClientConfig, Progress};
pub use content::{ContentStore, Pin};
pub use digest::{Digest, Hasher};
pub use reference::Reference;
pub use server::Server;
