//! Walking the tree: where a value stands, and what to say when it is not what it should be.

use std::collections::BTreeSet;

use super::hints;
use super::problem::{Collector, Problem};
use super::tree::{Node, Tree};

/// How much of a value a problem repeats; [`Problem::value`] cuts it to its final length.
const PREVIEW: usize = 100;

/// A value and the path to it.
#[derive(Clone, Debug)]
pub(super) struct Spot<'t> {
    pub(super) path: String,
    pub(super) node: &'t Node,
}

/// Which keys a table has, and what people write in their place.
#[derive(Debug)]
pub(super) struct Shape {
    /// Every key that is understood.
    pub(super) keys: &'static [&'static str],
    /// Keys of other places or other tools, each with the hint that helps.
    pub(super) slips: &'static [(&'static str, &'static str)],
    /// The hint for somebody who wrote something else than a table.
    pub(super) example: &'static str,
}

/// An open table. Whatever is wrong with it or in it goes to the collector.
#[derive(Debug)]
pub(super) struct Table<'t, 'c> {
    spot: Spot<'t>,
    entries: Vec<(&'t str, &'t Node)>,
    problems: &'c mut Collector,
}

/// What became of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Given<T> {
    /// The key is not there.
    Absent,
    /// The key has a bad value, which is reported already.
    Faulty,
    /// A good value.
    Value(T),
}

impl<T> Given<T> {
    /// The value, or `default` in its place so that the walk can go on.
    pub(super) fn or(self, default: T) -> T {
        match self {
            Self::Value(value) => value,
            Self::Absent | Self::Faulty => default,
        }
    }

    /// The value, if it is there and good.
    pub(super) fn some(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Faulty => None,
        }
    }

    /// The value that is in force, unless what was given is faulty: for checks of two values
    /// against each other, which should not complain about a stand-in.
    pub(super) fn in_force(self, default: T) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent => Some(default),
            Self::Faulty => None,
        }
    }
}

impl<'t> Spot<'t> {
    pub(super) fn root(node: &'t Node) -> Self {
        Self { path: String::new(), node }
    }

    pub(super) fn item(&self, index: usize, node: &'t Node) -> Self {
        Self { path: format!("{}[{index}]", self.path), node }
    }

    fn child(&self, key: &str, node: &'t Node) -> Self {
        let key = hints::quoted_key(key);
        let path = if self.path.is_empty() { key } else { format!("{}.{key}", self.path) };
        Self { path, node }
    }

    /// A problem with this value, which it repeats unless it is a table.
    pub(super) fn problem(&self, message: impl AsRef<str>) -> Problem {
        let problem = Problem::new(&self.path, message).line(self.node.line);
        match self.node.tree {
            Tree::Table(_) => problem,
            _ => problem.value(self.node.preview(PREVIEW)),
        }
    }

    /// A problem with the type of this value.
    pub(super) fn expected(&self, what: &str) -> Problem {
        self.problem(format!("expected {what}, found {}", self.node.kind()))
    }
}

impl<'t, 'c> Table<'t, 'c> {
    /// Opens a table: reports it if it is none, and every repeated key and every key that `shape`
    /// does not know. Without a shape every key is good.
    pub(super) fn open(
        spot: &Spot<'t>,
        shape: Option<&Shape>,
        problems: &'c mut Collector,
    ) -> Option<Self> {
        let all = match &spot.node.tree {
            Tree::Table(all) => all.as_slice(),
            // `hello:` with nothing below it is how YAML writes a table without keys.
            Tree::Null => &[],
            _ => {
                let example = shape.map_or("write `KEY = VALUE` pairs", |shape| shape.example);
                problems.add(spot.expected("a table").hint(example));
                return None;
            }
        };
        let mut seen = BTreeSet::new();
        let mut entries = Vec::new();
        for (key, node) in all {
            let first = seen.insert(key.as_str());
            if !first {
                let again = spot.child(key, node).problem("this key stands here twice");
                problems.add(again.hint("keep one of the two"));
            } else if let Some(shape) = shape.filter(|s| !s.keys.contains(&key.as_str())) {
                let unknown = spot.child(key, node).problem("unknown key");
                problems.add(unknown.hint(hints::unknown_key(key, shape)));
            } else {
                entries.push((key.as_str(), node));
            }
        }
        Some(Self { spot: spot.clone(), entries, problems })
    }

    /// Opens a table below this one, reporting to the same collector.
    pub(super) fn open_at<'a>(
        &'a mut self,
        spot: &Spot<'t>,
        shape: Option<&Shape>,
    ) -> Option<Table<'t, 'a>> {
        Table::open(spot, shape, self.problems)
    }

    /// Opens the table under `key`, if there is one.
    pub(super) fn table<'a>(
        &'a mut self,
        key: &str,
        shape: Option<&Shape>,
    ) -> Option<Table<'t, 'a>> {
        let spot = self.get(key)?;
        self.open_at(&spot, shape)
    }

    /// Reads the value under `key`.
    pub(super) fn read<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(&Spot<'t>) -> Result<T, Problem>,
    ) -> Given<T> {
        match self.get(key).map(|spot| read(&spot)) {
            None => Given::Absent,
            Some(Ok(value)) => Given::Value(value),
            Some(Err(problem)) => {
                self.problems.add(problem);
                Given::Faulty
            }
        }
    }

    /// Where the table itself stands.
    pub(super) fn spot(&self) -> &Spot<'t> {
        &self.spot
    }

    /// The value under `key`, if the key is there.
    pub(super) fn get(&self, key: &str) -> Option<Spot<'t>> {
        let (key, node) = self.entries.iter().find(|(name, _)| *name == key)?;
        Some(self.spot.child(key, node))
    }

    /// All values with their keys, in the order of the text.
    pub(super) fn spots(&self) -> Vec<(&'t str, Spot<'t>)> {
        self.entries.iter().map(|(key, node)| (*key, self.spot.child(key, node))).collect()
    }

    pub(super) fn report(&mut self, problem: Problem) {
        self.problems.add(problem);
    }
}
