//! The keys of the store: the one place where they are written and read.
//!
//! A key is a kind and names, joined by `/`. A `/` or `%` inside a name is escaped as in a URL, so
//! that every name gives one key and every key gives its names back. Ordinary names look as they
//! are.
//!
//! | key | what it holds |
//! |---|---|
//! | `services/<service>` | a service |
//! | `tasks/<family>/<revision>` | a task definition; ten digits of revision, so that keys sort |
//! | `revisions/<service>/<number>` | what a deployment rolled out; ten digits, so that keys sort |
//! | `rollouts/<service>` | the deployment that is under way, or was last |
//! | `upstreams/<upstream>` | servers that requests are forwarded to |
//! | `nodes/<node>` | a node |
//! | `grants/<node>/<service>` | what a node may run of a service |
//! | `status/<node>/<service>` | what a node says about it |

use bytes::Bytes;

/// Prefix of all services.
pub const SERVICES: &str = "services/";
/// Prefix of all task definitions.
pub const TASKS: &str = "tasks/";
/// Prefix of the revisions of all services.
pub const REVISIONS: &str = "revisions/";
/// Prefix of the deployments of all services.
pub const ROLLOUTS: &str = "rollouts/";
/// Prefix of all upstreams.
pub const UPSTREAMS: &str = "upstreams/";
/// Prefix of all nodes.
pub const NODES: &str = "nodes/";
/// Prefix of all grants.
pub const GRANTS: &str = "grants/";
/// Prefix of what all nodes report.
pub const STATUS: &str = "status/";

/// The key of a service.
#[must_use]
pub fn service(name: &str) -> Bytes {
    join(SERVICES, &[name])
}

/// The service that a key is about.
#[must_use]
pub fn parse_service(key: &[u8]) -> Option<String> {
    one(key, SERVICES)
}

/// The key of a task definition.
#[must_use]
pub fn task_definition(family: &str, revision: u32) -> Bytes {
    join(TASKS, &[family, &format!("{revision:010}")])
}

/// Prefix of all revisions of a task definition, oldest first.
#[must_use]
pub fn task_family(family: &str) -> Bytes {
    under(TASKS, family)
}

/// The family and the revision that a key is about.
#[must_use]
pub fn parse_task_definition(key: &[u8]) -> Option<(String, u32)> {
    let (family, revision) = two(key, TASKS)?;
    Some((family, ten_digits(&revision)?))
}

/// The key of a revision of a service.
#[must_use]
pub fn revision(service: &str, number: u64) -> Bytes {
    join(REVISIONS, &[service, &format!("{number:010}")])
}

/// Prefix of all revisions of a service, oldest first.
#[must_use]
pub fn service_revisions(service: &str) -> Bytes {
    under(REVISIONS, service)
}

/// The service and the number that a key is about.
#[must_use]
pub fn parse_revision(key: &[u8]) -> Option<(String, u64)> {
    let (service, number) = two(key, REVISIONS)?;
    Some((service, ten_digits(&number)?))
}

/// The key of the deployment of a service.
#[must_use]
pub fn rollout(service: &str) -> Bytes {
    join(ROLLOUTS, &[service])
}

/// The service whose deployment a key is about.
#[must_use]
pub fn parse_rollout(key: &[u8]) -> Option<String> {
    one(key, ROLLOUTS)
}

/// The key of an upstream.
#[must_use]
pub fn upstream(name: &str) -> Bytes {
    join(UPSTREAMS, &[name])
}

/// The upstream that a key is about.
#[must_use]
pub fn parse_upstream(key: &[u8]) -> Option<String> {
    one(key, UPSTREAMS)
}

/// The key of a node.
#[must_use]
pub fn node(id: &str) -> Bytes {
    join(NODES, &[id])
}

/// The node that a key is about.
#[must_use]
pub fn parse_node(key: &[u8]) -> Option<String> {
    one(key, NODES)
}

/// The key of what a node may run of a service.
#[must_use]
pub fn grant(node: &str, service: &str) -> Bytes {
    join(GRANTS, &[node, service])
}

/// Prefix of all grants of a node.
#[must_use]
pub fn node_grants(node: &str) -> Bytes {
    under(GRANTS, node)
}

/// The node and the service of a grant's key.
#[must_use]
pub fn parse_grant(key: &[u8]) -> Option<(String, String)> {
    two(key, GRANTS)
}

/// The key of what a node says about a service.
#[must_use]
pub fn status(node: &str, service: &str) -> Bytes {
    join(STATUS, &[node, service])
}

/// Prefix of all that a node says.
#[must_use]
pub fn node_status(node: &str) -> Bytes {
    under(STATUS, node)
}

/// The node and the service of a status's key.
#[must_use]
pub fn parse_status(key: &[u8]) -> Option<(String, String)> {
    two(key, STATUS)
}

/// A number as it stands in keys.
fn ten_digits<T: std::str::FromStr>(text: &str) -> Option<T> {
    let is_number = text.len() == 10 && text.bytes().all(|digit| digit.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

fn join(prefix: &str, names: &[&str]) -> Bytes {
    let names: Vec<String> = names.iter().map(|name| escape(name)).collect();
    format!("{prefix}{}", names.join("/")).into()
}

fn under(prefix: &str, name: &str) -> Bytes {
    format!("{prefix}{}/", escape(name)).into()
}

fn one(key: &[u8], prefix: &str) -> Option<String> {
    unescape(names(key, prefix)?)
}

fn two(key: &[u8], prefix: &str) -> Option<(String, String)> {
    let (first, second) = names(key, prefix)?.split_once('/')?;
    Some((unescape(first)?, unescape(second)?))
}

fn names<'a>(key: &'a [u8], prefix: &str) -> Option<&'a str> {
    std::str::from_utf8(key).ok()?.strip_prefix(prefix)
}

fn escape(name: &str) -> String {
    name.replace('%', "%25").replace('/', "%2F")
}

/// The name whose escaped form this is; `None` for anything else.
fn unescape(text: &str) -> Option<String> {
    let name = text.replace("%2F", "/").replace("%25", "%");
    (!text.is_empty() && escape(&name) == text).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_give_their_names_back() {
        for name in ["web", "a/b", "100%", "%2F", "%25", "ü"] {
            assert_eq!(parse_service(&service(name)).as_deref(), Some(name));
            assert_eq!(parse_rollout(&rollout(name)).as_deref(), Some(name));
            assert_eq!(parse_node(&node(name)).as_deref(), Some(name));
            assert_eq!(parse_upstream(&upstream(name)).as_deref(), Some(name));
            let pair = (name.to_owned(), "x/y".to_owned());
            assert_eq!(parse_grant(&grant(name, "x/y")), Some(pair.clone()));
            assert_eq!(parse_status(&status(name, "x/y")), Some(pair));
            let definition = parse_task_definition(&task_definition(name, 7));
            assert_eq!(definition, Some((name.to_owned(), 7)));
        }
    }

    #[test]
    fn foreign_keys_give_nothing() {
        assert_eq!(parse_service(b"services/"), None);
        assert_eq!(parse_service(b"services/a/b"), None);
        assert_eq!(parse_service(b"nodes/a"), None);
        assert_eq!(parse_service(b"services/\xff"), None);
        assert_eq!(parse_task_definition(b"tasks/a/7"), None);
        assert_eq!(parse_task_definition(b"tasks/a/+000000007"), None);
        assert_eq!(parse_task_definition(b"tasks/a/9999999999"), None);
        assert_eq!(parse_grant(b"grants/a"), None);
        assert_eq!(parse_grant(b"grants/a/b/c"), None);
    }

    #[test]
    fn revisions_sort_and_families_do_not_mix() {
        assert!(task_definition("a", 9) < task_definition("a", 10));
        assert!(task_definition("a", 1).starts_with(&task_family("a")));
        assert!(!task_definition("ab", 1).starts_with(&task_family("a")));
        assert!(grant("n", "s").starts_with(&node_grants("n")));
        assert!(status("n", "s").starts_with(&node_status("n")));
    }
}
