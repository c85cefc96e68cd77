//! Keys and signatures without cryptography: a signature is a mix of its signer and what it signs.
//! Everyone could forge one, and by convention nobody does: an actor signs with its own key only.

use hotstuff::algorithm::{SignError, Signer};
use hotstuff::types::crypto::SignedDigest;
use hotstuff::types::{Signature, Statement, StatementDigest, ValidatorAddress};

use crate::rng::mix;

/// The address of replica `index`. Addresses sort like indices, so that traces can be read.
pub fn address(index: usize) -> ValidatorAddress {
    let mut bytes = [0; 32];
    bytes[0] = u8::try_from(index).expect("a few replicas");
    bytes[8..16].copy_from_slice(&mix(index as u64 + 1).to_le_bytes());
    ValidatorAddress(bytes)
}

/// The replica with this address.
pub fn index_of(address: &ValidatorAddress) -> usize {
    usize::from(address.0[0])
}

/// The signature that the key of `signer` makes.
pub fn sign(signer: &ValidatorAddress, digest: &StatementDigest) -> Signature {
    let word = |bytes: &[u8; 32], at: usize| {
        u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
    };
    let mut sum = word(&signer.0, 0);
    for at in [0, 8, 16, 24] {
        sum = mix(sum.rotate_left(7) ^ word(&digest.0, at));
    }
    let mut bytes = [0; 64];
    bytes[..8].copy_from_slice(&sum.to_le_bytes());
    bytes[8] = signer.0[0];
    Signature(bytes)
}

/// What a [`hotstuff::algorithm::verify::Verifier`] asks in place of Ed25519.
pub fn check(signer: &ValidatorAddress, digest: &StatementDigest, signature: &Signature) -> bool {
    sign(signer, digest) == *signature
}

/// The same, of many.
pub fn check_all(claims: &[SignedDigest]) -> bool {
    let mut claims = claims.iter();
    claims.all(|claim| check(&claim.signer, &claim.digest, &claim.signature))
}

/// Holds one key. It refuses now and then, as a key in a box on the network may.
pub struct SimSigner {
    pub address: ValidatorAddress,
    pub refuses: bool,
}

impl Signer for SimSigner {
    fn sign(&self, _: &Statement, digest: &StatementDigest) -> Result<Signature, SignError> {
        if self.refuses {
            return Err(SignError("the key is not to be reached".into()));
        }
        Ok(sign(&self.address, digest))
    }
}
