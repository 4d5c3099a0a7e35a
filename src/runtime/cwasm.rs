//! The one door to code that was compiled earlier.
//!
//! Loading compiled code is running it: nothing but what this node's own compiler wrote may come
//! through here. `cache.rs` is the only caller, and authenticates every file first.
//!
//! *Invariant:* this is the only module with `unsafe`.
#![expect(unsafe_code, reason = "wasmtime cannot check that compiled code is what it compiled")]

use std::path::Path;

use wasmtime::component::Component;

/// Maps a compiled component.
///
/// The caller must have authenticated the file as written by this node's compiler, in a folder
/// that only this user can write to, and must never change it in place.
pub(super) fn map(engine: &wasmtime::Engine, path: &Path) -> wasmtime::Result<Component> {
    // SAFETY: the file is the output of `Engine::precompile_component`, as its MAC under a key
    // that never leaves this node says, and is only ever replaced by rename.
    unsafe { Component::deserialize_file(engine, path) }
}
