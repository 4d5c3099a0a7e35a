//! Stopping in order: out of the routes, then until nothing is in flight or the time is over.

mod caps;
mod node;
