//! Asking a guest whether it is well.
//!
//! *Invariant:* a probe is a request under all limits of the task, and no traffic: it is in no
//! count of requests and no access line, starts no task, and keeps none.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http::header::{HOST, USER_AGENT};
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Uri};
use http_body_util::{BodyExt, Empty};

use crate::clock;
use crate::model::{Code, Probe, duration};
use crate::telemetry::{Exchange, ExchangeStart};

use super::deployment::Deployment;
use super::invoke::{Invocation, Runtime};
use super::loader::Loaded;
use super::revision::RevisionCell;
use super::task::{Slot, Task};

/// Who asks, as the guest sees it.
const ASKER: &str = concat!("wharf-probe/", env!("CARGO_PKG_VERSION"));
/// The request id of every probe, in the guest's log.
const ID: &str = "probe";

/// What a guest answered to a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A status.
    Status(u16),
    /// No response; the guest failed.
    Failed(Code),
    /// Nothing, in the time that the probe gives.
    Late,
    /// The node had no room for the guest, which says nothing about it.
    NoRoom,
}

impl Answer {
    /// Whether the probe passes, if the guest could answer.
    pub fn passes(self) -> Option<bool> {
        match self {
            // As in Kubernetes.
            Self::Status(status) => Some((200..400).contains(&status)),
            Self::Failed(_) | Self::Late => Some(false),
            Self::NoRoom => None,
        }
    }

    /// What happened to this probe, for people.
    pub fn describe(self, probe: &Probe) -> String {
        let path = &probe.path;
        match self {
            Self::Late => {
                let timeout = duration::format(probe.timeout);
                format!("GET {path} had no answer within {timeout}")
            }
            answer => format!("GET {path} {answer}"),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "answered {status}"),
            Self::Failed(code) => write!(f, "failed: {}", code.as_str()),
            Self::Late => f.write_str("had no answer in time"),
            Self::NoRoom => f.write_str("found no room on the node"),
        }
    }
}

impl RevisionCell {
    /// A place for a probe on a task that runs, if one has room.
    pub fn probe_slot(self: &Arc<Self>) -> Option<Slot> {
        self.with_tasks(|tasks| {
            let task = tasks.iter().find(|task| task.has_room())?;
            Some(task.take_for_probe(self))
        })
    }

    /// A place for a probe on a task of its own, for a revision that is not in force yet.
    pub fn trial_slot(self: &Arc<Self>, deployment: Deployment, loaded: Arc<Loaded>) -> Slot {
        let task = Task::start(self.next_task(), Arc::new(deployment), loaded);
        task.take_for_probe(self)
    }
}

impl Runtime {
    /// Asks the guest. It is stopped when its status is known or the time of the probe is over.
    pub async fn probe(&self, slot: Slot, probe: &Probe, host: &str) -> Answer {
        let start = ExchangeStart {
            id: HeaderValue::from_static(ID),
            method: http::Method::GET,
            authority: host.parse().ok(),
            target: probe.path.to_string().parse().ok(),
            client: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        };
        let exchange = Exchange::begin(start, None);
        let request = request(probe, host);
        let asked = exchange.clone();
        let invocation =
            Invocation { slot, request, exchange: asked, clean_trailers: |_| {}, secure: false };
        let deadline = tokio::time::Instant::from_std(clock::now()) + probe.timeout;
        match tokio::time::timeout_at(deadline, self.invoke(invocation)).await {
            Ok(Ok(reply)) => {
                // Nobody wants the body: its guest is stopped now, and that is no failure.
                exchange.decide(Code::Ok);
                Answer::Status(reply.status().as_u16())
            }
            Ok(Err(Code::NoCapacity)) => Answer::NoRoom,
            Ok(Err(code)) => Answer::Failed(code),
            Err(_) => Answer::Late,
        }
    }
}

fn request(probe: &Probe, host: &str) -> Request<super::WasiBody> {
    let body = Empty::<Bytes>::new().map_err(|never| match never {}).boxed_unsync();
    let mut request = Request::new(body);
    *request.uri_mut() = Uri::from(PathAndQuery::from(probe.path.clone()));
    let host = HeaderValue::try_from(host);
    let host = host.unwrap_or_else(|_| HeaderValue::from_static("localhost"));
    request.headers_mut().insert(HOST, host);
    request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(ASKER));
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_says_who_asks_for_what() {
        let probe = Probe::new("/healthz?deep=1".parse().expect("a path"));
        let request = request(&probe, "hello.example");
        assert_eq!(
            (request.method(), request.uri().to_string()),
            (&http::Method::GET, { "/healthz?deep=1".to_owned() })
        );
        assert_eq!(request.headers()[HOST], "hello.example");
        let asker = request.headers()[USER_AGENT].to_str().expect("text");
        assert!(asker.starts_with("wharf-probe/0."), "{asker}");
    }

    #[test]
    fn only_the_guests_own_answers_count() {
        for (answer, passes) in [
            (Answer::Status(199), Some(false)),
            (Answer::Status(200), Some(true)),
            (Answer::Status(399), Some(true)),
            (Answer::Status(400), Some(false)),
            (Answer::Failed(Code::GuestTrapped), Some(false)),
            (Answer::Late, Some(false)),
            (Answer::NoRoom, None),
        ] {
            assert_eq!(answer.passes(), passes, "{answer}");
        }
    }
}
