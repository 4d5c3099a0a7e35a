//! One request: which server gets it, and what happens when that one does not answer.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, Version};
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;

use crate::model::{Code, HostHeader, TargetScheme, UpstreamPolicy};

use super::body::UpstreamBody;
use super::cell::{State, UpstreamCell};
use super::http1::{Broken, Http1, Unanswered};
use super::server::{Connection, InFlight, Server, again};
use super::tunnel::Tunnel;

/// Connections that a server may have closed in the same moment as they were used. Nothing was
/// sent on them, so that trying again costs nobody anything.
const MOST_STALE: u32 = 16;

/// Stands in the count of a request's frames when there was an error in place of the last one.
const BROKE_OFF: u64 = u64::MAX;

const SWITCHING: StatusCode = StatusCode::SWITCHING_PROTOCOLS;

/// What a request's body may fail with.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A request's body on its way to a server.
pub enum Outgoing {
    /// There is none.
    Empty,
    /// It comes as it is read.
    Stream {
        /// What comes.
        body: UnsyncBoxBody<Bytes, Failure>,
        /// Counts the frames that came: as long as there are more, nobody waits for a response.
        passed: Arc<AtomicU64>,
    },
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Stream { body, passed } => {
                let frame = Pin::new(body).poll_frame(cx);
                if let Poll::Ready(Some(Err(_))) = frame {
                    passed.store(BROKE_OFF, Ordering::Relaxed);
                }
                frame
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Stream { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Stream { body, .. } => body.size_hint(),
        }
    }
}

/// A request that is to be sent.
pub struct Sent {
    /// Its target is a path; its `Host` is what the client asked for.
    pub request: Request<Outgoing>,
    /// Whether it asks to leave HTTP, which only HTTP/1.1 can.
    pub upgrade: bool,
    /// Where the client stands among the servers, if it is to stay with one.
    pub point: Option<u32>,
}

/// A response whose head is known.
pub struct Answer {
    /// The response.
    pub response: Response<UpstreamBody>,
    /// Who sent it.
    pub server: Arc<str>,
    /// The server's half, where the response switches protocols.
    pub tunnel: Option<Tunnel>,
}

/// Why a request got no response.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub struct SendError {
    /// What the client is told.
    pub code: Code,
    /// The server that was tried last, if any was.
    pub server: Option<Arc<str>>,
    /// What happened, for the log.
    pub detail: String,
}

/// An attempt that failed.
struct Failed {
    code: Code,
    detail: String,
    server: Arc<Server>,
    /// The request, if it may be sent again.
    again: Option<Request<Outgoing>>,
    /// Whether the connection was an old one that the server had closed.
    stale: bool,
}

impl UpstreamCell {
    /// Sends a request to one of the servers, and to another if that is safe.
    ///
    /// Dropping the future closes the connection that the request was sent on.
    pub async fn send(self: &Arc<Self>, sent: Sent) -> Result<Answer, SendError> {
        let state = self.current();
        let retry = &state.upstream.policy.retry;
        self.budget.pay_in(retry.budget);
        let Sent { mut request, upgrade, point } = sent;
        let mut tried: Vec<Arc<Server>> = Vec::new();
        let mut stale = 0;
        loop {
            let Some(in_flight) = state.choose(&tried, point, || self.random()) else {
                let detail = "every server has as many requests as it may have".to_owned();
                return Err(SendError { code: Code::UpstreamBusy, server: None, detail });
            };
            let may_retry = (tried.len() as u32) < retry.attempts;
            let failed = match self.attempt(&state, in_flight, request, upgrade, may_retry).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            let Failed { code, detail, server, again, stale: was_stale } = failed;
            let last = Some(Arc::clone(&server.name));
            let Some(next) = again else { return Err(SendError { code, server: last, detail }) };
            match was_stale && stale < MOST_STALE {
                true => stale += 1,
                false if may_retry && self.budget.take() => {
                    self.retries.fetch_add(1, Ordering::Relaxed);
                    let upstream = self.name();
                    tracing::debug!(%upstream, server = %server.name, detail, "sent again");
                    tried.push(server);
                }
                false => return Err(SendError { code, server: last, detail }),
            }
            request = next;
        }
    }

    async fn attempt(
        self: &Arc<Self>,
        state: &State,
        in_flight: InFlight,
        request: Request<Outgoing>,
        upgrade: bool,
        may_retry: bool,
    ) -> Result<Answer, Failed> {
        let policy = &state.upstream.policy;
        let server = Arc::clone(&in_flight.0);
        let connection = match server.connection(policy, &state.trust, upgrade).await {
            Ok(connection) => connection,
            Err(error) => {
                // Who speaks nothing but HTTP/2 cannot be left, which is no fault.
                if !(upgrade && error.is_other_protocol()) {
                    self.note(&server, true, &policy.eject);
                }
                let (code, detail) = (Code::UpstreamUnreachable, error.to_string());
                let again = Some(request);
                return Err(Failed { code, detail, server, again, stale: false });
            }
        };
        let reused = connection.is_reused();
        let copy = if may_retry || reused { again(&request) } else { None };
        let passed = match request.body() {
            Outgoing::Empty => None,
            Outgoing::Stream { passed, .. } => Some(Arc::clone(passed)),
        };
        let answered = exchange(connection, request, &server, policy);
        let result = match in_time(answered, policy.timeout, passed.as_deref()).await {
            Some(result) => result,
            None => {
                self.note(&server, true, &policy.eject);
                let (code, detail) = (Code::UpstreamTimeout, "no response in time".to_owned());
                return Err(Failed { code, detail, server, again: None, stale: false });
            }
        };
        match result {
            Ok((response, connection)) => {
                Ok(self.answer(response, connection, in_flight, policy).await)
            }
            Err(Unanswered { unsent, error }) => {
                // A body that breaks off is its client's fault. Of HTTP/2 the error only says that
                // the stream was reset.
                let broke_off = |passed: &AtomicU64| passed.load(Ordering::Relaxed) == BROKE_OFF;
                let is_ours = matches!(&error, Broken::Http(error) if error.is_user());
                let body_failed = is_ours || passed.as_deref().is_some_and(broke_off);
                let stale = reused && unsent.is_some();
                // An old connection may be closed at any moment: that is no fault of its server.
                let has_answered = matches!(error, Broken::Coding);
                if has_answered || (!reused && !body_failed) {
                    self.note(&server, true, &policy.eject);
                }
                let again = unsent.or(copy).filter(|_| !body_failed);
                let (code, detail) = (Code::UpstreamFailed, error.to_string());
                Err(Failed { code, detail, server, again, stale })
            }
        }
    }

    async fn answer(
        self: &Arc<Self>,
        response: Response<Incoming>,
        connection: Option<Box<Http1>>,
        in_flight: InFlight,
        policy: &UpstreamPolicy,
    ) -> Answer {
        let server = Arc::clone(&in_flight.0.name);
        let (head, incoming) = response.into_parts();
        let (failed, switches) = (head.status.is_server_error(), head.status == SWITCHING);
        if failed || switches {
            self.note(&in_flight.0, failed, &policy.eject);
        }
        if !switches {
            // A good head may be followed by a body that breaks off.
            let judge = (!failed).then(|| Arc::clone(self));
            let mut body = UpstreamBody::new(incoming, connection, in_flight, judge, policy);
            poll_fn(|cx| {
                body.settle(cx);
                Poll::Ready(())
            })
            .await;
            return Answer { response: Response::from_parts(head, body), server, tunnel: None };
        }
        let (body, idle) = (UpstreamBody::empty(incoming, policy), policy.idle_timeout);
        let closing = self.closing.clone();
        let tunnel = connection.map(|connection| Tunnel {
            connection,
            idle,
            closing,
            _in_flight: in_flight,
        });
        Answer { response: Response::from_parts(head, body), server, tunnel }
    }
}

/// Waits for a response as long as may be, counted from the last that was sent of the request.
async fn in_time<T>(
    answered: impl Future<Output = T>,
    most: Duration,
    passed: Option<&AtomicU64>,
) -> Option<T> {
    let mut answered = pin!(answered);
    let mut before = 0;
    loop {
        if let Ok(answer) = tokio::time::timeout(most, answered.as_mut()).await {
            return Some(answer);
        }
        let now = passed.map_or(0, |passed| passed.load(Ordering::Relaxed));
        if now == before {
            return None;
        }
        before = now;
    }
}

/// Sends the request on the connection, and says who drives the response's body.
pub(super) async fn exchange(
    connection: Connection,
    mut request: Request<Outgoing>,
    server: &Server,
    policy: &UpstreamPolicy,
) -> Result<(Response<Incoming>, Option<Box<Http1>>), Unanswered> {
    if policy.host == HostHeader::Target
        && let Ok(host) = server.target.authority().as_str().parse()
    {
        request.headers_mut().insert(HOST, host);
    }
    match connection {
        Connection::Http1 { mut connection, .. } => {
            for_http1(&mut request);
            let mut response = connection.send(request).await?;
            if response.headers().contains_key(TRANSFER_ENCODING) {
                if !is_chunked(response.headers()) {
                    return Err(Unanswered { unsent: None, error: Broken::Coding });
                }
                // It says how long the body is, whatever else does (RFC 9112 §6.3).
                response.headers_mut().remove(CONTENT_LENGTH);
            }
            Ok((response, Some(connection)))
        }
        Connection::Http2 { mut sender, .. } => {
            if let Err(error) = sender.ready().await {
                return Err(Unanswered { unsent: Some(request), error: error.into() });
            }
            for_http2(&mut request, server.target.scheme());
            let result = sender.try_send_request(request).await;
            let response = result.map_err(|mut error| Unanswered {
                unsent: error.take_message(),
                error: error.into_error().into(),
            })?;
            Ok((response, None))
        }
    }
}

/// Whether the body was made into chunks, and into nothing else: hyper takes those apart, and would
/// pass on whatever another coding has made of the body, without its name.
fn is_chunked(headers: &HeaderMap) -> bool {
    let mut fields = headers.get_all(TRANSFER_ENCODING).iter();
    let only = fields.next().filter(|_| fields.next().is_none());
    only.is_some_and(|coding| coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"))
}

/// hyper believes that a GET or HEAD without a length has no body, and would drop it.
fn for_http1(request: &mut Request<Outgoing>) {
    *request.version_mut() = Version::HTTP_11;
    let has_body = matches!(request.body(), Outgoing::Stream { .. });
    if has_body && !request.headers().contains_key(CONTENT_LENGTH) {
        request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

/// Moves the host into the target, where HTTP/2 has it.
fn for_http2(request: &mut Request<Outgoing>, scheme: TargetScheme) {
    let headers: &mut HeaderMap = request.headers_mut();
    let host = headers.remove(HOST);
    // An offer to leave HTTP/1.1, which nobody takes who speaks HTTP/2 from the start.
    headers.remove(CONNECTION);
    headers.remove(UPGRADE);
    // Servers of gRPC insist on it, and every trailer is passed on.
    headers.insert(TE, HeaderValue::from_static("trailers"));
    let path = request.uri().path_and_query().cloned();
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(match scheme {
        TargetScheme::Https => Scheme::HTTPS,
        TargetScheme::Http | TargetScheme::H2c => Scheme::HTTP,
    });
    parts.authority = host.and_then(|host| host.as_bytes().try_into().ok());
    parts.path_and_query = path.or(Some(PathAndQuery::from_static("/")));
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    *request.version_mut() = Version::HTTP_2;
}
