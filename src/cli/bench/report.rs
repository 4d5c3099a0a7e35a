//! What came of a run, for people: a table for terminals, and a page with charts.

mod table;
mod page;
mod charts;
mod chart;
mod axis;
mod text;

pub(super) use page::page;
pub(super) use table::table;
