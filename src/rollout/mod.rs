//! How a new revision of a service takes over from the one before, step by step.
//!
//! A deployment is a record; [`advance`] takes it, what the nodes see of the two revisions, and
//! the time, and returns the record as it is to be next. [`parts`] says what a record means for
//! the nodes: which revision gets which share and how many tasks.
//!
//! *Invariant:* pure. The same record, reports and time give the same next record.
//!
//! *Invariant:* until a deployment has completed, the last good revision stays in force, and gets
//! all traffic back when the deployment fails.
//!
//! Start reading at [`advance`].

mod begin;
mod advance;
mod judge;
mod rolling;
mod parts;
mod steering;
mod observed;

pub use advance::{Advance, advance};
pub use begin::{Request, begin};
pub use observed::{Observed, observe};
pub use parts::{Part, parts, scale_in_force, share};
pub use steering::steering;
