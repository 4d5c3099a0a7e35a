//! The types that a value can have, and the hints for those that it has instead.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::hints;
use super::problem::Problem;
use super::reader::Spot;
use super::tree::Tree;
use crate::model::{ByteSize, Name, duration};

/// Reads a name from a key or a value; else the message and the hint.
pub(super) fn name(text: &str) -> Result<Name, (String, String)> {
    text.parse().map_err(|error: crate::model::InvalidName| {
        let message = error.to_string();
        (message, hints::name(text))
    })
}

/// Text.
pub(super) fn text<'t>(spot: &Spot<'t>) -> Result<&'t str, Problem> {
    match &spot.node.tree {
        Tree::Text(text) => Ok(text),
        _ => Err(spot.expected("text").hint("put the value in quotes")),
    }
}

/// Yes or no.
pub(super) fn switch(spot: &Spot<'_>) -> Result<bool, Problem> {
    match &spot.node.tree {
        Tree::Bool(value) => Ok(*value),
        _ => Err(spot.expected("true or false").hint("write true or false, without quotes")),
    }
}

/// A whole number within bounds.
pub(super) fn integer<T>(spot: &Spot<'_>, range: RangeInclusive<T>) -> Result<T, Problem>
where
    T: TryFrom<i128> + PartialOrd + Copy + Display,
{
    let (least, most) = (*range.start(), *range.end());
    let number = match &spot.node.tree {
        Tree::Integer(number) => *number,
        Tree::Float(float) => {
            return Err(spot.expected("an integer").hint(hints::float_for_integer(*float)));
        }
        Tree::Text(text) => {
            let hint = hints::text_for_integer(text)
                .unwrap_or_else(|| format!("write a whole number from {least} to {most}"));
            return Err(spot.expected("an integer").hint(hint));
        }
        _ => {
            let hint = format!("write a whole number from {least} to {most}");
            return Err(spot.expected("an integer").hint(hint));
        }
    };
    match T::try_from(number) {
        Ok(value) if range.contains(&value) => Ok(value),
        _ => Err(out_of_range(spot, least, most, number < 0)),
    }
}

/// An amount of memory within bounds: text with a unit, or a number of bytes.
pub(super) fn size(spot: &Spot<'_>, range: RangeInclusive<ByteSize>) -> Result<ByteSize, Problem> {
    let (least, most) = (*range.start(), *range.end());
    let size = match &spot.node.tree {
        Tree::Integer(number) => match u64::try_from(*number) {
            Ok(bytes) => ByteSize(bytes),
            Err(_) => return Err(out_of_range(spot, least, most, *number < 0)),
        },
        Tree::Text(text) => match text.parse() {
            Ok(size) => size,
            Err(error) => {
                let error: crate::model::InvalidQuantity = error;
                let hint = hints::size(text).unwrap_or_else(|| hints::SIZE.to_owned());
                return Err(spot.problem(error.to_string()).hint(hint));
            }
        },
        _ => return Err(spot.expected("a size such as \"64MiB\"").hint(hints::SIZE)),
    };
    match range.contains(&size) {
        true => Ok(size),
        false => Err(out_of_range(spot, least, most, false)),
    }
}

/// A duration within bounds: text with a unit.
pub(super) fn time(spot: &Spot<'_>, range: RangeInclusive<Duration>) -> Result<Duration, Problem> {
    let text = match &spot.node.tree {
        Tree::Text(text) => text,
        Tree::Integer(_) | Tree::Float(_) => {
            let hint = hints::time(&spot.node.preview(40));
            let problem = spot.expected("a duration such as \"10s\"");
            return Err(problem.hint(hint.as_deref().unwrap_or(hints::TIME)));
        }
        _ => {
            return Err(spot.expected("a duration such as \"10s\"").hint(hints::TIME));
        }
    };
    let value = duration::parse(text).map_err(|error| {
        let hint = hints::time(text);
        spot.problem(error.to_string()).hint(hint.as_deref().unwrap_or(hints::TIME))
    })?;
    match range.contains(&value) {
        true => Ok(value),
        false => {
            let (least, most) = (duration::format(*range.start()), duration::format(*range.end()));
            Err(out_of_range(spot, least, most, false))
        }
    }
}

fn out_of_range(
    spot: &Spot<'_>,
    least: impl Display,
    most: impl Display,
    negative: bool,
) -> Problem {
    let message = match negative {
        true => "a negative number has no meaning here",
        false => "out of bounds",
    };
    spot.problem(format!("{message}: expected {least} to {most}")).hint(format!(
        "choose a value from {least} to {most}, or leave the key out for the default"
    ))
}
