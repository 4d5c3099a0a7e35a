//! What an instance sees of the host: WASI without files and sockets, and `wasi:http`.

use std::sync::{Arc, LazyLock};

use http::HeaderName;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpCtx,
    WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

use crate::telemetry::{LogBook, Stream};

use super::deployment::Deployment;
use super::memory::InstanceMemory;
use super::outgoing::{Caller, advice_without_role};
use super::stdio::GuestOutput;

/// Response body bytes that a guest hands over in one call. With one buffered chunk this bounds
/// the host memory of a response.
pub(super) const BODY_CHUNK_BYTES: usize = 64 << 10;
/// Random bytes of one call.
const MOST_RANDOM_BYTES: u64 = 64 << 10;

/// The data of a `wasmtime::Store`.
pub(super) struct Host {
    pub(super) table: ResourceTable,
    /// Bytes of fields that a header or a trailer may have.
    pub(super) headers: usize,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: Hooks,
    pub(super) memory: InstanceMemory,
}

impl Host {
    /// The host of one request: environment, clocks, random, output, and HTTP where `caller` leads
    /// to. No files and no sockets: an import of those links, and every call is refused.
    pub(super) fn new(
        deployment: &Deployment,
        memory: InstanceMemory,
        (book, task): (&Arc<LogBook>, u64),
        caller: Option<Arc<Caller>>,
    ) -> Self {
        let limits = &deployment.definition.limits;
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.handles as usize);
        let mut http = WasiHttpCtx::new();
        let headers = limits.headers.as_usize();
        http.set_field_size_limit(headers);
        let mut wasi = WasiCtxBuilder::new();
        wasi.stdout(GuestOutput::new(Arc::clone(book), task, Stream::Stdout))
            .stderr(GuestOutput::new(Arc::clone(book), task, Stream::Stderr))
            .max_random_size(MOST_RANDOM_BYTES)
            .allow_blocking_current_thread(false);
        for (key, value) in &deployment.definition.env {
            wasi.env(key, value);
        }
        let hooks = Hooks { book: Arc::clone(book), task, noted: false, caller };
        Self { table, headers, wasi: wasi.build(), http, hooks, memory }
    }
}

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Host {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let (table, ctx) = (&mut self.table, &mut self.http);
        WasiHttpCtxView { hooks: &mut self.hooks, table, ctx }
    }
}

struct Hooks {
    book: Arc<LogBook>,
    task: u64,
    noted: bool,
    /// Sends what the role grants; none where it grants nothing.
    caller: Option<Arc<Caller>>,
}

/// Shared: wasmtime asks for it with every request.
static FORBIDDEN: LazyLock<ForbiddenHeaderFilter> =
    LazyLock::new(|| Arc::new(|name| DEFAULT_FORBIDDEN_HEADERS.contains(name)));

type Done = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sent = (http::Response<WasiBody>, Done);

impl WasiHttpHooks for Hooks {
    fn is_forbidden_header(&mut self, name: &HeaderName) -> bool {
        DEFAULT_FORBIDDEN_HEADERS.contains(name)
    }

    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        FORBIDDEN.clone()
    }

    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _done: Done,
    ) -> Box<dyn Future<Output = Result<Sent, Error>> + Send> {
        if let Some(caller) = &self.caller {
            let sending = Arc::clone(caller).send(request, options);
            return Box::new(async move {
                let done: Done = Box::new(std::future::ready(Ok(())));
                Ok((sending.await?, done))
            });
        }
        // One note a request: a guest that tries in a loop does not fill its own log.
        if !std::mem::replace(&mut self.noted, true) {
            let to = request.uri().authority().map_or("?", |authority| authority.as_str());
            let text = advice_without_role(to);
            self.book.note(self.task, crate::telemetry::sanitise(text.as_bytes()));
        }
        Box::new(std::future::ready(Err(Error::HttpRequestDenied)))
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_CHUNK_BYTES
    }

    fn p2_outgoing_body_buffer_chunks(&mut self) -> usize {
        1
    }
}
