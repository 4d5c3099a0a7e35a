//! A disk that can be full.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A tmpfs, until it is dropped.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts it at a folder that is made if need be. Only root can: for anybody else there is
    /// none, and the test says that it is left out.
    pub fn mount(at: &Path, size: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("left out: only root can mount a small disk");
            return None;
        }
        fs::create_dir_all(at).expect("a folder");
        let options = format!("size={size}");
        let mount = ["-t", "tmpfs", "-o", &options, "tmpfs"];
        let mounted = Command::new("mount").args(mount).arg(at).status();
        let mounted = mounted.is_ok_and(|status| status.success());
        assert!(mounted, "root cannot mount a tmpfs at {}", at.display());
        Some(Self(at.to_owned()))
    }

    /// Takes all the room but this many bytes.
    pub fn fill_up_to(&self, free: u64) {
        let stat = rustix::fs::statvfs(&self.0).expect("a file system");
        let room = stat.f_bavail * stat.f_frsize;
        let ballast = usize::try_from(room.saturating_sub(free)).expect("a small disk");
        fs::write(self.ballast(), vec![0; ballast]).expect("there is as much room");
    }

    /// Gives back what [`Self::fill_up_to`] took.
    pub fn make_room(&self) {
        fs::remove_file(self.ballast()).expect("it was filled");
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: what a failed test left behind may still be there.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
