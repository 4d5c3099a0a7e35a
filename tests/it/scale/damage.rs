//! Compiled code that is not what the node's own compiler wrote is never loaded.

use std::fs;
use std::path::{Path, PathBuf};

use registry::Digest;
use wharf::runtime::LoadError;

use crate::support::{Front, guest};

/// A component's two files.
struct Files {
    code: PathBuf,
    mac: PathBuf,
}

impl Files {
    /// Compiles the component and finds the files that appeared.
    async fn of(front: &Front, wasm: &[u8]) -> Self {
        let before = list(&front.compiled_dir());
        let compiled = front.compile(wasm).await;
        compiled.expect("it compiles");
        let mut new = list(&front.compiled_dir());
        new.retain(|path| !before.contains(path));
        let find = |extension: &str| {
            let mut new = new.iter();
            let found = new.find(|path| path.extension().is_some_and(|e| e == extension));
            found.unwrap_or_else(|| panic!("a new .{extension}")).clone()
        };
        Self { code: find("cwasm"), mac: find("mac") }
    }

    fn change_code(&self, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs::read(&self.code).expect("code");
        change(&mut bytes);
        fs::write(&self.code, bytes).expect("written");
    }
}

fn list(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).expect("a folder").flatten().map(|entry| entry.path()).collect()
}

type Damage = fn(&Files, &Files);

const DAMAGES: [(&str, Damage); 10] = [
    ("one flipped bit", |it, _| {
        it.change_code(|bytes: &mut Vec<u8>| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        });
    }),
    ("a flipped first bit", |it, _| it.change_code(|bytes| bytes[0] ^= 0x80)),
    ("a last byte less", |it, _| it.change_code(|bytes| bytes.truncate(bytes.len() - 1))),
    ("a byte more", |it, _| it.change_code(|bytes| bytes.push(0))),
    ("nothing left", |it, _| it.change_code(Vec::clear)),
    ("another MAC", |it, _| fs::write(&it.mac, "0".repeat(64)).expect("written")),
    ("no MAC", |it, _| fs::write(&it.mac, "").expect("written")),
    ("the MAC gone", |it, _| fs::remove_file(&it.mac).expect("removed")),
    ("another component's code", |it, other| {
        fs::copy(&other.code, &it.code).map(drop).expect("copied");
    }),
    ("another component's code with its MAC", |it, other| {
        fs::copy(&other.code, &it.code).map(drop).expect("copied");
        fs::copy(&other.mac, &it.mac).map(drop).expect("copied");
    }),
];

#[tokio::test(flavor = "multi_thread")]
async fn damaged_code_is_removed_and_compiled_again() {
    let front = Front::start().await;
    let (wasm, other) = (guest("hello"), guest("sleep"));
    let component = Digest::of(&wasm);
    let other = Files::of(&front, &other).await;
    for (what, damage) in DAMAGES {
        // Code that a process has authenticated is not asked for its MAC again, as long as it
        // has not been touched.
        for loaded_before in [false, true] {
            if loaded_before && what.contains("MAC") && !what.contains("code") {
                continue;
            }
            let files = Files::of(&front, &wasm).await;
            if loaded_before {
                front.loader.load(component).await.map(drop).expect("sound code loads");
            }
            damage(&files, &other);
            let error = front.loader.load(component).await.err();
            let error = error.unwrap_or_else(|| panic!("{what}: it was loaded"));
            assert!(matches!(*error, LoadError::NotCompiled), "{what}: {error}");
            if what != "the MAC gone" {
                assert!(!files.code.exists() && !files.mac.exists(), "{what}: it is still there");
            }
            assert!(!front.compiler.is_compiled(&component), "{what}");
            front.cache.remove(&front.compiler.key(&component));
            assert_eq!(front.loader.live(), 0, "{what}");
        }
    }
    let _ = Files::of(&front, &wasm).await;
    front.loader.load(component).await.map(drop).expect("new code loads");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_not_followed() {
    let front = Front::start().await;
    let wasm = guest("hello");
    let files = Files::of(&front, &wasm).await;
    let elsewhere = tempfile::tempdir().expect("a folder");
    let target = elsewhere.path().join("code");
    fs::rename(&files.code, &target).expect("moved");
    std::os::unix::fs::symlink(&target, &files.code).expect("a link");
    assert!(front.loader.load(Digest::of(&wasm)).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_can_write_the_folder() {
    use std::os::unix::fs::PermissionsExt;
    let front = Front::start().await;
    let _ = Files::of(&front, &guest("hello")).await;
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&front.compiled_dir()), 0o700);
    for path in list(&front.compiled_dir()) {
        assert_eq!(mode(&path) & 0o077, 0, "{}", path.display());
    }
}
