//! The data file as LMDB shows it to anybody: to damage it, and to print it.

use std::collections::BTreeMap;
use std::path::Path;

use hotstuff::types::crypto::sha256;
use lmdb::{Cursor, Transaction};

pub const TABLES: [&str; 5] = ["blocks", "evidence", "hashes", "sets", "state"];

fn environment(directory: &Path) -> lmdb::Environment {
    let mut builder = lmdb::Environment::new();
    let flags = lmdb::EnvironmentFlags::NO_SYNC;
    let builder = builder
        .set_flags(flags)
        .set_map_size(1 << 30)
        .set_max_dbs(8);
    builder.open(directory).unwrap()
}

/// A record of the main table.
pub fn get(directory: &Path, key: &str) -> Option<Vec<u8>> {
    let env = environment(directory);
    let main = env.open_db(None).unwrap();
    let txn = env.begin_ro_txn().unwrap();
    let value = txn.get(main, &key).ok().map(<[u8]>::to_vec);
    value
}

/// Writes records of the main table; `None` deletes.
pub fn put(directory: &Path, records: &[(&str, Option<&[u8]>)]) {
    put_into(
        directory,
        None,
        records.iter().map(|(key, value)| (key.as_bytes(), *value)),
    );
}

/// Writes records of a table; `None` deletes.
pub fn put_into<'a>(
    directory: &Path,
    table: Option<&str>,
    records: impl IntoIterator<Item = (&'a [u8], Option<&'a [u8]>)>,
) {
    let env = environment(directory);
    let table = env.open_db(table).unwrap();
    let mut txn = env.begin_rw_txn().unwrap();
    for (key, value) in records {
        match value {
            Some(value) => txn.put(table, &key, &value, lmdb::WriteFlags::empty()),
            None => txn.del(table, &key, None),
        }
        .unwrap();
    }
    txn.commit().unwrap();
}

/// Everything in one table; of the main table, what is not a table itself.
pub fn dump(directory: &Path, table: Option<&str>) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let env = environment(directory);
    let db = env.open_db(table).unwrap();
    let txn = env.begin_ro_txn().unwrap();
    let mut cursor = txn.open_ro_cursor(db).unwrap();
    let items = cursor.iter_start().map(|item| item.unwrap());
    items
        .filter(|(key, _)| table.is_some() || TABLES.iter().all(|name| name.as_bytes() != *key))
        .map(|(key, value)| (key.to_vec(), value.to_vec()))
        .collect()
}

/// What a sealed record looks like, by the schema's words and not by its code.
pub fn seal(key: &str, record: &[u8]) -> Vec<u8> {
    let sum = sha256(&[key.as_bytes(), b"\0", record]);
    [&sum, record].concat()
}
