//! The database file: creating, checking, opening, committing, reopening.
//!
//! A new database is made under another name and renamed when it is complete, so that a database
//! that exists is never half made, and one of zero bytes is damaged and not new.
//!
//! *Invariant:* a file that does not hold exactly what was written is refused, and left as it is.
//! (One exception is SQLite's own: frames at the end of a damaged `-wal` file look like a write
//! that a crash cut off, and are ignored.)

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::lock::{Lock, beside};
use super::open_error::OpenError;
use super::rows::{self, Write};
use crate::store::mvcc::Mvcc;

/// Marks a SQLite file as a store of Wharf: "WHRF".
const APPLICATION_ID: u32 = 0x5748_5246;

/// The version of the tables in `rows`.
const SCHEMA_VERSION: u32 = 1;

/// Up to which size the page structure is checked at each start: 1 GiB takes some seconds. The
/// rows are checked always.
const QUICK_CHECK_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// How long to wait for somebody with the `sqlite3` shell who holds the write lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// What SQLite's file header holds that matters here: <https://sqlite.org/fileformat2.html> §1.3.
const HEADER_BYTES: usize = 100;
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
const APPLICATION_ID_AT: usize = 68;

/// How a write to the disk failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum WriteError {
    /// Certainly not written: the disk is full. The next try may succeed.
    Full,
    /// Certainly not written: somebody else holds the database. The next try may succeed.
    Busy,
    /// Certainly not written; reopen before the next try.
    Failed(String),
    /// Perhaps written; reopen and read back before anything else.
    InDoubt(String),
}

/// The durable side of a store, as the writer sees it.
pub(crate) trait Log: Send {
    /// Makes one write durable.
    fn write(&mut self, write: &Write) -> Result<(), WriteError>;

    /// Closes, opens again, reads everything back, and makes durable what was read.
    fn reopen(&mut self) -> Result<Mvcc, OpenError>;

    /// Bytes in use.
    fn used_bytes(&self) -> u64;
}

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Disk {
    path: PathBuf,
    /// `None` after a reopening that failed.
    conn: Option<Connection>,
    digest: u64,
    used_bytes: u64,
    _lock: Lock,
}

impl Disk {
    /// Locks, checks and opens a database, or makes it, and reads its state.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub(super) fn open(path: PathBuf) -> Result<(Self, Mvcc), OpenError> {
        let lock = Lock::take(&path)?;
        let io = |source| OpenError::Io { path: path.clone(), source };
        if !path.try_exists().map_err(io)? {
            create(&path)?;
        }
        // What a killed process wrote but did not sync is about to be seen by readers.
        sync_if_there(&beside(&path, "-wal")).map_err(io)?;
        let mut disk = Self { path, conn: None, digest: 0, used_bytes: 0, _lock: lock };
        let state = disk.read_back()?;
        Ok((disk, state))
    }

    fn read_back(&mut self) -> Result<Mvcc, OpenError> {
        let failed = |error| open_error(&self.path, &error);
        let corrupt = |detail| OpenError::Corrupt { path: self.path.clone(), detail };
        check_header(&self.path)?;
        let conn = connect(&self.path).map_err(failed)?;
        check(&conn, &self.path)?;
        let (state, digest) = rows::load(&conn).map_err(failed)?.map_err(corrupt)?;
        configure(&conn).map_err(failed)?;
        self.used_bytes = used_bytes(&conn).map_err(failed)?;
        self.digest = digest;
        self.conn = Some(conn);
        Ok(state)
    }
}

impl Log for Disk {
    fn write(&mut self, write: &Write) -> Result<(), WriteError> {
        let Some(conn) = &self.conn else {
            return Err(WriteError::Failed("the database is closed".into()));
        };
        let written = conn
            .execute_batch("BEGIN IMMEDIATE")
            .and_then(|()| rows::write(conn, write, self.digest))
            .map_err(|error| classify(&error, WriteError::Failed));
        let committed = written.and_then(|digest| {
            let committed = conn.execute_batch("COMMIT");
            committed.map_err(|error| classify(&error, WriteError::InDoubt))?;
            Ok(digest)
        });
        match committed {
            Ok(digest) => {
                self.digest = digest;
                // The size is for the quota and for people; the last one will do.
                self.used_bytes = used_bytes(conn).unwrap_or(self.used_bytes);
                Ok(())
            }
            Err(error) => {
                if !conn.is_autocommit() && conn.execute_batch("ROLLBACK").is_err() {
                    self.conn = None;
                }
                Err(error)
            }
        }
    }

    fn reopen(&mut self) -> Result<Mvcc, OpenError> {
        self.conn = None;
        let state = self.read_back()?;
        let settled = self.conn.as_ref().is_some_and(|conn| settle(conn).unwrap_or(false));
        if !settled {
            self.conn = None;
            let source = io::Error::other("what was read back cannot be made durable");
            return Err(OpenError::Io { path: self.path.clone(), source });
        }
        Ok(state)
    }

    fn used_bytes(&self) -> u64 {
        self.used_bytes
    }
}

/// Makes an empty database.
fn create(path: &Path) -> Result<(), OpenError> {
    if beside(path, "-wal").exists() {
        let detail = "its -wal file is there, but the database itself is not".to_owned();
        return Err(OpenError::Corrupt { path: path.to_owned(), detail });
    }
    let new = beside(path, ".new");
    let io = |source| OpenError::Io { path: new.clone(), source };
    // What an earlier try left behind holds nothing yet.
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new);
    let file = file.map_err(io)?;
    let fill = || {
        let conn = Connection::open_with_flags(&new, flags())?;
        conn.pragma_update(None, "journal_mode", "OFF")?;
        conn.pragma_update(None, "application_id", APPLICATION_ID)?;
        conn.pragma_update(None, "user_version", SCHEMA_VERSION)?;
        conn.execute_batch(rows::SCHEMA)?;
        rows::init(&conn)
    };
    fill().map_err(|error| open_error(&new, &error))?;
    file.sync_all().map_err(io)?;
    std::fs::rename(&new, path).map_err(io)?;
    sync_folder(path).map_err(io)
}

fn sync_if_there(path: &Path) -> io::Result<()> {
    match File::open(path) {
        Ok(file) => file.sync_all(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Copies the `-wal` file into the database and syncs that; false when somebody is in the way.
///
/// After a sync that failed Linux takes the unwritten pages for written, so that a second sync of
/// the same file proves nothing. The copy does: its pages are new.
fn settle(conn: &Connection) -> rusqlite::Result<bool> {
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| Ok(row.get::<_, i64>(0)? == 0))
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// Checks, without SQLite, that the file is a database of ours, and closes it to other users.
fn check_header(path: &Path) -> Result<(), OpenError> {
    let io = |source| OpenError::Io { path: path.to_owned(), source };
    let corrupt = |detail: String| OpenError::Corrupt { path: path.to_owned(), detail };
    let mut file = File::open(path).map_err(io)?;
    let mut header = [0; HEADER_BYTES];
    match file.read_exact(&mut header) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            let bytes = file.metadata().map_err(io)?.len();
            return Err(corrupt(format!("it has only {bytes} bytes, less than a header")));
        }
        Err(source) => return Err(io(source)),
    }
    if &header[..MAGIC.len()] != MAGIC {
        return Err(corrupt("it is not an SQLite database".into()));
    }
    if header[APPLICATION_ID_AT..APPLICATION_ID_AT + 4] != APPLICATION_ID.to_be_bytes() {
        return Err(OpenError::NotAStore { path: path.to_owned() });
    }
    file.set_permissions(Permissions::from_mode(0o600)).map_err(io)
}

/// Opens the file so that reading it, and closing it again, changes nothing.
fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let conn = Connection::open_with_flags(path, flags())?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    conn.pragma_update(None, "cell_size_check", "ON")?;
    Ok(conn)
}

/// Makes a database that was found to be good ready for writing.
fn configure(conn: &Connection) -> rusqlite::Result<()> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    conn.pragma_update(None, "journal_mode", "WAL")?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    // Without this a large transaction may meet a full disk before its commit.
    conn.pragma_update(None, "cache_spill", "OFF")?;
    // What a burst leaves behind, in bytes.
    conn.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)
}

fn flags() -> OpenFlags {
    OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX
}

/// Checks the version of the schema, and the page structure.
fn check(conn: &Connection, path: &Path) -> Result<(), OpenError> {
    let failed = |error| open_error(path, &error);
    let corrupt = |detail: String| OpenError::Corrupt { path: path.to_owned(), detail };
    let pragma = |name| conn.pragma_query_value(None, name, |row| row.get::<_, u32>(0));
    let found = pragma("user_version").map_err(failed)?;
    if found > SCHEMA_VERSION {
        let supported = SCHEMA_VERSION;
        return Err(OpenError::NewerSchema { path: path.to_owned(), found, supported });
    }
    if found < SCHEMA_VERSION {
        return Err(corrupt(format!("it has schema {found}, which no version ever wrote")));
    }
    if conn.is_readonly("main").map_err(failed)? {
        let source = io::Error::new(io::ErrorKind::PermissionDenied, "it is read-only");
        return Err(OpenError::Io { path: path.to_owned(), source });
    }
    if used_bytes(conn).map_err(failed)? <= QUICK_CHECK_BYTES_MAX {
        let answer = conn.pragma_query_value(None, "quick_check", |row| row.get::<_, String>(0));
        let answer = answer.map_err(failed)?;
        if answer != "ok" {
            return Err(corrupt(answer));
        }
    }
    Ok(())
}

fn used_bytes(conn: &Connection) -> rusqlite::Result<u64> {
    let pragma = |sql| conn.prepare_cached(sql)?.query_row([], |row| row.get::<_, i64>(0));
    let pages = pragma("PRAGMA page_count")? - pragma("PRAGMA freelist_count")?;
    Ok((pages * pragma("PRAGMA page_size")?).cast_unsigned())
}

fn classify(error: &rusqlite::Error, otherwise: fn(String) -> WriteError) -> WriteError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => WriteError::Full,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => WriteError::Busy,
        _ => otherwise(error.to_string()),
    }
}

/// Tells a damaged file from one that cannot be reached at the moment.
fn open_error(path: &Path, error: &rusqlite::Error) -> OpenError {
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(
            ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::DiskFull
            | ErrorCode::PermissionDenied
            | ErrorCode::ReadOnly
            | ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::OutOfMemory
            | ErrorCode::FileLockingProtocolFailed,
        ) => OpenError::Io { path, source: io::Error::other(error.to_string()) },
        _ => OpenError::Corrupt { path, detail: error.to_string() },
    }
}
