//! Whose guest runs next, by fair shares of CPU time.
//!
//! A guest's future is polled only while it holds one of as many *turns* as there are cores. Who
//! waits for one stands in the order of what its task has had, divided by the task's CPU units
//! (start-time fair queueing; Goyal, Vin and Cheng, 1996), so that a task with a thousand requests
//! gets no more than one with a single request that wants as much. Set-up, host calls and the
//! reset of an instance are part of its turn.
//!
//! *Invariant:* while nobody waits, a turn takes no lock that another turn takes.
//!
//! *Invariant:* a turn that was given is given back, whatever becomes of its future.
//!
//! Start reading at [`Turn`], then `gate.rs`.

mod account;
mod cap;
mod gate;
mod lanes;
mod turn;

pub(super) use account::Account;
pub(super) use gate::Gate;
pub(super) use turn::{Turn, Who};
