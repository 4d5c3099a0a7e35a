//! What the tables hold: the log of versions, the leases, and the counters.
//!
//! SQLite notices a damaged page structure, but not a flipped bit in a value. So every row has a
//! checksum, and the sum of all checksums is kept in `state`, so that a row that is lost, or is
//! there twice, is noticed too. Both cost nothing that grows with the number of rows.
//!
//! *Invariant:* `commit` leaves the digest in memory as it was unless the transaction committed.

use std::time::Duration;

use bytes::Bytes;
use rusqlite::{Connection, Row, params};

use crate::store::draft::Changes;
use crate::store::mvcc::{Counters, Mvcc, Version};
use crate::store::types::{Batch, EventKind, Kv, LeaseId, Revision};

/// The tables; `history` is for people with the `sqlite3` shell.
pub(super) const SCHEMA: &str = "
CREATE TABLE log (
    id         INTEGER PRIMARY KEY, -- revision * 2^20 + position in it
    key        BLOB NOT NULL,
    value      BLOB NOT NULL,
    create_rev INTEGER NOT NULL,
    version    INTEGER NOT NULL,
    lease      INTEGER,
    deleted    INTEGER NOT NULL,
    sum        INTEGER NOT NULL
) STRICT;
CREATE TABLE lease (
    id   INTEGER PRIMARY KEY,
    ttl  INTEGER NOT NULL, -- seconds
    sum  INTEGER NOT NULL
) STRICT;
CREATE TABLE state (
    id         INTEGER PRIMARY KEY,
    revision   INTEGER NOT NULL,
    compacted  INTEGER NOT NULL,
    last_lease INTEGER NOT NULL,
    digest     INTEGER NOT NULL,
    sum        INTEGER NOT NULL
) STRICT;
CREATE VIEW history AS
    SELECT id >> 20 AS revision, id & 1048575 AS position, CAST(key AS TEXT) AS key,
           CAST(value AS TEXT) AS value, version, lease, deleted
    FROM log ORDER BY id;
";

/// Bits of a row id below the revision: more than `LEASE_KEYS_MAX`, and 43 bits are left for
/// revisions, which is 278 years of a thousand a second.
const POSITION_BITS: u32 = 20;

/// Everything that one SQLite transaction writes.
#[derive(Debug)]
pub(crate) struct Write<'a> {
    /// Versions that history no longer needs.
    pub(crate) dead: &'a [Version],
    pub(crate) changes: &'a Changes,
    /// The oldest retained revision, once `dead` is gone.
    pub(crate) compacted: Revision,
    /// The newest revision, once `changes` are there.
    pub(crate) revision: Revision,
}

/// Writes the counters of an empty store.
pub(super) fn init(conn: &Connection) -> rusqlite::Result<()> {
    put_state(conn, Counters::default(), 0)
}

/// Writes inside the transaction that is open on `conn`, and returns the new digest.
pub(super) fn write(conn: &Connection, write: &Write, mut digest: u64) -> rusqlite::Result<u64> {
    let mut delete = conn.prepare_cached("DELETE FROM log WHERE id = ?1")?;
    for version in write.dead {
        delete.execute([row_id(version.kv.mod_rev, version.sub)])?;
        digest = digest.wrapping_sub(version_sum(&version.kv, version.sub, version.deleted));
    }
    let mut grant = conn.prepare_cached("INSERT INTO lease VALUES (?1, ?2, ?3)")?;
    for (id, ttl) in &write.changes.granted {
        let sum = lease_sum(*id, *ttl);
        grant.execute([id.0.cast_signed(), ttl.as_secs().cast_signed(), sum.cast_signed()])?;
        digest = digest.wrapping_add(sum);
    }
    for batch in &write.changes.batches {
        digest = digest.wrapping_add(insert(conn, batch)?);
    }
    let mut revoke = conn.prepare_cached("DELETE FROM lease WHERE id = ?1")?;
    for (id, ttl) in &write.changes.revoked {
        revoke.execute([id.0.cast_signed()])?;
        digest = digest.wrapping_sub(lease_sum(*id, *ttl));
    }
    let counters = Counters {
        revision: write.revision,
        compacted: write.compacted,
        last_lease: write.changes.last_lease,
    };
    put_state(conn, counters, digest)?;
    Ok(digest)
}

/// Reads everything back, with the digest.
///
/// # Errors
/// SQLite's own, or inside of it what does not fit.
pub(super) fn load(conn: &Connection) -> rusqlite::Result<Result<(Mvcc, u64), String>> {
    let (counters, digest, intact) = conn.query_row(
        "SELECT revision, compacted, last_lease, digest, sum FROM state",
        [],
        |row| {
            let counters = Counters {
                revision: Revision(unsigned(row, 0)?),
                compacted: Revision(unsigned(row, 1)?),
                last_lease: unsigned(row, 2)?,
            };
            let digest = unsigned(row, 3)?;
            Ok((counters, digest, unsigned(row, 4)? == state_sum(counters, digest)))
        },
    )?;
    let mut found = 0_u64;
    let mut broken = (!intact).then(|| "the checksum of its counters does not fit".to_owned());
    let mut leases = Vec::new();
    let mut statement = conn.prepare("SELECT id, ttl, sum FROM lease ORDER BY id")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (id, ttl) = (LeaseId(unsigned(row, 0)?), Duration::from_secs(unsigned(row, 1)?));
        let sum = unsigned(row, 2)?;
        if sum != lease_sum(id, ttl) {
            broken = Some(format!("the checksum of lease {id} does not fit"));
        }
        found = found.wrapping_add(sum);
        leases.push((id, ttl));
    }
    let mut versions = Vec::new();
    let mut statement = conn.prepare(
        "SELECT id, key, value, create_rev, version, lease, deleted, sum FROM log ORDER BY id",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let version = version(row)?;
        let sum = unsigned(row, 7)?;
        if sum != version_sum(&version.kv, version.sub, version.deleted) {
            let Version { kv, .. } = &version;
            broken = Some(format!("the checksum of revision {} does not fit", kv.mod_rev));
        }
        found = found.wrapping_add(sum);
        versions.push(version);
    }
    if found != digest {
        broken.get_or_insert_with(|| "rows are missing".to_owned());
    }
    Ok(match broken {
        Some(detail) => Err(detail),
        None => Mvcc::restore(counters, leases, versions).map(|state| (state, digest)),
    })
}

/// Appends a batch to the log and returns the sum of its checksums.
fn insert(conn: &Connection, batch: &Batch) -> rusqlite::Result<u64> {
    let mut put = conn.prepare_cached("INSERT INTO log VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?;
    let mut sums = 0_u64;
    for (sub, event) in (0..).zip(&batch.events) {
        let kv = &event.kv;
        let deleted = event.kind == EventKind::Delete;
        let sum = version_sum(kv, sub, deleted);
        put.execute(params![
            row_id(batch.revision, sub),
            &kv.key[..],
            &kv.value[..],
            kv.create_rev.0.cast_signed(),
            kv.version.cast_signed(),
            kv.lease.map(|id| id.0.cast_signed()),
            deleted,
            sum.cast_signed(),
        ])?;
        sums = sums.wrapping_add(sum);
    }
    Ok(sums)
}

fn put_state(conn: &Connection, counters: Counters, digest: u64) -> rusqlite::Result<()> {
    let mut put =
        conn.prepare_cached("INSERT OR REPLACE INTO state VALUES (1, ?1, ?2, ?3, ?4, ?5)")?;
    let Counters { revision, compacted, last_lease } = counters;
    let sum = state_sum(counters, digest);
    put.execute([revision.0, compacted.0, last_lease, digest, sum].map(u64::cast_signed))?;
    Ok(())
}

fn version(row: &Row) -> rusqlite::Result<Version> {
    let id = unsigned(row, 0)?;
    let kv = Kv {
        key: Bytes::from(row.get::<_, Vec<u8>>(1)?),
        value: Bytes::from(row.get::<_, Vec<u8>>(2)?),
        create_rev: Revision(unsigned(row, 3)?),
        mod_rev: Revision(id >> POSITION_BITS),
        version: unsigned(row, 4)?,
        lease: row.get::<_, Option<i64>>(5)?.map(|id| LeaseId(id.cast_unsigned())),
    };
    let position = id & ((1 << POSITION_BITS) - 1);
    // Twenty bits fit.
    let sub = position as u32;
    Ok(Version { kv, sub, deleted: row.get(6)? })
}

fn unsigned(row: &Row, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}

fn row_id(revision: Revision, sub: u32) -> i64 {
    (revision.0 << POSITION_BITS | u64::from(sub)).cast_signed()
}

fn version_sum(kv: &Kv, sub: u32, deleted: bool) -> u64 {
    let sum = Sum::new(1).number(kv.mod_rev.0).number(u64::from(sub)).number(kv.create_rev.0);
    let lease = kv.lease.map_or(0, |id| id.0 + 1);
    sum.number(kv.version)
        .number(lease)
        .number(u64::from(deleted))
        .bytes(&kv.key)
        .bytes(&kv.value)
        .0
}

fn lease_sum(id: LeaseId, ttl: Duration) -> u64 {
    Sum::new(2).number(id.0).number(ttl.as_secs()).0
}

fn state_sum(counters: Counters, digest: u64) -> u64 {
    let Counters { revision, compacted, last_lease } = counters;
    Sum::new(3).number(revision.0).number(compacted.0).number(last_lease).number(digest).0
}

/// A checksum against accidents, not against people: multiply and rotate, like FNV-1a over words
/// of eight bytes. Each step is a bijection, so that a change in one word always shows.
#[derive(Clone, Copy)]
struct Sum(u64);

impl Sum {
    /// The 64-bit prime of FNV; odd, so that multiplying by it loses nothing.
    const PRIME: u64 = 0x0000_0100_0000_01b3;

    fn new(kind: u64) -> Self {
        Self(0xcbf2_9ce4_8422_2325).number(kind)
    }

    fn number(self, number: u64) -> Self {
        Self((self.0 ^ number).wrapping_mul(Self::PRIME).rotate_left(29))
    }

    fn bytes(self, bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks::<8>();
        let words = words.iter().map(|word| u64::from_le_bytes(*word));
        let sum = words.fold(self.number(bytes.len() as u64), Self::number);
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        sum.number(u64::from_le_bytes(last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_changes_the_sum() {
        let bytes: Vec<u8> = (0..37).collect();
        let sum = Sum::new(1).bytes(&bytes).0;
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(Sum::new(1).bytes(&flipped).0, sum, "bit {bit}");
        }
    }
}
