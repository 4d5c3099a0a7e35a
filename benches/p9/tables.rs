//! The tables, and what is looked up in them.

use anyhow::ensure;
use serde::{Deserialize, Serialize};
use wharf::routing::RouteTable;

use super::harness::stats::SplitMix;

/// A table from routes to the numbers of their services.
pub(super) type Table = RouteTable<u32>;

/// Look-ups of one round through the queries: as many at every size, so that reading the queries
/// costs the same.
const QUERIES: usize = 1 << 16;
/// Routes that are looked up when they are few.
const FEW: usize = 64;

/// How routes are spread over hosts and paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Layout {
    /// A host for each.
    Hosts,
    /// Hosts, wildcard hosts and path prefixes.
    Mixed,
    /// Path prefixes under one host.
    Prefixes,
}

/// Which routes are looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spread {
    /// A few of them, again and again.
    Few,
    /// All of them, at random.
    Uniform,
}

impl Layout {
    pub(super) const ALL: [Self; 3] = [Self::Hosts, Self::Mixed, Self::Prefixes];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Hosts => "hosts",
            Self::Mixed => "mixed",
            Self::Prefixes => "prefixes of one host",
        }
    }

    /// A table of that many routes.
    pub(super) fn table(self, routes: u32) -> anyhow::Result<Table> {
        let mut table = Table::default();
        for number in 0..routes {
            table.insert(&self.route(number).parse()?, number);
        }
        Ok(table)
    }

    fn route(self, number: u32) -> String {
        match (self, number % 4) {
            (Self::Hosts, _) | (Self::Mixed, 0) => format!("service-{number}.example.com/*"),
            (Self::Mixed, 1) => format!("*.tenant-{number}.example.com/*"),
            (Self::Mixed, 2) => format!("service-{}.example.com/api/v1/*", number / 4 * 4),
            (Self::Mixed, _) => format!("*.tenant-{}.example.com/static/*", number / 4 * 4 + 1),
            (Self::Prefixes, _) => format!("api.example.com/team-{}/app-{number}/*", number % 100),
        }
    }

    /// A request that the route with this number takes.
    fn query(self, number: u32) -> (String, String) {
        match (self, number % 4) {
            (Self::Hosts, _) | (Self::Mixed, 0) => {
                (format!("service-{number}.example.com"), "/users/17/orders".to_owned())
            }
            (Self::Mixed, 1) => {
                (format!("www.tenant-{number}.example.com"), "/users/17/orders".to_owned())
            }
            (Self::Mixed, 2) => {
                let host = format!("service-{}.example.com", number / 4 * 4);
                (host, "/api/v1/orders".to_owned())
            }
            (Self::Mixed, _) => {
                let host = format!("www.tenant-{}.example.com", number / 4 * 4 + 1);
                (host, "/static/logo.png".to_owned())
            }
            (Self::Prefixes, _) => {
                let path = format!("/team-{}/app-{number}/users/17/orders", number % 100);
                ("api.example.com".to_owned(), path)
            }
        }
    }
}

impl Spread {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Few => "few",
            Self::Uniform => "uniform",
        }
    }
}

/// Requests, one behind the other in memory, so that reading them does not miss the cache.
pub(super) struct Queries {
    text: String,
    /// End of the host, end of the path, and the number of the route.
    ends: Vec<(usize, usize, u32)>,
}

impl Queries {
    /// Draws them. The same arguments draw the same.
    pub(super) fn new(layout: Layout, routes: u32, spread: Spread) -> Self {
        let mut random = SplitMix(1);
        let mut any = || random.below(routes as usize) as u32;
        let few: Vec<u32> = (0..FEW).map(|_| any()).collect();
        let mut queries = Self { text: String::new(), ends: Vec::new() };
        for i in 0..QUERIES {
            let number = match spread {
                Spread::Few => few[i % FEW],
                Spread::Uniform => any(),
            };
            let (host, path) = layout.query(number);
            queries.text += &host;
            let host_end = queries.text.len();
            queries.text += &path;
            queries.ends.push((host_end, queries.text.len(), number));
        }
        queries
    }

    /// Fails unless each is taken by its route.
    pub(super) fn check(&self, table: &Table) -> anyhow::Result<()> {
        let mut start = 0;
        for &(host, path, number) in &self.ends {
            let (host, path, begin) = (&self.text[start..host], &self.text[host..path], path);
            let found = table.find(host, path);
            ensure!(found == Some(&number), "{host}{path} leads to {found:?}, not to {number}");
            start = begin;
        }
        Ok(())
    }

    /// Looks all of them up, and returns how many they are.
    pub(super) fn look_up_all(&self, table: &Table) -> usize {
        self.look_up(table, self.ends.len())
    }

    /// Looks the first of them up, and returns how many were found.
    pub(super) fn look_up(&self, table: &Table, count: usize) -> usize {
        let (mut start, mut found) = (0, 0);
        for &(host, path, _) in self.ends.iter().take(count) {
            let target = table.find(&self.text[start..host], &self.text[host..path]);
            found += usize::from(std::hint::black_box(target).is_some());
            start = path;
        }
        found
    }
}
