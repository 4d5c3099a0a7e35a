//! Stopping in order: out of the routes, then until nothing is in flight or the time is over.

mod activation;
mod caps;
mod draining;
mod failed;
mod hand_over;
mod node;
mod successor;
