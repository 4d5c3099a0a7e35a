//! What the density run and the benches measure with.

pub mod stats;
pub mod machine;
pub mod cpu;
