//! The verifier: what it has seen before does not change its verdict.

use hotstuff::algorithm::verify::{ed25519, Refusal, Verifier};
use hotstuff::messages::{Message, SyncMessage};
use hotstuff::types::{codec, Epoch};

use super::world;

pub fn verify(bytes: &[u8]) {
    let Ok(message) = codec::decode::<Message>(bytes, bytes.len()) else {
        return;
    };
    // Signatures are checked and remembered one by one: a refused message warms the cache, too.
    let mut verifier = verifier();
    let cold = judge(&mut verifier, message.clone());
    let warm = judge(&mut verifier, message.clone());
    assert_eq!(cold, warm, "{message:?}");
    assert_eq!(cold, judge(&mut self::verifier(), message));
}

fn judge(verifier: &mut Verifier, message: Message) -> Result<(), Refusal> {
    match message {
        Message::Progress(progress) => verifier.progress(progress).map(drop),
        Message::Sync(SyncMessage::Response(response)) => {
            verifier.sync_response(response).map(drop)
        }
        Message::Sync(SyncMessage::Request(_)) => Ok(()),
    }
}

fn verifier() -> Verifier {
    let genesis = world::genesis();
    let mut verifier = Verifier::new(genesis.hash(), ed25519);
    verifier.learn(Epoch(0), genesis.validator_set);
    verifier
}
