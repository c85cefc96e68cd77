//! What a replica's process and the test say to one another, over a local socket: frames of
//! `types::codec` behind their length. What a process has written is read to the end after its
//! death.

use std::io::{self, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use hotstuff::types::{codec, BlockHash};

/// From the process to the test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Said {
    /// What it found committed: the hashes of the last blocks.
    Opened { height: u64, last: Vec<BlockHash> },
    /// It did not start.
    Refused(String),
    /// A message on its way to the network.
    Sent(ByteBuf),
    Committed {
        height: u64,
        hash: BlockHash,
        commands: Vec<u64>,
    },
    /// A warning, or the reason why it stopped by itself.
    Warned(String),
}

/// From the test to the process: commands of clients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Commands(pub Vec<u64>);

const FRAME_BYTES_MAX: usize = 16 << 20;

/// Hashes in [`Said::Opened`].
pub const LAST_MAX: u64 = 512;

pub fn write<T: Serialize>(to: &mut impl Write, frame: &T) -> io::Result<()> {
    let bytes = codec::encode(frame);
    let length = u32::try_from(bytes.len()).expect("small");
    to.write_all(&[&length.to_le_bytes(), bytes.as_slice()].concat())
}

/// The next frame; `None` at the end. A frame that is cut off by a kill is the end, too: it was
/// written before what it tells of was done.
pub fn read<T: Serialize + DeserializeOwned>(from: &mut impl Read) -> Option<T> {
    let mut length = [0; 4];
    from.read_exact(&mut length).ok()?;
    let mut bytes = vec![0; u32::from_le_bytes(length) as usize];
    from.read_exact(&mut bytes).ok()?;
    Some(codec::decode(&bytes, FRAME_BYTES_MAX).expect("both ends are of one build"))
}
