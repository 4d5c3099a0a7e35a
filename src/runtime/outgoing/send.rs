//! Requests to servers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderName, TE, TRANSFER_ENCODING, UPGRADE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, Version};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::task::JoinSet;
use wasmtime_wasi_http::WasiBody;

use super::body::{Receiving, Rest, Sending, Source};
use super::caller::{Caller, Places};
use super::connect::{MOST_HEAD_BYTES, Way, connect};
use super::failed::Failed;
use super::outlet::{Outlet, Room};
use super::pool::{Connection, Key, Line};
use super::request::Times;

/// Connections that a server may have closed in the same moment as they were used. Nothing was
/// sent on them, so that trying again costs nobody anything.
const MOST_STALE: u32 = 16;
/// How often connections that wait are looked at, as long as there are any.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

/// Fields that concern one connection only (RFC 9110 §7.6.1).
const HOP_BY_HOP: [HeaderName; 7] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("http2-settings"),
];

/// A request that got no response.
struct Unanswered {
    failed: Failed,
    /// The request, if the connection was an old one and nothing of it can have been seen.
    unsent: Option<Request<WasiBody>>,
}

impl Caller {
    /// Asks a server that the role grants.
    pub(super) async fn ask(
        self: &Arc<Self>,
        outlet: &Arc<Outlet>,
        key: Key,
        request: Request<WasiBody>,
        times: &Times,
        places: Places,
    ) -> Result<Response<WasiBody>, Failed> {
        let Key { scheme, host, port } = &key;
        let named = self.role().names_address(*scheme, host, *port);
        let networks = self.role().networks.clone();
        let way = Way { key: Arc::new(key), networks, named };
        let most = self.limits().request_bytes.0;
        let (head, body) = request.into_parts();
        let (body, over) = Sending::new(body, most, None);
        let mut request = Request::from_parts(head, body.boxed_unsync());
        let mut stale = 0;
        loop {
            let connection = self.connection(outlet, &way, times).await?;
            let exchanged = exchange(connection, request, times.first_byte, &over, most);
            match exchanged.await {
                Ok((response, connection)) => {
                    return self.answer(outlet, response, connection, times, places).await;
                }
                Err(Unanswered { unsent: Some(unsent), .. }) if stale < MOST_STALE => {
                    stale += 1;
                    request = unsent;
                }
                Err(Unanswered { failed, .. }) => return Err(failed),
            }
        }
    }

    /// A connection that waits, or a new one.
    async fn connection(
        &self,
        outlet: &Arc<Outlet>,
        way: &Way,
        times: &Times,
    ) -> Result<Connection, Failed> {
        let outside = self.runtime.outside();
        // The role or the node may have changed since it was opened.
        let admits = |address| way.admits(outside, address);
        let find = |pool: &super::pool::Pool| pool.take(&way.key, admits);
        let most = self.limits().connections;
        let place = match outlet.room(most, times.connected, find).await? {
            Room::There(connection) => return Ok(connection),
            Room::New(place) => place,
        };
        let opening = connect(Arc::clone(outside), way.clone(), place, times.connected);
        // On the threads that carry bytes, which the connection stays with. A set ends its tasks
        // when it is dropped.
        let mut opened = JoinSet::new();
        opened.spawn_on(opening, &outside.io);
        let opened = opened.join_next().await.and_then(Result::ok);
        let opened = opened.ok_or_else(|| Failed::no_answer("the node stops"))??;
        if let Some(another) = opened.another() {
            self.sweep_if(outlet.share(another), outlet);
        }
        Ok(opened)
    }

    async fn answer(
        &self,
        outlet: &Arc<Outlet>,
        response: Response<Incoming>,
        connection: Connection,
        times: &Times,
        places: Places,
    ) -> Result<Response<WasiBody>, Failed> {
        let (mut head, incoming) = response.into_parts();
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Failed::no_answer("the server wants to leave HTTP"));
        }
        if head.headers.contains_key(TRANSFER_ENCODING) {
            // It says how long the body is, whatever else does (RFC 9112 §6.3).
            head.headers.remove(CONTENT_LENGTH);
        }
        // hyper's own bound holds when it reads, and may read twice as much at once.
        let bytes = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len());
        if bytes.sum::<usize>() > MOST_HEAD_BYTES {
            return Err(Failed::head_too_large());
        }
        HOP_BY_HOP.iter().for_each(|name| drop(head.headers.remove(name)));
        let (outlet, io) = (Arc::clone(outlet), self.runtime.outside().io.clone());
        let finish = move || give_back(&outlet, connection, &io);
        let rest = Rest { places: Box::new(places), finish: Some(Box::new(finish)) };
        let mut body = Receiving::new(Source::Server(incoming), times.terms(self.limits()), rest);
        body.hold().await;
        Ok(Response::from_parts(head, body.boxed_unsync()))
    }

    fn sweep_if(&self, must_sweep: bool, outlet: &Arc<Outlet>) {
        if must_sweep {
            sweep(outlet, &self.runtime.outside().io);
        }
    }
}

/// Keeps a connection of HTTP/1.1 whose response has ended. One of HTTP/2 is kept already.
fn give_back(outlet: &Arc<Outlet>, connection: Connection, io: &tokio::runtime::Handle) {
    if matches!(connection.line, Line::Http1(_)) && outlet.keep(connection) {
        sweep(outlet, io);
    }
}

fn sweep(outlet: &Arc<Outlet>, io: &tokio::runtime::Handle) {
    let outlet = Arc::clone(outlet);
    io.spawn(async move {
        loop {
            tokio::time::sleep(SWEEP_INTERVAL).await;
            if !outlet.pool.sweep() {
                break;
            }
        }
    });
}

/// Sends the request on the connection and waits for the head of its response.
async fn exchange(
    mut connection: Connection,
    mut request: Request<WasiBody>,
    first_byte: Duration,
    over: &AtomicBool,
    most: u64,
) -> Result<(Response<Incoming>, Connection), Unanswered> {
    let failed = |failed| Unanswered { failed, unsent: None };
    let reused = connection.reused;
    let sent = async {
        match &mut connection.line {
            Line::Http1(sender) => {
                if let Err(error) = sender.ready().await {
                    return Err((error, Some(request)));
                }
                for_http1(&mut request);
                let sent = sender.try_send_request(request).await;
                sent.map_err(|mut error| {
                    let message = error.take_message();
                    (error.into_error(), message)
                })
            }
            Line::Http2(sender) => {
                if let Err(error) = sender.ready().await {
                    return Err((error, Some(request)));
                }
                for_http2(&mut request);
                let sent = sender.try_send_request(request).await;
                sent.map_err(|mut error| {
                    let message = error.take_message();
                    (error.into_error(), message)
                })
            }
        }
    };
    let answered = tokio::time::timeout(first_byte, sent).await;
    match answered.map_err(|_| failed(Failed::response_timeout()))? {
        Ok(response) => Ok((response, connection)),
        Err(_) if over.load(Relaxed) => Err(failed(Failed::body_too_large(most))),
        Err((error, unsent)) => {
            let unsent = unsent.filter(|_| reused);
            Err(Unanswered { failed: Failed::broken(&error), unsent })
        }
    }
}

/// A path for a target. hyper believes that a GET or HEAD without a length has no body, and would
/// drop it.
fn for_http1(request: &mut Request<WasiBody>) {
    // One that was meant for HTTP/2 first has its host in the target.
    if let (None, Some(authority)) = (request.headers().get(HOST), request.uri().authority())
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        request.headers_mut().insert(HOST, host);
    }
    *request.uri_mut() = Uri::from(path_of(request));
    *request.version_mut() = Version::HTTP_11;
    let has_body = !request.body().is_end_stream();
    let headers: &mut HeaderMap = request.headers_mut();
    headers.remove(TE);
    if has_body && !headers.contains_key(CONTENT_LENGTH) {
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

/// The host stands in the target, where HTTP/2 has it.
fn for_http2(request: &mut Request<WasiBody>) {
    let path = path_of(request);
    if request.uri().authority().is_none() {
        // One that was meant for HTTP/1.1 first has it in a field.
        let host = request.headers().get(HOST).map(|host| host.as_bytes().try_into());
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(http::uri::Scheme::HTTPS);
        parts.authority = host.and_then(Result::ok);
        parts.path_and_query = Some(path);
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    let headers: &mut HeaderMap = request.headers_mut();
    headers.remove(HOST);
    headers.remove(TRANSFER_ENCODING);
    // Servers of gRPC insist on it, and every trailer is passed on.
    headers.insert(TE, HeaderValue::from_static("trailers"));
    *request.version_mut() = Version::HTTP_2;
}

fn path_of(request: &Request<WasiBody>) -> PathAndQuery {
    let path = request.uri().path_and_query().cloned();
    path.unwrap_or_else(|| PathAndQuery::from_static("/"))
}
