//! Host and path to target, in time that does not depend on how many routes there are.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use crate::model::{HostPattern, RoutePattern};

/// Parts that the exact hosts are split into, so that a change copies one part and not the table.
const SHARDS: usize = 256;
/// Most segments of a path that are looked at; a longer path matches by its beginning.
const MOST_SEGMENTS: usize = 64;

/// An immutable table of routes. A change makes a new table that shares all but the changed part.
///
/// The most specific route wins: an exact host before the longest wildcard before `*`, and under
/// a host the longest path prefix. A host that has no matching path does not fall through to a
/// wildcard, as in nginx and Kubernetes Ingress.
#[derive(Clone, Debug)]
pub struct RouteTable<T> {
    hasher: RandomState,
    exact: Vec<Arc<Hosts<T>>>,
    wildcard: Arc<Hosts<T>>,
    any: Option<Arc<Paths<T>>>,
}

/// Hosts, or what stands after `*.`, with their paths.
type Hosts<T> = HashMap<Box<str>, Arc<Paths<T>>>;

/// The path prefixes of one host.
#[derive(Clone, Debug)]
struct Paths<T> {
    by_prefix: HashMap<Box<str>, T>,
}

impl<T: Clone> Default for RouteTable<T> {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            exact: vec![Arc::default(); SHARDS],
            wildcard: Arc::default(),
            any: None,
        }
    }
}

impl<T: Clone> RouteTable<T> {
    /// The target for a request. `host` has no port; its case does not matter.
    pub fn find(&self, host: &str, path: &str) -> Option<&T> {
        let host = lower(host.strip_suffix('.').unwrap_or(host));
        let paths = self.exact[self.shard(&host)]
            .get(&*host)
            .or_else(|| self.find_wildcard(&host))
            .or(self.any.as_ref())?;
        paths.find(path)
    }

    /// Where exactly this route leads.
    pub fn get(&self, route: &RoutePattern) -> Option<&T> {
        let paths = match &route.host {
            HostPattern::Exact(host) => self.exact[self.shard(host)].get(host),
            HostPattern::Wildcard(suffix) => self.wildcard.get(suffix),
            HostPattern::Any => self.any.as_ref(),
        };
        paths?.by_prefix.get(&route.prefix)
    }

    /// Leads a route to a target, and returns where it led before.
    pub fn insert(&mut self, route: &RoutePattern, target: T) -> Option<T> {
        let paths = match &route.host {
            HostPattern::Exact(host) => {
                let shard = self.shard(host);
                Arc::make_mut(&mut self.exact[shard]).entry(host.clone()).or_default()
            }
            HostPattern::Wildcard(suffix) => {
                Arc::make_mut(&mut self.wildcard).entry(suffix.clone()).or_default()
            }
            HostPattern::Any => self.any.get_or_insert_default(),
        };
        Arc::make_mut(paths).by_prefix.insert(route.prefix.clone(), target)
    }

    /// Removes a route if it leads to what `is_mine` knows. Whoever took it over keeps it.
    pub fn remove(&mut self, route: &RoutePattern, is_mine: impl Fn(&T) -> bool) {
        match &route.host {
            HostPattern::Exact(host) => {
                let shard = self.shard(host);
                remove_path(Arc::make_mut(&mut self.exact[shard]), host, &route.prefix, is_mine);
            }
            HostPattern::Wildcard(suffix) => {
                remove_path(Arc::make_mut(&mut self.wildcard), suffix, &route.prefix, is_mine);
            }
            HostPattern::Any => {
                let Some(paths) = &mut self.any else { return };
                remove_prefix(paths, &route.prefix, is_mine);
                if paths.by_prefix.is_empty() {
                    self.any = None;
                }
            }
        }
    }

    fn find_wildcard(&self, host: &str) -> Option<&Arc<Paths<T>>> {
        if self.wildcard.is_empty() {
            return None;
        }
        let mut rest = host;
        while let Some((_, suffix)) = rest.split_once('.') {
            if let Some(paths) = self.wildcard.get(suffix) {
                return Some(paths);
            }
            rest = suffix;
        }
        None
    }

    fn shard(&self, host: &str) -> usize {
        // The top bits: the shard's own map uses the low ones of another hash.
        (self.hasher.hash_one(host) >> 56) as usize % SHARDS
    }
}

impl<T> Default for Paths<T> {
    fn default() -> Self {
        Self { by_prefix: HashMap::new() }
    }
}

impl<T> Paths<T> {
    /// Tries the path cut at each `/`, longest first: one look-up for each segment, however many
    /// prefixes there are.
    fn find(&self, path: &str) -> Option<&T> {
        let path = path.strip_suffix('/').unwrap_or(path);
        let mut end = match path.match_indices('/').nth(MOST_SEGMENTS) {
            Some((cut, _)) => cut,
            None => path.len(),
        };
        loop {
            if let Some(target) = self.by_prefix.get(&path[..end]) {
                return Some(target);
            }
            end = path[..end].rfind('/')?;
        }
    }
}

fn remove_path<T: Clone>(
    hosts: &mut Hosts<T>,
    host: &str,
    prefix: &str,
    is_mine: impl Fn(&T) -> bool,
) {
    let Some(paths) = hosts.get_mut(host) else { return };
    remove_prefix(paths, prefix, is_mine);
    if paths.by_prefix.is_empty() {
        hosts.remove(host);
    }
}

/// Takes a prefix out of shared paths, copying them only if it is there.
fn remove_prefix<T: Clone>(paths: &mut Arc<Paths<T>>, prefix: &str, is_mine: impl Fn(&T) -> bool) {
    if paths.by_prefix.get(prefix).is_some_and(is_mine) {
        Arc::make_mut(paths).by_prefix.remove(prefix);
    }
}

fn lower(host: &str) -> Cow<'_, str> {
    match host.bytes().any(|b| b.is_ascii_uppercase()) {
        true => Cow::Owned(host.to_ascii_lowercase()),
        false => Cow::Borrowed(host),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn table(routes: &[&str]) -> RouteTable<String> {
        let mut table = RouteTable::default();
        for route in routes {
            let pattern = route.parse().expect("valid route");
            assert_eq!(table.insert(&pattern, (*route).to_owned()), None);
        }
        table
    }

    #[test]
    fn the_most_specific_route_wins() {
        let table = table(&[
            "a.example.com/*",
            "a.example.com/api/*",
            "a.example.com/api/v2/*",
            "*.example.com/*",
            "*.deep.example.com/x",
            "*/health",
        ]);
        for (host, path, expected) in [
            ("a.example.com", "/", Some("a.example.com/*")),
            ("A.Example.COM.", "/api", Some("a.example.com/api/*")),
            ("a.example.com", "/api/", Some("a.example.com/api/*")),
            ("a.example.com", "/api/v2/x/y", Some("a.example.com/api/v2/*")),
            ("a.example.com", "/apix", Some("a.example.com/*")),
            ("b.example.com", "/anything", Some("*.example.com/*")),
            ("c.b.example.com", "/", Some("*.example.com/*")),
            ("z.deep.example.com", "/x/1", Some("*.deep.example.com/x")),
            ("z.deep.example.com", "/y", None),
            ("example.com", "/", None),
            ("elsewhere.org", "/health/live", Some("*/health")),
            ("elsewhere.org", "/", None),
            ("", "/health", Some("*/health")),
        ] {
            assert_eq!(table.find(host, path).map(String::as_str), expected, "{host}{path}");
        }
    }

    #[test]
    fn a_route_leads_to_one_target_in_whatever_order_it_moves() {
        let mut table = table(&["a.b/*"]);
        let route = "A.b/".parse().expect("valid");
        let before = table.clone();
        assert_eq!(table.insert(&route, "new".to_owned()).as_deref(), Some("a.b/*"));
        table.remove(&route, |target| target == "a.b/*");
        assert_eq!(table.find("a.b", "/").map(String::as_str), Some("new"), "not its any more");
        table.remove(&route, |target| target == "new");
        assert_eq!(table.find("a.b", "/"), None);
        assert!(before.find("a.b", "/").is_some(), "snapshots do not change");
    }

    proptest! {
        #[test]
        fn hostile_hosts_and_paths_are_harmless(host in ".{0,300}", path in ".{0,300}") {
            table(&["a.b/*", "*.c/d", "*/e"]).find(&host, &path);
        }

        #[test]
        fn what_was_inserted_is_found(
            hosts in prop::collection::btree_set("[a-z]{1,8}(\\.[a-z]{1,5}){1,3}", 1..50)
        ) {
            let routes: Vec<_> = hosts.iter().map(|host| format!("{host}/p/*")).collect();
            let table = table(&routes.iter().map(String::as_str).collect::<Vec<_>>());
            for (host, route) in hosts.iter().zip(&routes) {
                prop_assert_eq!(table.find(host, "/p/q"), Some(route));
                prop_assert_eq!(table.get(&route.parse().expect("a route")), Some(route));
                prop_assert_eq!(table.get(&host.parse().expect("a route")), None);
            }
        }
    }
}
