//! Everything that a call to the API can be refused for.

use axum::http::{Method, StatusCode};

use crate::model::{InvalidScale, Name, NodeId};
use crate::spec::{self, Problems};
use crate::store::{self, Reason};

/// Names that a hint lists at most.
const LISTED: usize = 12;

/// Every code that the API itself answers with. Codes of images come from the registry client
/// besides. Each has a page under `docs/errors/`.
pub const CODES: [&str; 24] = [
    "manifest-invalid",
    "manifest-too-large",
    "route-conflict",
    "service-not-found",
    "upstream-not-found",
    "node-not-found",
    "task-definition-not-found",
    "scale-invalid",
    "rollout-over",
    "revision-not-kept",
    "conflict",
    "state-unavailable",
    "state-unreadable",
    "no-space",
    "body-invalid",
    "body-too-large",
    "query-invalid",
    "not-found",
    "method-not-allowed",
    "misdirected-host",
    "cross-origin",
    "api-timeout",
    "not-ready",
    "draining",
];

/// Why a call is refused. `Display` is the detail for people.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("the manifest has {}", count(.0.0.len(), "problem"))]
    Manifest(Problems),
    #[error("the manifest asks for {}", count(.0.0.len(), "route that another service has"))]
    Routes(Problems),
    /// The code is that of the first image; every image has its problem.
    #[error("{} cannot be resolved", count(.problems.0.len(), "image"))]
    Images { code: &'static str, retryable: bool, problems: Problems },
    #[error("there is no service {name}")]
    NoService { name: String, known: Vec<Name> },
    #[error("there is no upstream {name}")]
    NoUpstream { name: String, known: Vec<Name> },
    #[error("there is no node {name}")]
    NoNode { name: String, known: Vec<NodeId> },
    #[error("there is no task definition {id}")]
    NoDefinition { id: String, known: Vec<String> },
    #[error("deployment {number} is {stage} already: nothing is under way")]
    RolloutOver { number: u64, stage: &'static str },
    #[error("{}", revision.map_or("there is no earlier revision".to_owned(),
        |number| format!("revision {number} is not kept")))]
    NotKept { revision: Option<u64>, known: Vec<u64> },
    #[error("these bounds make no sense: {0}")]
    Scale(#[from] InvalidScale),
    #[error("the {what} cannot be read: {why}")]
    Body { what: &'static str, why: String },
    #[error("the request body is larger than the 1MiB that are read")]
    BodyTooLarge,
    #[error("the query cannot be read: {0}")]
    Query(String),
    #[error("others changed the same services and tasks again and again")]
    Conflict,
    #[error("the state cannot be read or written: {0}")]
    Store(#[from] store::Error),
    #[error("there is nothing at {path}")]
    NotFound { path: String, known: Vec<String> },
    #[error("{path} does not answer to {method}")]
    MethodNotAllowed { method: Method, path: String },
    #[error("this API does not answer to the host `{0}`")]
    Host(String),
    #[error("the request was sent by a page of {0}")]
    Origin(String),
    #[error("the call was not done after {} s", .0.as_secs())]
    Timeout(std::time::Duration),
    #[error("the node is still starting")]
    NotReady,
    #[error("node {0} is draining: what still comes is served")]
    Draining(NodeId),
}

impl Failure {
    /// The stable word for programs.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Manifest(_) => "manifest-invalid",
            Self::Routes(_) => "route-conflict",
            Self::Images { code, .. } => code,
            Self::NoService { .. } => "service-not-found",
            Self::NoUpstream { .. } => "upstream-not-found",
            Self::NoNode { .. } => "node-not-found",
            Self::NoDefinition { .. } => "task-definition-not-found",
            Self::Scale(_) => "scale-invalid",
            Self::RolloutOver { .. } => "rollout-over",
            Self::NotKept { .. } => "revision-not-kept",
            Self::Body { .. } => "body-invalid",
            Self::BodyTooLarge => "body-too-large",
            Self::Query(_) => "query-invalid",
            Self::Conflict => "conflict",
            Self::Store(store::Error::NotApplied(Reason::QuotaFull)) => "no-space",
            Self::Store(store::Error::NotApplied(Reason::TooLarge { .. })) => "manifest-too-large",
            Self::Store(store::Error::NotApplied(Reason::Invalid(_))) => "state-unreadable",
            Self::Store(_) => "state-unavailable",
            Self::NotFound { .. } => "not-found",
            Self::MethodNotAllowed { .. } => "method-not-allowed",
            Self::Host(_) => "misdirected-host",
            Self::Origin(_) => "cross-origin",
            Self::Timeout(_) => "api-timeout",
            Self::NotReady => "not-ready",
            Self::Draining(_) => "draining",
        }
    }

    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Images { retryable: true, .. } => StatusCode::BAD_GATEWAY,
            Self::Manifest(_) | Self::Images { .. } | Self::Scale(_) => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Self::Routes(_) | Self::Conflict | Self::RolloutOver { .. } | Self::NotKept { .. } => {
                StatusCode::CONFLICT
            }
            Self::NoService { .. }
            | Self::NoUpstream { .. }
            | Self::NoNode { .. }
            | Self::NoDefinition { .. }
            | Self::NotFound { .. } => StatusCode::NOT_FOUND,
            Self::Body { .. } | Self::Query(_) => StatusCode::BAD_REQUEST,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Store(store::Error::NotApplied(reason)) => match reason {
                Reason::QuotaFull => StatusCode::INSUFFICIENT_STORAGE,
                Reason::TooLarge { .. } => StatusCode::UNPROCESSABLE_ENTITY,
                Reason::Invalid(_) => StatusCode::INTERNAL_SERVER_ERROR,
                _ => StatusCode::SERVICE_UNAVAILABLE,
            },
            Self::Store(_) | Self::NotReady | Self::Draining(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Host(_) => StatusCode::MISDIRECTED_REQUEST,
            Self::Origin(_) => StatusCode::FORBIDDEN,
            Self::Timeout(_) => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// The same words for every failure of this code.
    pub(super) fn title(&self) -> &'static str {
        match self {
            Self::Manifest(_) => "The manifest is not valid",
            Self::Routes(_) => "A route belongs to another service",
            Self::Images { .. } => "An image cannot be resolved",
            Self::NoService { .. } => "The service does not exist",
            Self::NoUpstream { .. } => "The upstream does not exist",
            Self::NoNode { .. } => "The node does not exist",
            Self::NoDefinition { .. } => "The task definition does not exist",
            Self::RolloutOver { .. } => "No deployment is under way",
            Self::NotKept { .. } => "The revision is not kept",
            Self::Scale(_) => "The bounds are not valid",
            Self::Body { .. } => "The request body is not valid",
            Self::BodyTooLarge => "The request body is too large",
            Self::Query(_) => "The query is not valid",
            Self::Conflict => "The change lost a race",
            Self::Store(_) => "The state is not available",
            Self::NotFound { .. } => "There is no such path",
            Self::MethodNotAllowed { .. } => "The method is not supported here",
            Self::Host(_) => "The host is not this API's",
            Self::Origin(_) => "The request comes from another site",
            Self::Timeout(_) => "The call took too long",
            Self::NotReady => "The node is not ready",
            Self::Draining(_) => "The node is draining",
        }
    }

    /// What to do next, where that is known.
    pub(super) fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Manifest(_) | Self::Images { .. } => return None,
            Self::Routes(_) => "change the route, or delete the service that has it",
            Self::NoService { known, .. } => return Some(choose("services", known)),
            Self::NoUpstream { known, .. } => return Some(choose("upstreams", known)),
            Self::NoNode { known, .. } => return Some(choose("nodes", known)),
            Self::NoDefinition { known, .. } => return Some(choose("task definitions", known)),
            Self::RolloutOver { .. } => "`wharf rollout undo` goes back to the revision before",
            Self::NotKept { known, .. } => {
                let known: Vec<String> = known.iter().map(u64::to_string).collect();
                return Some(match known.is_empty() {
                    true => "deploy the service first".to_owned(),
                    false => format!("revisions that are kept: {}", known.join(", ")),
                });
            }
            Self::Scale(_) => "max is 1 to 10000, min at most max, idle at least 1s",
            Self::Body { .. } | Self::Query(_) => "/openapi.json says what each call takes",
            Self::BodyTooLarge => "split the manifest into several and apply each",
            Self::Conflict | Self::Timeout(_) => "try again",
            Self::Store(store::Error::NotApplied(Reason::QuotaFull)) => {
                "make room on the disk of the node's data folder"
            }
            Self::Store(store::Error::NotApplied(Reason::TooLarge { .. })) => {
                "give the service fewer routes, or the task a smaller environment"
            }
            Self::Store(_) => "see the node's log, and try again",
            Self::NotFound { known, .. } => return Some(format!("there is {}", known.join(", "))),
            Self::MethodNotAllowed { .. } => "the `allow` header says which methods it has",
            Self::Host(_) => {
                "call the API by its IP address or as localhost, or start the node with --api-host"
            }
            Self::Origin(_) => "call the API from a program, or from its own pages",
            Self::NotReady => "wait a moment",
            Self::Draining(node) => {
                return Some(format!("send requests elsewhere, or `wharf node undrain {node}`"));
            }
        };
        Some(hint.to_owned())
    }

    /// The mistakes in the manifest, if that is what it is about.
    pub(super) fn problems(&self) -> &[spec::Problem] {
        match self {
            Self::Manifest(problems) | Self::Routes(problems) => &problems.0,
            Self::Images { problems, .. } => &problems.0,
            _ => &[],
        }
    }
}

/// `1 problem`, `2 problems`.
fn count(n: usize, what: &str) -> String {
    match what.split_once(' ') {
        _ if n == 1 => format!("1 {what}"),
        Some((noun, rest)) => format!("{n} {noun}s {rest}"),
        None => format!("{n} {what}s"),
    }
}

/// The names that there are, as far as they fit.
fn choose<T: std::fmt::Display>(what: &str, known: &[T]) -> String {
    if known.is_empty() {
        return format!("there are no {what} yet: apply a manifest first");
    }
    let shown: Vec<String> = known.iter().take(LISTED).map(T::to_string).collect();
    let more = known.len().saturating_sub(LISTED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{what} that exist: {}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_count_and_list() {
        assert_eq!(count(1, "problem"), "1 problem");
        assert_eq!(count(3, "route that another service has"), "3 routes that another service has");
        assert_eq!(
            choose::<u8>("services", &[]),
            "there are no services yet: apply a manifest first"
        );
        let many: Vec<usize> = (0..14).collect();
        assert!(choose("services", &many).ends_with("11 and 2 more"));
    }

    #[test]
    fn store_errors_say_whose_fault_they_are() {
        let of = |reason: Reason| {
            let failure = Failure::from(store::Error::from(reason));
            (failure.status().as_u16(), failure.code())
        };
        assert_eq!(of(Reason::QuotaFull), (507, "no-space"));
        assert_eq!(of(Reason::Unavailable), (503, "state-unavailable"));
        let large = Reason::TooLarge { what: "value", bytes: 2, max: 1 };
        assert_eq!(of(large), (422, "manifest-too-large"));
    }
}
