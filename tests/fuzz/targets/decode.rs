//! Every decoder: what it accepts, it writes in the same bytes.

use std::fmt::Debug;

use hotstuff::algorithm::{EpochRecord, StoredProposal, VotingRecord};
use hotstuff::evidence::{Contradiction, Evidence, Signed};
use hotstuff::messages::*;
use hotstuff::proof::{CommitProof, EpochProof};
use hotstuff::types::codec::DecodeError;
use hotstuff::types::*;
use serde::de::DeserializeOwned;
use serde::Serialize;

type Decoder = (&'static str, fn(&[u8]));

/// Every public type that can be decoded; `tests/fuzz` compares the list with the source.
pub const DECODERS: &[Decoder] = &[
    ("Block", check::<Block>),
    ("BlockHeader", check::<BlockHeader>),
    ("Certificate", check::<Certificate>),
    ("ChainParameters", check::<ChainParameters>),
    ("CommitProof", check::<CommitProof>),
    ("CommitRule", check::<CommitRule>),
    ("LeaderRule", check::<LeaderRule>),
    ("Contradiction", check::<Contradiction>),
    ("EpochProof", check::<EpochProof>),
    ("EpochRecord", check::<EpochRecord>),
    ("Evidence", check::<Evidence>),
    ("Genesis", check::<Genesis>),
    ("Message", check::<Message>),
    ("Nudge", check::<Nudge>),
    ("Phase", check::<Phase>),
    ("ProgressMessage", check::<ProgressMessage>),
    ("Propose", check::<Propose>),
    ("QuorumCertificate", check::<QuorumCertificate>),
    ("Signed", check::<Signed<VoteStatement>>),
    ("StateUpdate", check::<StateUpdate>),
    ("StoredProposal", check::<StoredProposal>),
    ("SyncMessage", check::<SyncMessage>),
    ("SyncRequest", check::<SyncRequest>),
    ("SyncResponse", check::<SyncResponse>),
    ("TimeoutCertificate", check::<TimeoutCertificate>),
    ("TimeoutStatement", check::<TimeoutStatement>),
    ("TimeoutVote", check::<TimeoutVote>),
    ("Validator", check::<Validator>),
    ("ValidatorSet", check::<ValidatorSet>),
    ("ValidatorSetUpdate", check::<ValidatorSetUpdate>),
    ("Vote", check::<Vote>),
    ("VoteStatement", check::<VoteStatement>),
    ("VotingRecord", check::<VotingRecord>),
    ("Wake", check::<Wake>),
];

pub fn decode(bytes: &[u8]) {
    DECODERS.iter().for_each(|(_, check)| check(bytes));
}

fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) {
    let Ok(value) = codec::decode::<T>(bytes, bytes.len()) else {
        return;
    };
    assert_eq!(codec::encode(&value), bytes, "{value:?}");
    let mut buffer = b"used before".to_vec();
    codec::encode_into(&value, &mut buffer);
    assert_eq!(buffer, bytes);
    if let Some(less) = bytes.len().checked_sub(1) {
        assert_eq!(codec::decode::<T>(bytes, less), Err(DecodeError::TooLarge));
        assert!(
            codec::decode::<T>(&bytes[..less], less).is_err(),
            "{value:?} cut off"
        );
    }
    let longer = [bytes, &[0]].concat();
    let found = codec::decode::<T>(&longer, longer.len());
    assert_eq!(
        found,
        Err(DecodeError::TrailingBytes),
        "{value:?} and a byte"
    );
}
