//! Under which key a peer is met, where that is not its validator's: whose validator key is in a
//! security module proves another one to its peers. Inside the transport there are only the keys
//! that are proved; here, at its edge, they become validators and back.

use std::collections::BTreeMap;

use super::config::{TcpConfig, TcpError};
use crate::types::ValidatorAddress;

/// Both ways. Who is not named is met under its own key.
#[derive(Debug, Default)]
pub struct Keys {
    key_of: BTreeMap<ValidatorAddress, ValidatorAddress>,
    peer_of: BTreeMap<ValidatorAddress, ValidatorAddress>,
}

impl Keys {
    /// # Errors
    /// [`TcpError::KeyTwice`]: a key stands for two peers, or for one and for this end.
    pub fn new(config: &TcpConfig, own: ValidatorAddress) -> Result<Keys, TcpError> {
        let mut keys = Keys::default();
        for (peer, key) in &config.peer_keys {
            let is_taken = *key == own || keys.peer_of.insert(*key, *peer).is_some();
            if is_taken || keys.key_of.insert(*peer, *key).is_some() {
                return Err(TcpError::KeyTwice { peer: *peer });
            }
        }
        let both = |peer: &ValidatorAddress| {
            keys.peer_of.contains_key(peer) && !keys.key_of.contains_key(peer)
        };
        match config.peers.iter().find(|(peer, _)| both(peer)) {
            Some((peer, _)) => Err(TcpError::KeyTwice { peer: *peer }),
            None => Ok(keys),
        }
    }

    /// What `peer` proves.
    pub fn key_of(&self, peer: ValidatorAddress) -> ValidatorAddress {
        self.key_of.get(&peer).copied().unwrap_or(peer)
    }

    /// Who proves `key`.
    pub fn peer_of(&self, key: ValidatorAddress) -> ValidatorAddress {
        self.peer_of.get(&key).copied().unwrap_or(key)
    }
}
