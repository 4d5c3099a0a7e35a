//! Which service a request is for, which of its revisions, and which of its tasks takes it.
//!
//! *Invariant:* pure. Tables are immutable snapshots; random numbers are arguments.
//!
//! Start reading at [`RouteTable`].

mod table;
mod split;
mod balancer;
mod health;
mod outlier;
mod budget;
mod rate;
mod client;

pub use balancer::{STRIDE, mix, power_of_two};
pub use budget::RetryBudget;
pub use client::{Client, point};
pub use health::{Restarts, Start, Startup, Tally};
pub use outlier::{Outlier, may_eject};
pub use rate::{Buckets, Rate, Standing};
pub use split::{Split, is_in_share};
pub use table::RouteTable;
