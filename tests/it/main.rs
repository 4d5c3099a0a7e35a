//! One integration-test binary: real components, real sockets, the real node.

#![expect(unreachable_pub, reason = "a test binary has no outside")]

mod support;

mod bench;
mod cli;
mod cli_follow;
mod compiler;
mod connections;
mod floods;
mod front_door;
mod limits;
mod metrics;
mod node;
mod node_bad_input;
mod node_cache;
mod node_changes;
mod node_full_disk;
mod node_health;
mod node_languages;
mod node_machine;
mod node_outcomes;
mod node_registries;
mod node_routes;
mod outgoing;
mod probes;
mod requests;
mod rollouts;
mod rules;
mod scale;
mod stopping;
mod store;
mod streaming;
mod tls;
mod top;
mod upstreams;
