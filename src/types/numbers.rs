//! Numbers and names that must not be mistaken for one another.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[derive(Serialize, Deserialize)]
        pub struct $name(pub u64);

        impl $name {
            /// The number after this one. Stays at the greatest, which no replica ever reaches.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }

            /// The number before this one; zero stays zero.
            #[must_use]
            pub const fn previous(self) -> Self {
                Self(self.0.saturating_sub(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// Distinguishes chains; part of the genesis, and through it of every hash and signature.
    ChainId
}
number! {
    /// The reign of one validator set; 0 is the genesis's.
    Epoch
}
number! {
    /// A view, numbered from 1 in each epoch; 0 is the rank of the certificate that began it.
    ViewNumber
}
number! {
    /// Distance from the genesis, which has height 0 and is no block.
    BlockHeight
}

impl ViewNumber {
    /// The view `distance` later.
    #[must_use]
    pub const fn plus(self, distance: u64) -> Self {
        Self(self.0.saturating_add(distance))
    }
}

/// Where a certificate stands: by epoch, then by view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rank {
    pub epoch: Epoch,
    pub view: ViewNumber,
}

impl fmt::Display for Rank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}, {})", self.epoch, self.view)
    }
}

macro_rules! digest {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[derive(Serialize, Deserialize)]
        pub struct $name(pub [u8; 32]);

        impl $name {
            /// The bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            /// All 64 hexadecimal digits; `{:.8}` prints the first eight.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let digits = f.precision().unwrap_or(64);
                self.0
                    .iter()
                    .flat_map(|byte| [byte >> 4, byte & 15])
                    .take(digits)
                    .try_for_each(|nibble| write!(f, "{nibble:x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self:.8}")
            }
        }
    };
}

digest! {
    /// SHA-256 of a block's header under the genesis hash. Computed, never believed.
    BlockHash
}
digest! {
    /// SHA-256 of a block's data.
    DataHash
}
digest! {
    /// SHA-256 of everything that all replicas of a chain must agree on before it starts.
    GenesisHash
}
digest! {
    /// The Ed25519 public key of a validator, which is its name.
    ValidatorAddress
}
digest! {
    /// SHA-256 of a statement: what is signed.
    StatementDigest
}

impl GenesisHash {
    /// The genesis hash in the place of a block hash: the parent of the first block.
    pub const fn as_block_hash(self) -> BlockHash {
        BlockHash(self.0)
    }
}
