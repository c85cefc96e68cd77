//! The pending state updates of one block, in bytes that can be searched where they lie.
//!
//! ```text
//!   count u32 | count x end u32 | entry ... entry         (big-endian)
//!   entry = kind u8 (0 delete, 1 set) | key length u16 | key | value
//! ```
//!
//! Entries are sorted by key, and each key stands once: of several updates for it, the last. An end
//! is counted from the first entry. So a snapshot finds a key by bisection in the map, without
//! decoding or copying the block's other updates, and a commit writes in the order of the table.

use crate::types::StateUpdate;

use super::StorageError;

const COUNT_BYTES: usize = 4;
const END_BYTES: usize = 4;
const DELETE: u8 = 0;
const SET: u8 = 1;

/// Writes `updates` into `buffer`, which is emptied first.
pub(super) fn encode(updates: &[StateUpdate], buffer: &mut Vec<u8>) {
    let mut sorted: Vec<&StateUpdate> = updates.iter().rev().collect();
    sorted.sort_by_key(|update| update.key()); // stable: the last update of a key is now the first
    sorted.dedup_by_key(|update| update.key());
    buffer.clear();
    buffer.extend_from_slice(&narrow(sorted.len()).to_be_bytes());
    buffer.resize(COUNT_BYTES + sorted.len() * END_BYTES, 0);
    let entries_at = buffer.len();
    for (index, update) in sorted.into_iter().enumerate() {
        buffer.push(if update.value().is_some() {
            SET
        } else {
            DELETE
        });
        let key = update.key();
        let key_length = u16::try_from(key.len()).expect("a key has at most 500 bytes");
        buffer.extend_from_slice(&key_length.to_be_bytes());
        buffer.extend_from_slice(key);
        buffer.extend_from_slice(update.value().unwrap_or_default());
        let end = narrow(buffer.len() - entries_at).to_be_bytes();
        buffer[COUNT_BYTES + index * END_BYTES..][..END_BYTES].copy_from_slice(&end);
    }
}

fn narrow(length: usize) -> u32 {
    u32::try_from(length).expect("the updates of one block have at most 256 MiB")
}

/// Reads what [`encode`] has written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Updates<'a> {
    ends: &'a [u8],
    entries: &'a [u8],
}

/// A key, and its new value; `None` deletes it.
pub(super) type Entry<'a> = (&'a [u8], Option<&'a [u8]>);

impl<'a> Updates<'a> {
    pub fn read(bytes: &'a [u8]) -> Result<Updates<'a>, StorageError> {
        let (count, rest) = bytes
            .split_first_chunk::<COUNT_BYTES>()
            .ok_or_else(cut_off)?;
        let ends_bytes = u32::from_be_bytes(*count) as usize * END_BYTES;
        let (ends, entries) = rest.split_at_checked(ends_bytes).ok_or_else(cut_off)?;
        let updates = Updates { ends, entries };
        match updates.len() {
            0 => Ok(updates),
            count if updates.end(count - 1) == entries.len() => Ok(updates),
            _ => Err(cut_off()),
        }
    }

    pub fn len(&self) -> usize {
        self.ends.len() / END_BYTES
    }

    fn end(&self, index: usize) -> usize {
        let bytes = &self.ends[index * END_BYTES..][..END_BYTES];
        u32::from_be_bytes(bytes.try_into().expect("4 bytes")) as usize
    }

    /// The update at `index`, in the order of keys.
    pub fn entry(&self, index: usize) -> Result<Entry<'a>, StorageError> {
        let start = if index == 0 { 0 } else { self.end(index - 1) };
        let entry = self
            .entries
            .get(start..self.end(index))
            .ok_or_else(cut_off)?;
        let ([kind, length @ ..], rest) = entry.split_first_chunk::<3>().ok_or_else(cut_off)?;
        let key_length = usize::from(u16::from_be_bytes(*length));
        let (key, value) = rest.split_at_checked(key_length).ok_or_else(cut_off)?;
        match *kind {
            SET => Ok((key, Some(value))),
            DELETE if value.is_empty() => Ok((key, None)),
            _ => Err(StorageError::corrupt(
                "state updates",
                "an update is of no kind",
            )),
        }
    }

    /// What becomes of `key`: `None` if it is not touched.
    #[allow(clippy::option_option)] // untouched, deleted, set
    pub fn find(&self, key: &[u8]) -> Result<Option<Option<&'a [u8]>>, StorageError> {
        let (mut from, mut to) = (0, self.len());
        while from < to {
            let middle = (from + to) / 2;
            let (there, value) = self.entry(middle)?;
            match there.cmp(key) {
                std::cmp::Ordering::Less => from = middle + 1,
                std::cmp::Ordering::Equal => return Ok(Some(value)),
                std::cmp::Ordering::Greater => to = middle,
            }
        }
        Ok(None)
    }
}

fn cut_off() -> StorageError {
    StorageError::corrupt("state updates", "they are cut off")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(key: &str, value: &str) -> StateUpdate {
        StateUpdate::Set {
            key: key.into(),
            value: value.into(),
        }
    }

    fn encoded(updates: &[StateUpdate]) -> Vec<u8> {
        let mut bytes = vec![9];
        encode(updates, &mut bytes);
        bytes
    }

    #[test]
    fn the_last_update_of_a_key_stands() {
        let delete = StateUpdate::Delete { key: "b".into() };
        let bytes = encoded(&[
            set("b", "1"),
            set("a", "2"),
            delete,
            set("a", ""),
            set("c", "x"),
        ]);
        let updates = Updates::read(&bytes).unwrap();
        assert_eq!(updates.len(), 3);
        assert_eq!(updates.find(b"a").unwrap(), Some(Some(&b""[..])));
        assert_eq!(updates.find(b"b").unwrap(), Some(None));
        assert_eq!(updates.find(b"c").unwrap(), Some(Some(&b"x"[..])));
        assert_eq!(updates.find(b"bb").unwrap(), None);
        assert_eq!(updates.find(b"").unwrap(), None);
    }

    #[test]
    fn golden_bytes() {
        let bytes = encoded(&[set("k", "vw"), StateUpdate::Delete { key: "a".into() }]);
        let expected = b"\0\0\0\x02\0\0\0\x04\0\0\0\x0a\0\0\x01a\x01\0\x01kvw";
        assert_eq!(bytes, expected);
    }

    #[test]
    fn no_damage_panics() {
        let whole = encoded(&[set("k", "vw"), set("key", "value"), set("l", "")]);
        for at in 0..whole.len() {
            assert!(Updates::read(&whole[..at]).is_err());
            for flip in 1..=255 {
                let mut bytes = whole.clone();
                bytes[at] ^= flip;
                let Ok(updates) = Updates::read(&bytes) else {
                    continue;
                };
                for index in 0..updates.len() {
                    let _ = updates.entry(index);
                }
                let _ = updates.find(b"key");
            }
        }
    }
}
