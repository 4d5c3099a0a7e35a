//! One integration-test binary: real components, real sockets, the real node.

#![expect(unreachable_pub, reason = "a test binary has no outside")]

mod support;

mod requests;
mod store;
