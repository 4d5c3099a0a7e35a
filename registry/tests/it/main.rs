//! The crate against real clients, a real registry, and a hostile one.

mod crash;
mod docker_registry;
mod hostile;
mod pull_and_push;
mod server_blobs;
mod server_manifests;
mod skopeo;
mod support;
mod tokens;
