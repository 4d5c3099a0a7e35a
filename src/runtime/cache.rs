//! Compiled components on disk.
//!
//! One folder, only this user's; for each component a `<key>.cwasm` and a `<key>.mac`. The key
//! is a hash of everything that the code depends on, so that another wasmtime, another
//! configuration or another Wharf simply does not find it. The MAC is BLAKE3, keyed with 32
//! random bytes that never leave the node. It is checked when a file is first loaded by a
//! process; while inode, size and times stay as they were then, later loads map at once.
//!
//! *Invariant:* a file that does not authenticate is deleted and never loaded.
//!
//! *Invariant:* files are replaced by rename and never changed in place: a mapped file that
//! shrinks would kill the process.

use std::fs::{self, File, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dashmap::DashMap;
use registry::Digest;
use wasmtime::component::Component;

use super::compile::chain;
use super::cwasm;
use super::engine::{Engine, module_version};

const KEY_FILE: &str = "node.key";

/// Why authentic code cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The file cannot be read.
    #[error("the compiled code cannot be read")]
    Read(#[from] io::Error),
    /// The engine refuses it: it needs more than the pool holds.
    #[error("the engine refuses the component: {0}")]
    Refused(String),
}

/// Everything that compiled code depends on, hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CacheKey(blake3::Hash);

impl CacheKey {
    /// The key of a component for this engine.
    pub fn of(engine: &Engine, component: &Digest) -> Self {
        let compatibility = engine.wasmtime().precompile_compatibility_hash();
        Self::derive(&compatibility, &module_version(), component)
    }

    fn derive(compatibility: &impl Hash, version: &str, component: &Digest) -> Self {
        let mut hasher = depends_on(compatibility, version);
        hasher.update(component.to_string().as_bytes());
        Self(hasher.finalize())
    }

    fn file_name(&self, extension: &str) -> String {
        format!("{}.{extension}", self.0.to_hex())
    }
}

/// What tells the engines apart whose code is the same.
pub(super) fn stamp(engine: &wasmtime::Engine) -> [u8; 32] {
    let compatibility = engine.precompile_compatibility_hash();
    depends_on(&compatibility, &module_version()).finalize().into()
}

fn depends_on(compatibility: &impl Hash, version: &str) -> blake3::Hasher {
    let mut hasher = HashInto(blake3::Hasher::new());
    compatibility.hash(&mut hasher);
    let mut hasher = hasher.0;
    hasher.update(version.as_bytes());
    hasher
}

/// Feeds a `Hash` value into BLAKE3: std's own hasher is not stable from release to release.
struct HashInto(blake3::Hasher);

impl Hasher for HashInto {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

/// What a file looked like when it was authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Identity {
    fn of(meta: &fs::Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

/// The folder of compiled components. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AotCache(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    mac_key: [u8; 32],
    authenticated: DashMap<CacheKey, Identity>,
}

impl AotCache {
    /// Opens the folder, and makes it and its key if they are not there. Half-written files of
    /// an earlier process are removed.
    pub fn open(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
        for entry in fs::read_dir(dir)?.flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "tmp") {
                let _ = fs::remove_file(entry.path());
            }
        }
        let mac_key = read_or_make_key(dir)?;
        let inner = Inner { dir: dir.to_owned(), mac_key, authenticated: DashMap::new() };
        Ok(Self(Arc::new(inner)))
    }

    /// Whether compiled code is there under this key. It may still fail to authenticate.
    pub fn contains(&self, key: &CacheKey) -> bool {
        self.path(key, "cwasm").exists() && self.path(key, "mac").exists()
    }

    /// Maps the compiled component, or `None` if there is none that can be used.
    pub fn load(&self, engine: &Engine, key: &CacheKey) -> Result<Option<Component>, CacheError> {
        let path = self.path(key, "cwasm");
        match self.authenticate(key, &path) {
            Ok(true) => {}
            Ok(false) => {
                tracing::warn!(path = %path.display(), "compiled code does not authenticate");
                self.remove(key);
                return Ok(None);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let mapped = cwasm::map(engine.wasmtime(), &path);
        mapped.map(Some).map_err(|error| CacheError::Refused(chain(&error)))
    }

    /// Stores what the compiler made: the code first, then the MAC that makes it valid.
    pub fn store(&self, key: &CacheKey, code: &[u8]) -> io::Result<()> {
        self.0.authenticated.remove(key);
        let mac = self.mac(key).update(code).finalize();
        self.replace(&self.path(key, "cwasm"), code)?;
        self.replace(&self.path(key, "mac"), mac.to_hex().as_bytes())?;
        File::open(&self.0.dir)?.sync_all()
    }

    /// Deletes what is stored under the key.
    pub fn remove(&self, key: &CacheKey) {
        self.0.authenticated.remove(key);
        let _ = fs::remove_file(self.path(key, "mac"));
        let _ = fs::remove_file(self.path(key, "cwasm"));
    }

    fn path(&self, key: &CacheKey, extension: &str) -> PathBuf {
        self.0.dir.join(key.file_name(extension))
    }

    fn authenticate(&self, key: &CacheKey, path: &Path) -> io::Result<bool> {
        let mut file = open_no_follow(path)?;
        let identity = Identity::of(&file.metadata()?);
        if self.0.authenticated.get(key).is_some_and(|known| *known == identity) {
            return Ok(true);
        }
        let stored = fs::read(self.path(key, "mac"))?;
        let Ok(stored) = blake3::Hash::from_hex(stored.trim_ascii()) else { return Ok(false) };
        let mut hasher = self.mac(key);
        hasher.update_reader(&mut file)?;
        // `blake3::Hash` compares in constant time.
        let authentic = hasher.finalize() == stored;
        if authentic {
            self.0.authenticated.insert(*key, identity);
        }
        Ok(authentic)
    }

    /// A MAC that covers the key as well: no component's code passes for another's.
    fn mac(&self, key: &CacheKey) -> blake3::Hasher {
        let mut hasher = blake3::Hasher::new_keyed(&self.0.mac_key);
        hasher.update(key.0.as_bytes());
        hasher
    }

    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let mut temp = tempfile::Builder::new().suffix(".tmp").tempfile_in(&self.0.dir)?;
        temp.write_all(content)?;
        temp.as_file().sync_all()?;
        temp.persist(path).map(drop).map_err(|error| error.error)
    }
}

fn open_no_follow(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW.bits();
    OpenOptions::new().read(true).custom_flags(flags.cast_signed()).open(path)
}

fn read_or_make_key(dir: &Path) -> io::Result<[u8; 32]> {
    let path = dir.join(KEY_FILE);
    match open_no_follow(&path) {
        Ok(mut file) => {
            let mut key = [0; 32];
            match file.read_exact(&mut key) {
                Ok(()) => return Ok(key),
                Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error),
                Err(_) => tracing::warn!(path = %path.display(), "the key is cut short: replaced"),
            }
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Err(_) => {}
    }
    let key: [u8; 32] = rand::random();
    let mut temp = tempfile::Builder::new().suffix(".tmp").tempfile_in(dir)?;
    temp.write_all(&key)?;
    temp.as_file().sync_all()?;
    temp.persist(&path).map_err(|error| error.error)?;
    File::open(dir)?.sync_all()?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::super::engine::{ResetPolicy, WASMTIME_VERSION};
    use super::super::machine::Machine;
    use super::*;

    struct Fixture {
        engine: Engine,
        dir: tempfile::TempDir,
        component: Digest,
        code: Vec<u8>,
    }

    impl Fixture {
        fn new() -> Self {
            let machine = Machine { max_mappings: 12_000, ..Machine::read() };
            let engine = Engine::new(&machine, ResetPolicy::Auto).expect("an engine");
            let wasm = wat::parse_str("(component)").expect("valid");
            let code = engine.wasmtime().precompile_component(&wasm).expect("valid");
            let dir = tempfile::tempdir().expect("a folder");
            Self { engine, dir, component: Digest::of(&wasm), code }
        }

        fn cache(&self) -> AotCache {
            AotCache::open(self.dir.path()).expect("a cache")
        }

        fn key(&self) -> CacheKey {
            CacheKey::of(&self.engine, &self.component)
        }

        fn loads(&self, cache: &AotCache) -> bool {
            cache.load(&self.engine, &self.key()).expect("readable").is_some()
        }

        /// The keys that this component has elsewhere.
        fn foreign_keys(&self) -> Vec<(&'static str, CacheKey)> {
            let here = self.engine.wasmtime().precompile_compatibility_hash();
            let version = module_version();
            let (wasmtime, ours) = version.split_once('+').expect("both versions");
            assert_eq!(wasmtime, WASMTIME_VERSION);
            let derive = |version: &str| CacheKey::derive(&here, version, &self.component);
            vec![
                ("another wasmtime", derive(&format!("{wasmtime}1+{ours}"))),
                ("another Wharf", derive(&version.replace(env!("CARGO_PKG_VERSION"), "99.0.0"))),
                ("another format", derive(&format!("{version}1"))),
                ("another engine", CacheKey::derive(&(&here, 1), &version, &self.component)),
                ("another component", CacheKey::of(&self.engine, &Digest::of(b"another"))),
            ]
        }
    }

    #[test]
    fn code_that_was_made_elsewhere_is_not_found() {
        let it = Fixture::new();
        let cache = it.cache();
        for (what, foreign) in it.foreign_keys() {
            cache.store(&foreign, &it.code).expect("stored");
            assert!(!cache.contains(&it.key()) && !it.loads(&cache), "{what}");
        }
        cache.store(&it.key(), &it.code).expect("stored");
        assert!(cache.contains(&it.key()) && it.loads(&cache));
    }

    #[test]
    fn code_that_was_made_elsewhere_is_removed_under_our_name() {
        let it = Fixture::new();
        let cache = it.cache();
        for (what, foreign) in it.foreign_keys() {
            cache.store(&foreign, &it.code).expect("stored");
            for extension in ["cwasm", "mac"] {
                let (from, to) =
                    (cache.path(&foreign, extension), cache.path(&it.key(), extension));
                fs::copy(from, to).expect("copied");
            }
            assert!(!it.loads(&cache), "{what}");
            assert!(!cache.contains(&it.key()), "{what}: it is still there");
        }
    }

    #[test]
    fn code_of_a_node_with_another_key_is_removed() {
        let it = Fixture::new();
        it.cache().store(&it.key(), &it.code).expect("stored");
        assert!(it.loads(&it.cache()), "the key outlives the process");
        fs::write(it.dir.path().join(KEY_FILE), [7; 32]).expect("written");
        let cache = it.cache();
        assert!(!it.loads(&cache) && !cache.contains(&it.key()));
    }
}
