//! Which certificate a client is shown.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::sign::CertifiedKey;

/// A certificate with its key, and the names that it is for.
pub(super) struct Certified {
    pub(super) key: Arc<CertifiedKey>,
    pub(super) names: Vec<String>,
}

/// Certificates by the names that they are for, in lower case; of two for the same name, the
/// first.
pub(super) struct Chosen {
    by_name: HashMap<String, Arc<CertifiedKey>>,
    default: Option<Arc<CertifiedKey>>,
    count: usize,
}

impl Chosen {
    pub(super) fn among(all: Vec<Certified>) -> Self {
        let (count, mut by_name) = (all.len(), HashMap::new());
        let default = all.first().map(|first| Arc::clone(&first.key));
        for Certified { key, names } in all {
            for name in names {
                by_name.entry(name.to_ascii_lowercase()).or_insert_with(|| Arc::clone(&key));
            }
        }
        Self { by_name, default, count }
    }

    /// The one for this very name; else that of a wildcard, which stands for one label
    /// (RFC 6125 §6.4.3); else the first of all, which also serves clients that name nobody.
    pub(super) fn for_name(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let found = name.and_then(|name| {
            let name = name.to_ascii_lowercase();
            let wildcard = || Some(format!("*.{}", name.split_once('.')?.1));
            self.by_name.get(&name).or_else(|| self.by_name.get(&wildcard()?))
        });
        found.or(self.default.as_ref()).cloned()
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }
}
