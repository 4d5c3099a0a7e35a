//! The data folder.

use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::statvfs;

use super::super::output::bytes;
use super::Check;

/// Free space below which images and compiled code soon have no room.
const LITTLE_SPACE: u64 = 2 << 30;
/// Free space below which a node cannot be expected to work.
const NO_SPACE: u64 = 64 << 20;

pub(super) fn check(folder: &Path) -> Vec<Check> {
    vec![access(folder), space(folder)]
}

fn access(folder: &Path) -> Check {
    let shown = folder.display();
    let name = "data folder";
    match folder.metadata() {
        Ok(meta) if !meta.is_dir() => {
            Check::fail(name, format!("{shown} is not a folder"), "choose another with --data-dir")
        }
        Ok(meta) => match tempfile::tempfile_in(folder) {
            Err(error) => Check::fail(
                name,
                format!("{shown} cannot be written: {error}"),
                format!(
                    "give it to this user (`chown`), uid {}",
                    rustix::process::geteuid().as_raw()
                ),
            ),
            Ok(_) if meta.permissions().mode() & 0o022 != 0 => Check::warn(
                name,
                format!("{shown} can be written by others (mode {:o})", meta.mode() & 0o777),
                format!("`chmod 700 {shown}`: whoever can write there can run code as the node"),
            ),
            Ok(_) => Check::ok(name, format!("{shown} can be written")),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            match existing(folder).map(tempfile::tempfile_in) {
                Some(Ok(_)) => Check::ok(name, format!("{shown} will be made")),
                _ => Check::fail(
                    name,
                    format!("{shown} does not exist and cannot be made"),
                    "choose another with --data-dir, or make it for this user",
                ),
            }
        }
        Err(error) => Check::fail(
            name,
            format!("{shown} cannot be looked at: {error}"),
            "choose another with --data-dir",
        ),
    }
}

fn space(folder: &Path) -> Check {
    let name = "disk space";
    let Some(Ok(stat)) = existing(folder).map(statvfs) else {
        return Check::warn(name, "cannot be read", "see that the data folder can be reached");
    };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let detail = format!("{} free", bytes(free));
    let hint = "make room, or choose a larger disk with --data-dir";
    match free {
        0..NO_SPACE => Check::fail(name, detail, hint),
        NO_SPACE..LITTLE_SPACE => Check::warn(name, detail, hint),
        _ => Check::ok(name, detail),
    }
}

/// The folder, or the nearest one above it that exists.
fn existing(folder: &Path) -> Option<&Path> {
    let mut above = folder.ancestors().map(|path| match path.as_os_str().is_empty() {
        true => Path::new("."),
        false => path,
    });
    above.find(|path| path.is_dir())
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn folders_are_told_apart() {
        let parent = tempfile::tempdir().expect("a folder");
        assert_eq!(access(parent.path()).verdict, Verdict::Ok);
        assert_eq!(access(&parent.path().join("a/b")).verdict, Verdict::Ok);
        let file = parent.path().join("file");
        std::fs::write(&file, "x").expect("written");
        assert_eq!(access(&file).verdict, Verdict::Fail);
        let open = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(parent.path(), open).expect("changed");
        assert_eq!(access(parent.path()).verdict, Verdict::Warn);
        assert!(existing(Path::new("nowhere/at/all")).is_some());
    }
}
