//! The only parser of foreign bytes: postcard, canonical and length-limited.
//!
//! Canonical: of all byte strings that postcard would read as one value, only the one that it
//! writes is accepted. Else a signed or hashed value could travel under two names.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// Why bytes were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DecodeError {
    /// More bytes than the caller allows.
    TooLarge,
    /// Truncated, or no value of the type.
    Malformed,
    /// A value, and something after it.
    TrailingBytes,
    /// A value, in other bytes than its own.
    NotCanonical,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DecodeError::TooLarge => "more bytes than allowed",
            DecodeError::Malformed => "truncated or malformed",
            DecodeError::TrailingBytes => "bytes after the end",
            DecodeError::NotCanonical => "not the canonical encoding",
        })
    }
}

impl std::error::Error for DecodeError {}

/// Room that an encoding is given at once: what most need, of a few validators.
const USUAL_BYTES: usize = 512;

/// The canonical bytes of `value`.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    postcard::to_extend(value, Vec::with_capacity(USUAL_BYTES))
        .expect("types of this crate have lengths and write to memory")
}

/// The same, into `buffer`, which is emptied first and keeps its capacity.
pub fn encode_into<T: Serialize + ?Sized>(value: &T, buffer: &mut Vec<u8>) {
    buffer.clear();
    let taken = std::mem::take(buffer);
    *buffer = postcard::to_extend(value, taken).expect("see `encode`");
}

/// Reads one value that fills `bytes` exactly.
///
/// # Errors
/// [`DecodeError`]; nothing is kept of what was read.
pub fn decode<T: Serialize + DeserializeOwned>(
    bytes: &[u8],
    bytes_max: usize,
) -> Result<T, DecodeError> {
    if bytes.len() > bytes_max {
        return Err(DecodeError::TooLarge);
    }
    let (value, rest) =
        postcard::take_from_bytes::<T>(bytes).map_err(|_| DecodeError::Malformed)?;
    if !rest.is_empty() {
        return Err(DecodeError::TrailingBytes);
    }
    postcard::serialize_with_flavor(&value, Same { expected: bytes })
        .map_err(|_| DecodeError::NotCanonical)?;
    Ok(value)
}

/// A postcard sink that holds nothing and fails at the first byte that is not the expected one.
struct Same<'a> {
    expected: &'a [u8],
}

impl postcard::ser_flavors::Flavor for Same<'_> {
    type Output = ();

    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        let rest = self.expected.strip_prefix(data);
        self.expected = rest.ok_or(postcard::Error::SerializeBufferFull)?;
        Ok(())
    }

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.try_extend(&[byte])
    }

    fn finalize(self) -> postcard::Result<()> {
        if self.expected.is_empty() {
            Ok(())
        } else {
            Err(postcard::Error::SerializeBufferFull)
        }
    }
}

/// Reads a sequence of at most `MAX` items, and stops before the one too many is allocated. For
/// `#[serde(deserialize_with = "codec::bounded::<_, _, MAX>")]`.
pub(crate) fn bounded<'de, D, T, const MAX: usize>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Bounded<T, const MAX: usize>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Bounded<T, MAX> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {MAX} items")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
            let mut out = Vec::with_capacity(items.size_hint().unwrap_or(0).min(64));
            while let Some(item) = items.next_element()? {
                if out.len() == MAX {
                    return Err(A::Error::custom("too many items"));
                }
                out.push(item);
            }
            Ok(out)
        }
    }

    deserializer.deserialize_seq(Bounded::<T, MAX>(PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_in_more_bytes_than_it_needs_is_refused() {
        assert_eq!(decode::<u64>(&[5], 8), Ok(5));
        assert_eq!(decode::<u64>(&[0x85, 0], 8), Err(DecodeError::NotCanonical));
    }

    #[test]
    fn the_edges_are_refused() {
        assert_eq!(decode::<u64>(&[5, 5], 8), Err(DecodeError::TrailingBytes));
        assert_eq!(decode::<u64>(&[0x85], 8), Err(DecodeError::Malformed));
        assert_eq!(decode::<u64>(&[5; 9], 8), Err(DecodeError::TooLarge));
        assert_eq!(decode::<u64>(&[], 8), Err(DecodeError::Malformed));
    }

    #[test]
    fn a_declared_length_is_not_believed() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Few(#[serde(deserialize_with = "bounded::<_, _, 2>")] Vec<Option<u8>>);
        assert_eq!(decode::<Few>(&[2, 0, 0], 8), Ok(Few(vec![None, None])));
        assert_eq!(decode::<Few>(&[3, 0, 0, 0], 8), Err(DecodeError::Malformed));
        assert_eq!(
            decode::<Few>(&[0xff, 0xff, 0xff, 0x7f], 8),
            Err(DecodeError::Malformed)
        );
    }
}
