//! Blocks.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::crypto::sha256;
use super::limits::VALIDATOR_SET_UPDATES_MAX;
use super::statement::TAG_BLOCK;
use super::{
    codec, BlockHash, BlockHeight, DataHash, Epoch, GenesisHash, QuorumCertificate, Rank,
    ValidatorSetUpdate, ValidatorSetUpdates, ViewNumber,
};

/// The bytes of a block, shared: they are copied out of the network, or in from the app, once and
/// never again.
#[derive(Clone, PartialEq, Eq)]
pub struct Data(pub Arc<Vec<u8>>);

impl Data {
    /// Shares `bytes`; those of a `Vec` are not copied.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Data(Arc::new(bytes.into()))
    }

    /// The data of a block that the library makes alone.
    pub fn empty() -> Self {
        Data::new([])
    }

    /// SHA-256 of the bytes.
    pub fn hash(&self) -> DataHash {
        DataHash(sha256(&[&self.0]))
    }
}

impl std::ops::Deref for Data {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Serialize for Data {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;

        impl serde::de::Visitor<'_> for Bytes {
            type Value = Data;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Data, E> {
                Ok(Data::new(bytes)) // the bytes are there: no declared length is believed
            }
        }

        deserializer.deserialize_bytes(Bytes)
    }
}

/// A block without its data: what is hashed, and what the core remembers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockHeader {
    pub height: BlockHeight,
    pub epoch: Epoch,
    pub view: ViewNumber,
    /// Certifies the parent, and so names it.
    pub justify: QuorumCertificate,
    pub data_hash: DataHash,
    #[serde(deserialize_with = "optional_updates")]
    pub validator_set_updates: Option<ValidatorSetUpdates>,
}

impl BlockHeader {
    /// The block's name: SHA-256 over a tag, the genesis hash and the canonical header.
    pub fn hash(&self, genesis: &GenesisHash) -> BlockHash {
        BlockHash(sha256(&[
            &TAG_BLOCK,
            genesis.as_bytes(),
            &codec::encode(self),
        ]))
    }

    /// The hash of the block it builds on; the genesis hash for the first block.
    pub const fn parent(&self) -> BlockHash {
        self.justify.block_hash
    }

    /// The view it was proposed in.
    pub const fn rank(&self) -> Rank {
        Rank {
            epoch: self.epoch,
            view: self.view,
        }
    }
}

fn optional_updates<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<ValidatorSetUpdates>, D::Error> {
    #[derive(Deserialize)]
    struct Updates(
        #[serde(deserialize_with = "codec::bounded::<_, _, VALIDATOR_SET_UPDATES_MAX>")]
        Vec<ValidatorSetUpdate>,
    );
    Ok(Option::<Updates>::deserialize(deserializer)?.map(|updates| updates.0))
}

/// A block: its header, and the data that the header's hash names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    pub header: BlockHeader,
    pub data: Data,
}

impl Block {
    /// See [`BlockHeader::hash`]. The data is covered by `data_hash`, which is not checked here.
    pub fn hash(&self, genesis: &GenesisHash) -> BlockHash {
        self.header.hash(genesis)
    }

    /// Whether the data is what the header names.
    pub fn data_matches(&self) -> bool {
        self.data.hash() == self.header.data_hash
    }
}
