//! Hashes, keys and signatures. The only file that names a crypto crate.
//!
//! ring signs and hashes. Whether a signature is valid says ed25519-zebra alone, by the rules of
//! ZIP-215: they say yes or no to every string of bytes, and the same of one signature as of a
//! batch. RFC 8032 leaves both open, and a replica that calls a certificate valid which others
//! call invalid is a fork; so every check of a protocol signature ends here, in every language.

use std::convert::Infallible;
use std::fmt;

use ed25519_zebra::{batch, VerificationKey, VerificationKeyBytes};
use rand_core::{TryCryptoRng, TryRng};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use ring::{digest, rand, signature};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{StatementDigest, ValidatorAddress};

/// SHA-256 over the concatenation of `parts`.
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    parts.iter().for_each(|part| context.update(part));
    hash_bytes(context.finish())
}

fn hash_bytes(hash: digest::Digest) -> [u8; 32] {
    hash.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// An Ed25519 signature (RFC 8032).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signature(pub [u8; 64]);

impl Signature {
    /// Whether `signer` made this signature over `digest`, by ZIP-215: `s` is below the order of
    /// the group, `R` and the key are points in any encoding, and the equation holds when both
    /// sides are multiplied by the cofactor 8.
    pub fn verifies(&self, signer: &ValidatorAddress, digest: &StatementDigest) -> bool {
        VerificationKey::try_from(signer.0)
            .and_then(|key| key.verify(&self.0.into(), &digest.0))
            .is_ok()
    }
}

/// The claim that `signer` has signed `digest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SignedDigest {
    /// Where two claims differ first, most often.
    pub signature: Signature,
    /// Whose signature it is to be.
    pub signer: ValidatorAddress,
    /// What is to be signed.
    pub digest: StatementDigest,
}

/// Whether all claims are true: what [`Signature::verifies`] says of each, in one equation, for
/// about half the work. It does not say which one is false.
///
/// The equation is the sum of all single ones, each times a coefficient of 128 bits. False claims
/// cancel each other out in it only if the coefficients allow; these come from the hash of all
/// claims, so whoever makes the claims has chosen before they are known, and must try 2^128 times:
/// what forging one signature costs. No chance is needed, so a check can be repeated.
pub fn all_verify(claims: &[SignedDigest]) -> bool {
    if let [claim] = claims {
        return claim.signature.verifies(&claim.signer, &claim.digest);
    }
    let mut verifier = batch::Verifier::new();
    for claim in claims {
        let key = VerificationKeyBytes::from(claim.signer.0);
        verifier.queue((key, claim.signature.0.into(), &claim.digest.0));
    }
    verifier.verify(Coefficients::of(claims)).is_ok()
}

/// SHA-256 in counter mode, from the hash of all claims. Which claim is given which coefficient is
/// up to the crate, and makes no difference.
struct Coefficients {
    seed: [u8; 32],
    drawn: u64,
}

impl Coefficients {
    fn of(claims: &[SignedDigest]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"hotstuff/1 batch");
        for claim in claims {
            context.update(&claim.signature.0);
            context.update(&claim.signer.0);
            context.update(&claim.digest.0);
        }
        Coefficients {
            seed: hash_bytes(context.finish()),
            drawn: 0,
        }
    }
}

impl TryRng for Coefficients {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(32) {
            let hash = sha256(&[&self.seed, &self.drawn.to_le_bytes()]);
            chunk.copy_from_slice(&hash[..chunk.len()]);
            self.drawn += 1;
        }
        Ok(())
    }
}

impl TryCryptoRng for Coefficients {}

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
