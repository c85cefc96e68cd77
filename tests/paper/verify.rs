//! Each signature is checked once, those of a message together, and a certificate as a whole.

use std::cell::RefCell;

use hotstuff::algorithm::verify::{ed25519, Refusal, Verifier};
use hotstuff::messages::{Certificate, ProgressMessage};
use hotstuff::types::crypto::SignedDigest;
use hotstuff::types::{Epoch, QuorumCertificate, Signature};

use crate::fixture::Fixture;

thread_local!(static CHECKED: RefCell<Vec<usize>> = RefCell::default());

fn counted(claims: &[SignedDigest]) -> bool {
    CHECKED.with_borrow_mut(|checked| checked.push(claims.len()));
    ed25519(claims)
}

/// How many signatures each check was asked for, since the last call.
fn checked() -> Vec<usize> {
    CHECKED.take()
}

fn verifier(f: &Fixture) -> Verifier {
    let mut verifier = Verifier::new(f.hash(), counted);
    verifier.learn(Epoch(0), f.set_of(0));
    verifier
}

fn judge(verifier: &mut Verifier, message: ProgressMessage) -> Result<(), Refusal> {
    verifier.progress(message).map(drop)
}

fn advance(qc: &QuorumCertificate) -> ProgressMessage {
    ProgressMessage::AdvanceView(Certificate::Quorum(qc.clone()))
}

#[test]
fn what_has_verified_is_not_checked_again() {
    let f = Fixture::new();
    let blocks = f.chain(&[1, 2]);
    let qc = &blocks[1].header.justify;
    let mut verifier = verifier(&f);
    assert_eq!(judge(&mut verifier, advance(qc)), Ok(()));
    assert_eq!(checked(), [3], "all in one go");
    assert_eq!(judge(&mut verifier, advance(qc)), Ok(()));
    assert_eq!(checked(), [], "the certificate is known");
    assert_eq!(judge(&mut verifier, f.proposal(&blocks[1], None)), Ok(()));
    assert_eq!(checked(), [1], "the leader's vote");

    let tc = ProgressMessage::AdvanceView(Certificate::Timeout(f.tc(4, qc)));
    assert_eq!(judge(&mut verifier, tc.clone()), Ok(()));
    assert_eq!(checked(), [3], "the time-outs; their QC is known");
    assert_eq!(judge(&mut verifier, tc), Ok(()));
    assert_eq!(checked(), []);

    let others = f.others();
    let like_it = f.qc(qc.statement(), &[f.me(), others[0], others[1]]);
    assert_eq!(judge(&mut verifier, advance(&like_it)), Ok(()));
    assert_eq!(checked(), [1], "the signature that is new");
}

#[test]
fn a_proposal_is_checked_in_one_go() {
    let f = Fixture::new();
    let qc = f.chain(&[1, 2])[1].header.justify.clone();
    let block = f.block(5, 2, &qc, b"");
    let proposal = f.proposal(&block, Some(f.tc(4, &qc)));
    assert_eq!(judge(&mut verifier(&f), proposal), Ok(()));
    assert_eq!(
        checked(),
        [1 + 3 + 3],
        "the vote, the QC, the time-outs; the same QC once"
    );
}

/// Adds to the number in the second half of a signature.
fn shifted(signature: &Signature, by: i16) -> Signature {
    let mut bytes = signature.0;
    let mut carry = by;
    for byte in &mut bytes[32..] {
        let sum = i16::from(*byte) + carry;
        *byte = sum.rem_euclid(256) as u8;
        carry = sum.div_euclid(256);
    }
    Signature(bytes)
}

/// Their errors cancel each other out in a plain sum.
#[test]
fn a_certificate_with_two_wrong_signatures_is_refused_and_nothing_of_it_kept() {
    let f = Fixture::new();
    let right = f.chain(&[1, 2])[1].header.justify.clone();
    let mut wrong = right.clone();
    let mut slots = wrong.signatures.iter_mut().flatten();
    for by in [1, -1] {
        let signature = slots.next().expect("a quorum");
        *signature = shifted(signature, by);
    }
    let mut verifier = verifier(&f);
    let refused = judge(&mut verifier, advance(&wrong));
    assert_eq!(refused, Err(Refusal::WrongSignature));
    assert_eq!(checked(), [3]);
    assert_eq!(judge(&mut verifier, advance(&right)), Ok(()));
    assert_eq!(checked(), [3]);
}

/// The filter checks the votes that wait together; which one is wrong is said by its own message.
#[test]
fn of_votes_that_are_checked_together_the_wrong_one_is_named() {
    let f = Fixture::new();
    let block = &f.chain(&[1])[0];
    let mut votes = [1, 2, 3].map(|who| f.vote(who, f.statement(block)));
    let mut known = verifier(&f);
    known.check_together(&votes);
    assert_eq!(checked(), [3]);
    for vote in &votes {
        assert_eq!(judge(&mut known, ProgressMessage::Vote(*vote)), Ok(()));
    }
    assert_eq!(checked(), [], "they are known");

    votes[1].signature = shifted(&votes[1].signature, 1);
    let mut verifier = verifier(&f);
    verifier.check_together(&votes);
    let judged = votes.map(|vote| judge(&mut verifier, ProgressMessage::Vote(vote)));
    assert_eq!(judged, [Ok(()), Err(Refusal::WrongSignature), Ok(())]);
    assert_eq!(checked(), [3, 1, 1, 1]);
}
