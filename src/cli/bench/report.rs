//! What came of a run, for people: a table for terminals.

mod table;
mod text;

pub(super) use table::table;
