//! JSON and YAML → tree, through serde.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, EnumAccess, Error as _, MapAccess, SeqAccess, Visitor};

use super::super::tree::{Node, Tree};
use super::{MAX_DEPTH, Place};

/// What a tree may cost. A text of the longest size costs less than this unless YAML aliases
/// multiply what it holds; the YAML parser bounds the number of aliases, not what they stand for.
const BUDGET: usize = 10 << 20;
/// The cost of one value; a byte of text costs 1.
const NODE_COST: usize = 16;

/// Why a text has no tree.
pub(super) struct SyntaxError {
    pub(super) place: Option<Place>,
    pub(super) message: String,
}

pub(super) fn json(text: &str) -> Result<Node, SyntaxError> {
    let mut left = BUDGET;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let seed = Build { left: &mut left, depth: MAX_DEPTH };
    let read = seed.deserialize(&mut deserializer);
    read.and_then(|node| deserializer.end().map(|()| node)).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        // serde_json counts the bytes before the offender.
        let place = (line > 0).then_some(Place { line, column: column.max(1) });
        let suffix = format!(" at line {line} column {column}");
        SyntaxError { place, message: error.to_string().replacen(&suffix, "", 1) }
    })
}

pub(super) fn yaml(text: &str) -> Result<Node, SyntaxError> {
    let mut left = BUDGET;
    let seed = Build { left: &mut left, depth: MAX_DEPTH };
    seed.deserialize(serde_norway::Deserializer::from_str(text)).map_err(|error| {
        let place = error.location().map(|at| Place { line: at.line(), column: at.column() });
        let mut message = error.to_string();
        if let Some(Place { line, column }) = place {
            message = message.replacen(&format!(" at line {line} column {column}"), "", 1);
        }
        SyntaxError { place, message }
    })
}

/// Builds one node within what is left of the budget.
struct Build<'b> {
    left: &'b mut usize,
    depth: usize,
}

impl Build<'_> {
    fn spend<E: serde::de::Error>(&mut self, cost: usize) -> Result<(), E> {
        let left = self.left.checked_sub(cost);
        *self.left = left.ok_or_else(|| E::custom("aliases multiply the text beyond bounds"))?;
        Ok(())
    }

    fn below<E: serde::de::Error>(&mut self) -> Result<Build<'_>, E> {
        let depth = self.depth.checked_sub(1);
        let depth =
            depth.ok_or_else(|| E::custom(format!("values nest more than {MAX_DEPTH} deep")))?;
        Ok(Build { left: self.left, depth })
    }
}

impl<'de> DeserializeSeed<'de> for Build<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(mut self, deserializer: D) -> Result<Node, D::Error> {
        self.spend(NODE_COST)?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Build<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::new(Tree::Null))
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::new(Tree::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::new(Tree::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::new(Tree::Integer(value.into())))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::new(Tree::Integer(value.into())))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Node, E> {
        Ok(Node::new(Tree::Integer(value)))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Node, E> {
        Ok(Node::new(Tree::Integer(i128::try_from(value).unwrap_or(i128::MAX))))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::new(Tree::Float(value)))
    }

    fn visit_str<E: serde::de::Error>(mut self, text: &str) -> Result<Node, E> {
        self.spend(text.len())?;
        Ok(Node::new(Tree::Text(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Node, A::Error> {
        let mut out = Vec::new();
        while let Some(item) = items.next_element_seed(self.below()?)? {
            out.push(item);
        }
        Ok(Node::new(Tree::List(out)))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<Node, A::Error> {
        let mut out = Vec::new();
        while let Some(key) = entries.next_key_seed(Key(self.below()?))? {
            out.push((key, entries.next_value_seed(self.below()?)?));
        }
        Ok(Node::new(Tree::Table(out)))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<Node, A::Error> {
        Err(A::Error::custom("tags such as `!name` have no meaning in a manifest"))
    }
}

/// A key: text, or in YAML any scalar, taken as it is written.
struct Key<'b>(Build<'b>);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(mut self, text: &str) -> Result<String, E> {
        self.0.spend(text.len())?;
        Ok(text.to_owned())
    }
}
