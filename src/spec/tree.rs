//! The generic tree that every format is turned into.

/// A value and the line that it stands on, where the format's parser tells.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) tree: Tree,
    pub(super) line: Option<usize>,
}

/// What the three formats have in common.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Tree {
    Null,
    Bool(bool),
    /// Saturated where a format allows more than 128 bits.
    Integer(i128),
    Float(f64),
    Text(String),
    /// Only TOML has these.
    Date(String),
    List(Vec<Node>),
    /// In the order of the text; a key may occur more than once.
    Table(Vec<(String, Node)>),
}

impl Node {
    pub(super) fn new(tree: Tree) -> Self {
        Self { tree, line: None }
    }

    /// What stands here, for a sentence such as "expected text, found a list".
    pub(super) fn kind(&self) -> &'static str {
        match self.tree {
            Tree::Null => "nothing",
            Tree::Bool(_) => "a boolean",
            Tree::Integer(_) => "an integer",
            Tree::Float(_) => "a float",
            Tree::Text(_) => "text",
            Tree::Date(_) => "a date",
            Tree::List(_) => "a list",
            Tree::Table(_) => "a table",
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        match &self.tree {
            Tree::Null => true,
            Tree::Table(entries) => entries.is_empty(),
            _ => false,
        }
    }

    /// The value as people would write it. Large values are cut somewhere past `most` bytes.
    pub(super) fn preview(&self, most: usize) -> String {
        let mut out = String::new();
        self.write(&mut out, most);
        out
    }

    fn write(&self, out: &mut String, most: usize) {
        match &self.tree {
            Tree::Null => out.push_str("null"),
            Tree::Bool(value) => out.push_str(&value.to_string()),
            Tree::Integer(value) => out.push_str(&value.to_string()),
            Tree::Float(value) => out.push_str(&format!("{value:?}")),
            Tree::Text(text) | Tree::Date(text) => {
                out.extend(text.chars().take(most + 1));
            }
            Tree::List(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if out.len() > most {
                        return;
                    }
                    out.push_str(if index == 0 { "" } else { ", " });
                    item.write(out, most);
                }
                out.push(']');
            }
            Tree::Table(entries) => {
                out.push('{');
                for (index, (key, item)) in entries.iter().enumerate() {
                    if out.len() > most {
                        return;
                    }
                    out.push_str(if index == 0 { " " } else { ", " });
                    out.extend(key.chars().take(most));
                    out.push_str(" = ");
                    item.write(out, most);
                }
                out.push_str(if entries.is_empty() { "}" } else { " }" });
            }
        }
    }
}
