//! Which signatures are valid: the crafted ones of signatures.json, on which implementations of
//! Ed25519 disagree. One alone and many together are judged alike, and as ed25519.py judges them.

use hotstuff::types::crypto::{all_verify, SignedDigest};
use hotstuff::types::{Signature, StatementDigest, ValidatorAddress};

struct Vector {
    name: String,
    claim: SignedDigest,
    valid: bool,
}

fn array<const N: usize>(value: &serde_json::Value) -> [u8; N] {
    let text = value.as_str().expect("a text");
    super::bytes(text).try_into().expect("its length")
}

fn vectors() -> Vec<Vector> {
    let path = super::folder().join("signatures.json");
    let text = std::fs::read(path).expect("it is part of the source");
    let vectors: Vec<serde_json::Value> = serde_json::from_slice(&text).expect("JSON");
    let vector = |it: serde_json::Value| Vector {
        name: it["name"].as_str().expect("a text").to_owned(),
        claim: SignedDigest {
            signature: Signature(array(&it["signature"])),
            signer: ValidatorAddress(array(&it["key"])),
            digest: StatementDigest(array(&it["digest"])),
        },
        valid: it["valid"].as_bool().expect("yes or no"),
    };
    vectors.into_iter().map(vector).collect()
}

fn named(name: &str) -> SignedDigest {
    let vectors = vectors();
    let vector = vectors.iter().find(|vector| vector.name == name);
    vector.expect("it is in signatures.json").claim
}

#[test]
fn one_signature_is_judged_as_the_rules_say() {
    let vectors = vectors();
    for Vector { name, claim, valid } in &vectors {
        let verifies = claim.signature.verifies(&claim.signer, &claim.digest);
        assert_eq!(verifies, *valid, "{name}");
        assert_eq!(all_verify(&[*claim]), *valid, "{name}");
    }
    let valid = vectors.iter().filter(|vector| vector.valid).count();
    assert_eq!((vectors.len(), valid), (244, 219));
}

#[test]
fn a_batch_is_valid_if_each_of_it_is() {
    let vectors = vectors();
    for (index, first) in vectors.iter().enumerate() {
        let (second, third) = (&vectors[0], &vectors[(index + 1) % vectors.len()]);
        let batch = [first.claim, second.claim, third.claim];
        let expected = first.valid && second.valid && third.valid;
        let what = format!("{}, {}, {}", first.name, second.name, third.name);
        assert_eq!(all_verify(&batch), expected, "{what}");
    }
}

#[test]
fn one_wrong_signature_spoils_a_large_batch() {
    let (valid, wrong): (Vec<_>, Vec<_>) = vectors().into_iter().partition(|it| it.valid);
    let mut batch: Vec<SignedDigest> = valid.iter().map(|vector| vector.claim).collect();
    assert!(all_verify(&batch) && all_verify(&[]));
    for (index, vector) in wrong.iter().enumerate() {
        batch.insert(index * 7, vector.claim);
        assert!(!all_verify(&batch), "{}", vector.name);
        batch.remove(index * 7);
    }
}

/// Their errors cancel each other out in a sum without coefficients, or with equal ones.
#[test]
fn wrong_signatures_do_not_make_each_other_right() {
    let (more, less) = (named("s plus one"), named("s minus one"));
    let right = named("as RFC 8032 makes it");
    for batch in [
        vec![more, less],
        vec![less, more],
        vec![more, right, less],
        vec![more, less, more, less],
        vec![more; 8],
    ] {
        assert!(!all_verify(&batch), "{batch:?}");
    }
}
