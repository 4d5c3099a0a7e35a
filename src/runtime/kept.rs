//! Counts what the host keeps for a guest: fields, bodies that wait to be read, outgoing requests.
//!
//! wasmtime bounds each of them and their number, and the product of the two is tens of megabytes
//! that no linear memory shows. Each host call that makes the host keep more tells
//! [`InstanceMemory`](super::memory::InstanceMemory) so; what was dropped meanwhile is found when
//! that counts again.
//!
//! *Invariant:* what is told is never less than what is kept.

use std::any::Any;

use http::HeaderMap;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceTable};
use wasmtime_wasi_http::p2::bindings::http::outgoing_handler::Host as _;
use wasmtime_wasi_http::p2::bindings::http::types::{
    self as types, ErrorCode, HeaderError, Host as _, HostFields as _, RequestOptions,
};
use wasmtime_wasi_http::p2::body::{HostIncomingBody, HostOutgoingBody};
use wasmtime_wasi_http::p2::types::{
    HostFutureIncomingResponse, HostIncomingResponse, HostOutgoingRequest, HostOutgoingResponse,
};
use wasmtime_wasi_http::{FieldMap, WasiHttpView as _};

use super::host::{BODY_CHUNK_BYTES, Host};
use super::outgoing::{MOST_HEAD_BYTES, MOST_TEXT_BYTES, TYPES};

/// A field besides its name and value: its place in the map, with the map's spare room.
const FIELD_BYTES: usize = 256;
/// The four texts of an outgoing request. They are charged when it is made.
const REQUEST_BYTES: usize = 4 * MOST_TEXT_BYTES;
/// Two chunks of a body, which its channel takes before it is read.
const BODY_BYTES: usize = 2 * BODY_CHUNK_BYTES;

/// A response to a request that a guest sent: twice what its head may have, which is what hyper may
/// read at once, what is held of its body, and the frame that the guest has not taken yet.
const RESPONSE_BYTES: usize = 3 * MOST_HEAD_BYTES + BODY_CHUNK_BYTES;
/// The interface whose only function is replaced.
const OUTGOING: &str = "wasi:http/outgoing-handler@0.2.12";

type Fields = Resource<FieldMap>;
type Body = Result<Resource<HostOutgoingBody>, ()>;
type Changed<T> = wasmtime::Result<(Result<T, HeaderError>,)>;

/// Replaces the functions that make the host keep more.
pub(super) fn count(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    count_fields(linker)?;
    count_messages(linker)?;
    count_sent(linker)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// Bytes that the host keeps for the entries of the table.
///
/// Fields that share a map count each by themselves: a guest that changes one of them gets a
/// copy of its own.
pub(super) fn bytes(table: &mut ResourceTable, headers: usize) -> u64 {
    let bytes: usize = table.iter_mut().map(|entry| entry_bytes(entry, headers)).sum();
    bytes as u64
}

fn entry_bytes(entry: &dyn Any, headers: usize) -> usize {
    let body = |taken: bool| if taken { BODY_BYTES + headers } else { 0 };
    if let Some(fields) = entry.downcast_ref::<FieldMap>() {
        map_bytes(fields)
    } else if let Some(response) = entry.downcast_ref::<HostOutgoingResponse>() {
        map_bytes(&response.headers) + body(response.body.is_some())
    } else if let Some(request) = entry.downcast_ref::<HostOutgoingRequest>() {
        REQUEST_BYTES + map_bytes(&request.headers) + body(request.body.is_some())
    } else if entry.is::<HostFutureIncomingResponse>()
        || entry.is::<HostIncomingResponse>()
        || entry.is::<HostIncomingBody>()
    {
        RESPONSE_BYTES
    } else {
        0
    }
}

fn map_bytes(map: &HeaderMap) -> usize {
    map.iter().map(|(name, value)| field_bytes(name.as_str(), value.as_bytes())).sum()
}

fn field_bytes(name: &str, value: &[u8]) -> usize {
    FIELD_BYTES + name.len() + value.len()
}

fn count_fields(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    type Entries = Vec<(String, Vec<u8>)>;
    let mut interface = linker.instance(TYPES)?;
    interface.func_wrap(
        "[static]fields.from-list",
        |mut store: StoreContextMut<'_, Host>, (entries,): (Entries,)| -> Changed<Fields> {
            let bytes = entries.iter().map(|(name, value)| field_bytes(name, value)).sum();
            store.data_mut().keep(bytes)?;
            let mut http = store.data_mut().http();
            let made = http.from_list(entries);
            Ok((made.map(Ok).or_else(|error| http.convert_header_error(error).map(Err))?,))
        },
    )?;
    interface.func_wrap(
        "[method]fields.set",
        |mut store: StoreContextMut<'_, Host>,
         (fields, name, values): (Fields, String, Vec<Vec<u8>>)|
         -> Changed<()> {
            let bytes = values.iter().map(|value| field_bytes(&name, value)).sum();
            store.data_mut().keep(bytes)?;
            let mut http = store.data_mut().http();
            let changed = http.set(fields, name, values);
            Ok((changed.map(Ok).or_else(|error| http.convert_header_error(error).map(Err))?,))
        },
    )?;
    interface.func_wrap(
        "[method]fields.append",
        |mut store: StoreContextMut<'_, Host>,
         (fields, name, value): (Fields, String, Vec<u8>)|
         -> Changed<()> {
            store.data_mut().keep(field_bytes(&name, &value))?;
            let mut http = store.data_mut().http();
            let changed = http.append(fields, name, value);
            Ok((changed.map(Ok).or_else(|error| http.convert_header_error(error).map(Err))?,))
        },
    )?;
    interface.func_wrap(
        "[method]fields.clone",
        |mut store: StoreContextMut<'_, Host>, (fields,): (Fields,)| {
            let bytes = map_bytes(store.data_mut().http().table.get(&fields)?);
            store.data_mut().keep(bytes)?;
            Ok((store.data_mut().http().clone(fields)?,))
        },
    )
}

fn count_messages(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    let mut interface = linker.instance(TYPES)?;
    interface.func_wrap(
        "[constructor]outgoing-request",
        |mut store: StoreContextMut<'_, Host>, (fields,): (Fields,)| {
            store.data_mut().keep(REQUEST_BYTES)?;
            let request = types::HostOutgoingRequest::new(&mut store.data_mut().http(), fields)?;
            Ok((request,))
        },
    )?;
    interface.func_wrap(
        "[method]outgoing-request.body",
        |mut store: StoreContextMut<'_, Host>,
         (request,): (Resource<HostOutgoingRequest>,)|
         -> wasmtime::Result<(Body,)> {
            store.data_mut().keep_body()?;
            Ok((types::HostOutgoingRequest::body(&mut store.data_mut().http(), request)?,))
        },
    )?;
    interface.func_wrap(
        "[method]outgoing-response.body",
        |mut store: StoreContextMut<'_, Host>,
         (response,): (Resource<HostOutgoingResponse>,)|
         -> wasmtime::Result<(Body,)> {
            store.data_mut().keep_body()?;
            Ok((types::HostOutgoingResponse::body(&mut store.data_mut().http(), response)?,))
        },
    )
}

fn count_sent(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    type Options = Option<Resource<RequestOptions>>;
    type Sent = Result<Resource<HostFutureIncomingResponse>, ErrorCode>;
    linker.instance(OUTGOING)?.func_wrap(
        "handle",
        |mut store: StoreContextMut<'_, Host>,
         (request, options): (Resource<HostOutgoingRequest>, Options)|
         -> wasmtime::Result<(Sent,)> {
            // The request leaves the table, and goes on as what waits for its response.
            store.data_mut().keep(REQUEST_BYTES + RESPONSE_BYTES)?;
            let mut http = store.data_mut().http();
            let sent = http.handle(request, options);
            Ok((sent.map(Ok).or_else(|error| http.convert_error_code(error).map(Err))?,))
        },
    )
}

impl Host {
    fn keep(&mut self, more: usize) -> wasmtime::Result<()> {
        let (table, headers) = (&mut self.table, self.headers);
        Ok(self.memory.host_keeps(more as u64, || bytes(table, headers))?)
    }

    /// A body with its trailers.
    fn keep_body(&mut self) -> wasmtime::Result<()> {
        self.keep(BODY_BYTES + self.headers)
    }
}
