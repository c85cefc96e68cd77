//! Hashes, keys and signatures. The only file that names a crypto crate.

use std::fmt;

use ring::signature::{Ed25519KeyPair, KeyPair as _, UnparsedPublicKey, ED25519};
use ring::{digest, rand, signature};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{StatementDigest, ValidatorAddress};

/// SHA-256 over the concatenation of `parts`.
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    parts.iter().for_each(|part| context.update(part));
    context
        .finish()
        .as_ref()
        .try_into()
        .expect("SHA-256 has 32 bytes")
}

/// An Ed25519 signature (RFC 8032).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signature(pub [u8; 64]);

impl Signature {
    /// Whether `signer` made this signature over `digest`. Cofactorless verification, as ring does
    /// it: one predicate of validity for all replicas.
    pub fn verifies(&self, signer: &ValidatorAddress, digest: &StatementDigest) -> bool {
        UnparsedPublicKey::new(&ED25519, &signer.0)
            .verify(&digest.0, &self.0)
            .is_ok()
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({:02x}{:02x}..)", self.0[0], self.0[1])
    }
}

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_bytes::ByteArray::new(self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = serde_bytes::ByteArray::<64>::deserialize(deserializer)?;
        Ok(Signature(bytes.into_array()))
    }
}

/// Why a key could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// The seed is not 32 bytes long.
    SeedLength,
    /// The bytes are no PKCS#8 Ed25519 key (RFC 8410).
    NotPkcs8,
    /// The operating system gave no random bytes.
    NoEntropy,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            KeyError::SeedLength => "an Ed25519 seed has 32 bytes",
            KeyError::NotPkcs8 => "not an Ed25519 key in PKCS#8 (RFC 8410)",
            KeyError::NoEntropy => "the operating system gave no random bytes",
        })
    }
}

impl std::error::Error for KeyError {}

/// An Ed25519 key pair. Its seed is overwritten when it is dropped.
pub struct KeyPair {
    seed: Seed,
    pair: Ed25519KeyPair,
}

struct Seed([u8; 32]);

impl Drop for Seed {
    fn drop(&mut self) {
        self.0.fill(0);
        std::hint::black_box(&self.0); // keeps the write
    }
}

/// PKCS#8 v1 around an Ed25519 seed (RFC 8410, section 7): everything before the seed is constant.
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20,
];

impl KeyPair {
    /// A new random key.
    ///
    /// # Errors
    /// [`KeyError::NoEntropy`].
    pub fn generate() -> Result<KeyPair, KeyError> {
        let mut seed = Seed([0; 32]);
        rand::SecureRandom::fill(&rand::SystemRandom::new(), &mut seed.0)
            .map_err(|_| KeyError::NoEntropy)?;
        KeyPair::from_seed(&seed.0)
    }

    /// The key of a 32-byte seed (RFC 8032, section 5.1.5).
    ///
    /// # Errors
    /// [`KeyError::SeedLength`].
    pub fn from_seed(seed: &[u8]) -> Result<KeyPair, KeyError> {
        let bytes: [u8; 32] = seed.try_into().map_err(|_| KeyError::SeedLength)?;
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| KeyError::SeedLength)?;
        Ok(KeyPair {
            seed: Seed(bytes),
            pair,
        })
    }

    /// Reads PKCS#8, version 1 or 2.
    ///
    /// # Errors
    /// [`KeyError::NotPkcs8`].
    pub fn from_pkcs8(der: &[u8]) -> Result<KeyPair, KeyError> {
        let pair =
            Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|_| KeyError::NotPkcs8)?;
        // ring has checked the structure; the seed stands at one fixed place in both versions.
        let seed = der.get(16..48).ok_or(KeyError::NotPkcs8)?;
        let key = KeyPair::from_seed(seed)?;
        let same = key.pair.public_key().as_ref() == pair.public_key().as_ref();
        if same {
            Ok(key)
        } else {
            Err(KeyError::NotPkcs8)
        }
    }

    /// The key as PKCS#8 version 1: what OpenSSL writes.
    pub fn to_pkcs8(&self) -> Vec<u8> {
        [PKCS8_PREFIX.as_slice(), &self.seed.0].concat()
    }

    /// The validator this key speaks for.
    pub fn address(&self) -> ValidatorAddress {
        let bytes = self.pair.public_key().as_ref();
        ValidatorAddress(
            bytes
                .try_into()
                .expect("an Ed25519 public key has 32 bytes"),
        )
    }

    /// Signs a statement.
    pub fn sign(&self, digest: &StatementDigest) -> Signature {
        Signature(signature_bytes(self.pair.sign(&digest.0)))
    }

    /// A second handle on the same key.
    #[must_use]
    pub fn duplicate(&self) -> KeyPair {
        KeyPair::from_seed(&self.seed.0).expect("a seed that made a key makes it again")
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPair({:?})", self.address())
    }
}

fn signature_bytes(signature: signature::Signature) -> [u8; 64] {
    signature
        .as_ref()
        .try_into()
        .expect("an Ed25519 signature has 64 bytes")
}
