//! Tests of unpacking.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, EntryType, Header};

use super::*;
use crate::artifact::Blob;

const WASM: &[u8] = b"\0asm\x01\0\0\0";

struct Case {
    store: ContentStore,
    _dir: tempfile::TempDir,
}

fn case() -> Case {
    let dir = tempfile::tempdir().expect("a scratch folder");
    let store = ContentStore::open(dir.path(), 1 << 30).expect("a store");
    Case { store, _dir: dir }
}

/// An archive with raw names, which `tar::Builder` would refuse to write.
fn tar(entries: &[(EntryType, &str, &[u8])]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (kind, name, content) in entries {
        let mut header = Header::new_gnu();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append(&header, *content).expect("memory takes it");
    }
    builder.into_inner().expect("memory takes it")
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

impl Case {
    fn layer(&self, content: &[u8], gzip: bool) -> Layer {
        let stored = self.store.put(content).expect("stored");
        Layer { blob: Blob { digest: stored.digest, size_bytes: stored.size_bytes }, gzip }
    }

    fn unpack(&self, tar: &[u8]) -> Result<Stored, Error> {
        wasm_of_layers(&[self.layer(tar, false)], &self.store)
    }
}

#[test]
fn the_one_file_comes_out_of_either_compression() {
    let case = case();
    let archive = tar(&[
        (EntryType::Directory, "bin/", b""),
        (EntryType::Regular, "bin/readme.txt", b"hello"),
        (EntryType::Regular, "./bin/app.wasm", WASM),
    ]);
    assert_eq!(case.unpack(&archive).expect("found").digest, Digest::of(WASM));
    let layers = [case.layer(&tar(&[]), false), case.layer(&gzip(&archive), true)];
    assert_eq!(wasm_of_layers(&layers, &case.store).expect("found").digest, Digest::of(WASM));
}

#[test]
fn long_names_of_both_kinds_are_understood() {
    let case = case();
    let long = format!("{}/app.wasm", "d".repeat(150));
    let gnu = tar(&[
        (EntryType::GNULongName, "././@LongLink", format!("{long}\0").as_bytes()),
        (EntryType::Regular, "ddd", WASM),
    ]);
    assert_eq!(case.unpack(&gnu).expect("found").digest, Digest::of(WASM));
    let record = format!("{} path={long}\n", long.len() + 10);
    assert_eq!(record.len(), long.len() + 10);
    let pax = tar(&[
        (EntryType::XHeader, "PaxHeaders.0/x", record.as_bytes()),
        (EntryType::Regular, "ddd", WASM),
    ]);
    assert_eq!(case.unpack(&pax).expect("found").digest, Digest::of(WASM));
}

#[test]
fn hostile_entries_are_named() {
    let case = case();
    for (kind, name, expected) in [
        (EntryType::Symlink, "evil-link", "a symbolic link"),
        (EntryType::Link, "evil-hard", "a hard link"),
        (EntryType::Char, "evil-tty", "a device"),
        (EntryType::Block, "evil-disk", "a device"),
        (EntryType::Fifo, "evil-pipe", "a named pipe"),
        (EntryType::GNUSparse, "evil-sparse", "neither a file nor a folder"),
        (EntryType::Regular, "/etc/evil.wasm", "an absolute path"),
        (EntryType::Regular, "a/../../evil.wasm", "a path that leaves the image"),
        (EntryType::Regular, "../evil.wasm", "a path that leaves the image"),
        (EntryType::Directory, "..", "a path that leaves the image"),
    ] {
        let archive = tar(&[(EntryType::Regular, "app.wasm", WASM), (kind, name, b"")]);
        match case.unpack(&archive) {
            Err(Error::Entry { name: named, reason }) => {
                assert_eq!((named.as_str(), reason), (name, expected));
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    let hidden = tar(&[
        (EntryType::XHeader, "x", b"20 path=/evil.wasm\n\n"),
        (EntryType::Regular, "app.wasm", WASM),
    ]);
    assert!(matches!(case.unpack(&hidden), Err(Error::Entry { .. })));
}

#[test]
fn zero_or_two_wasm_files_are_refused() {
    let case = case();
    let none = tar(&[(EntryType::Regular, "app.txt", WASM)]);
    assert!(matches!(case.unpack(&none), Err(Error::NoWasm)));
    let one = tar(&[(EntryType::Regular, "a.wasm", WASM)]);
    let two = tar(&[(EntryType::Regular, "b.wasm", WASM)]);
    let layers = [case.layer(&one, false), case.layer(&two, false)];
    match wasm_of_layers(&layers, &case.store) {
        Err(Error::SeveralWasm { first, second }) => {
            assert_eq!((first.as_str(), second.as_str()), ("a.wasm", "b.wasm"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_bomb_is_stopped_and_small_padding_is_not() {
    let case = case();
    let zeros = vec![0; 4 << 20];
    let bomb = gzip(&tar(&[(EntryType::Regular, "app.wasm", &zeros)]));
    assert!((bomb.len() as u64) * DECOMPRESSION_RATIO_MAX < zeros.len() as u64);
    match wasm_of_layers(&[case.layer(&bomb, true)], &case.store) {
        Err(Error::TooLarge { max_bytes, .. }) => assert!(max_bytes < zeros.len() as u64),
        other => panic!("{other:?}"),
    }
    let mut trailing = tar(&[(EntryType::Regular, "app.wasm", WASM)]);
    trailing.extend_from_slice(&zeros);
    let layer = case.layer(&gzip(&trailing), true);
    assert!(matches!(wasm_of_layers(&[layer], &case.store), Err(Error::TooLarge { .. })));
    let small = gzip(&tar(&[(EntryType::Regular, "app.wasm", &zeros[..100_000])]));
    wasm_of_layers(&[case.layer(&small, true)], &case.store).expect("harmless");
}

#[test]
fn damage_is_told_from_malice() {
    let case = case();
    let archive = tar(&[(EntryType::Regular, "app.wasm", WASM)]);
    assert!(matches!(
        case.unpack(&archive[..700]),
        Err(Error::Archive { .. }) | Err(Error::NoWasm)
    ));
    let layer = case.layer(&gzip(&archive), true);
    std::fs::write(case.store.path(&layer.blob.digest), b"garbage").expect("damaged");
    let outcome = wasm_of_layers(&[layer], &case.store);
    assert!(matches!(outcome, Err(Error::DigestMismatch { .. })), "{outcome:?}");
    let outcome = wasm_of_layers(&[layer], &case.store);
    assert!(matches!(outcome, Err(Error::LayerGone { .. })), "{outcome:?}");
}
