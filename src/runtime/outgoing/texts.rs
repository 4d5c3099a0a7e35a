//! Bounds what a guest can make the host keep in an outgoing request.
//!
//! wasmtime keeps method, path, scheme and authority of a request as the guest gave them, and
//! counts a request as one handle: a thousand of them with methods of megabytes would cost
//! gigabytes that no limit sees.

use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_http::WasiHttpView as _;
use wasmtime_wasi_http::p2::bindings::http::types::{HostOutgoingRequest as _, Method, Scheme};
use wasmtime_wasi_http::p2::types::HostOutgoingRequest;

use super::super::host::Host;

/// Bytes of each of the four texts, as in most servers.
pub(in crate::runtime) const MOST_TEXT_BYTES: usize = 8 << 10;

/// The interface whose setters are replaced, in the version that wasmtime links.
pub(in crate::runtime) const TYPES: &str = "wasi:http/types@0.2.12";

type Request = Resource<HostOutgoingRequest>;
type Answer = wasmtime::Result<(Result<(), ()>,)>;

/// Replaces the setters with those that refuse long texts as they refuse malformed ones.
pub(in crate::runtime) fn bound_texts(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut types = linker.instance(TYPES)?;
    types.func_wrap(
        "[method]outgoing-request.set-method",
        |mut store, (request, method): (Request, Method)| -> Answer {
            if matches!(&method, Method::Other(text) if text.len() > MOST_TEXT_BYTES) {
                return Ok((Err(()),));
            }
            Ok((store.data_mut().http().set_method(request, method)?,))
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-scheme",
        |mut store, (request, scheme): (Request, Option<Scheme>)| -> Answer {
            if matches!(&scheme, Some(Scheme::Other(text)) if text.len() > MOST_TEXT_BYTES) {
                return Ok((Err(()),));
            }
            Ok((store.data_mut().http().set_scheme(request, scheme)?,))
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-path-with-query",
        |mut store, (request, path): (Request, Option<String>)| -> Answer {
            if path.as_ref().is_some_and(|text| text.len() > MOST_TEXT_BYTES) {
                return Ok((Err(()),));
            }
            Ok((store.data_mut().http().set_path_with_query(request, path)?,))
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-authority",
        |mut store, (request, authority): (Request, Option<String>)| -> Answer {
            if authority.as_ref().is_some_and(|text| text.len() > MOST_TEXT_BYTES) {
                return Ok((Err(()),));
            }
            Ok((store.data_mut().http().set_authority(request, authority)?,))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}
