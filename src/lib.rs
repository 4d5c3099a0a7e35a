//! Wharf: Amazon ECS and Cloud Run for WebAssembly, in one binary.
//!
//! A manifest becomes task definitions and services (`spec`), which are kept in a `store`. The
//! control plane (`control`) reads the whole of it and lets the `reconciler` decide which node
//! gets which grant; an `agent` turns grants into prepared services; the `proxy` takes requests
//! and runs each in a wasmtime instance of its own (`runtime`).
//!
//! The modules are declared in the order of their layers: each imports only what stands above
//! it. Start reading at [`model`]; `ARCHITECTURE.md` draws the whole.

pub mod model;
pub mod spec;
pub mod autoscaler;
pub mod rollout;
pub mod routing;
pub mod reconciler;
pub mod clock;
pub mod telemetry;
pub mod shutdown;
pub mod listener;
pub mod tls;
pub mod upstream;
pub mod store;
pub mod runtime;
pub mod agent;
pub mod control;
pub mod proxy;
pub mod api;
pub mod config;
pub mod server;
pub mod cli;
