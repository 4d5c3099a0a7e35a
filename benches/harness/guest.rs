//! The component that is measured, and copies of it that are not the same.

use std::path::{Path, PathBuf};

use anyhow::Context;

/// What `hello` answers.
pub(crate) const HELLO_BODY: &str = "Hello from Wharf!\n";

/// The sample task `hello`, built by `make wasm-tasks`.
pub(crate) fn hello() -> PathBuf {
    let tasks = Path::new(env!("CARGO_MANIFEST_DIR")).join("wasm-tasks");
    tasks.join("target/wasm32-wasip2/release/hello.wasm")
}

/// Another sample task.
pub(crate) fn sample(name: &str) -> PathBuf {
    hello().with_file_name(format!("{name}.wasm"))
}

/// Its bytes.
pub(crate) fn hello_bytes() -> anyhow::Result<Vec<u8>> {
    let path = hello();
    std::fs::read(&path).with_context(|| {
        format!("{} cannot be read; build the sample tasks with `make wasm-tasks`", path.display())
    })
}

/// The same component with another digest: a custom section, which means nothing, is appended
/// (WebAssembly core 2.0, §5.5.3).
pub(crate) fn variant(component: &[u8], number: u32) -> Vec<u8> {
    const NAME: &[u8] = b"variant";
    let number = number.to_le_bytes();
    let length = 1 + NAME.len() + number.len();
    let mut bytes = component.to_vec();
    // All lengths are below 128, so each is one byte of LEB128.
    bytes.extend([0, length as u8, NAME.len() as u8]);
    bytes.extend(NAME);
    bytes.extend(number);
    bytes
}
