//! Whether components can be compiled in a process that can do nothing else.

use std::path::Path;

use crate::runtime::check_confinement;

use super::Check;

pub(super) async fn check() -> Check {
    match check_confinement(Path::new("/proc/self/exe")).await {
        Ok(()) => Check::ok("compiler", "it opens no file, no socket, no thread and no program"),
        Err(why) => Check::fail(
            "compiler",
            format!("its process cannot be confined: {why}"),
            "use a kernel with seccomp filters, and let programs install them",
        ),
    }
}
