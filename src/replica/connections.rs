//! To whom the network is to keep a connection: the validators, as epochs come and go. Alice's.
//!
//! A validator that is added is connected to when its epoch begins. One that is removed stays
//! connected until the new epoch has had its first QC, and [`LEAVE_AFTER_VIEWS`] views more: it may
//! hold, or still need, the Commit QC that ended its epoch.

use std::collections::{BTreeMap, BTreeSet};

use crate::algorithm::EpochRecord;
use crate::network::NetworkProvider;
use crate::types::{Epoch, Rank, ValidatorAddress, ValidatorSet};

use super::shared::Place;

/// Views between the first QC of an epoch and the end of the connections to those it has removed.
pub(super) const LEAVE_AFTER_VIEWS: u64 = 16;

/// Who is connected to, and who soon is no more.
pub(super) struct Connections {
    me: Option<ValidatorAddress>,
    validators: BTreeSet<ValidatorAddress>,
    leaving: BTreeMap<ValidatorAddress, Leaving>,
}

/// A removed validator.
struct Leaving {
    /// The first epoch without it.
    epoch: Epoch,
    /// Where that epoch was when its first QC was seen.
    since: Option<Rank>,
}

impl Connections {
    /// Connects to all of `set` but `me`.
    pub(super) fn open(
        me: Option<ValidatorAddress>,
        set: &ValidatorSet,
        network: &dyn NetworkProvider,
    ) -> Connections {
        let validators = others(me, set);
        validators.iter().for_each(|peer| network.connect(*peer));
        Connections {
            me,
            validators,
            leaving: BTreeMap::new(),
        }
    }

    /// An epoch has begun.
    pub(super) fn begin_epoch(&mut self, record: &EpochRecord, network: &dyn NetworkProvider) {
        let after = others(self.me, &record.validator_set);
        for added in after.difference(&self.validators) {
            if self.leaving.remove(added).is_none() {
                network.connect(*added);
            }
        }
        let leaving = || Leaving {
            epoch: record.epoch,
            since: None,
        };
        for removed in self.validators.difference(&after) {
            self.leaving.insert(*removed, leaving());
        }
        self.validators = after;
    }

    /// Alice is at `place`: disconnects those whose time has come.
    pub(super) fn settle(&mut self, place: Place, network: &dyn NetworkProvider) {
        self.leaving.retain(|peer, leaving| {
            let stays = !leaving.is_over(place);
            if !stays {
                network.disconnect(*peer);
            }
            stays
        });
    }
}

impl Leaving {
    fn is_over(&mut self, Place { at, highest_qc }: Place) -> bool {
        // The rank (epoch, 0) is the Commit QC's that began it.
        let has_qc = highest_qc.epoch > self.epoch
            || (highest_qc.epoch == self.epoch && highest_qc.view.0 > 0);
        if has_qc && self.since.is_none() {
            self.since = Some(at);
        }
        self.since.is_some_and(|since| {
            at.epoch > since.epoch || at.view >= since.view.plus(LEAVE_AFTER_VIEWS)
        })
    }
}

fn others(me: Option<ValidatorAddress>, set: &ValidatorSet) -> BTreeSet<ValidatorAddress> {
    let addresses = set.members().iter().map(|member| member.address);
    addresses.filter(|address| me != Some(*address)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;
    use crate::types::{Validator, ViewNumber};

    /// Notes what it is told: + for connect, - for disconnect.
    #[derive(Default)]
    struct Notes(Mutex<Vec<(char, u8)>>);

    impl Notes {
        fn take(&self) -> Vec<(char, u8)> {
            std::mem::take(&mut self.0.lock().unwrap())
        }
    }

    impl NetworkProvider for Notes {
        fn connect(&self, peer: ValidatorAddress) {
            self.0.lock().unwrap().push(('+', peer.0[0]));
        }
        fn disconnect(&self, peer: ValidatorAddress) {
            self.0.lock().unwrap().push(('-', peer.0[0]));
        }
        fn send(&self, _: ValidatorAddress, _: &[u8]) {}
        fn broadcast(&self, _: &[u8]) {}
        fn receive(&self, _: Duration) -> Option<(ValidatorAddress, Vec<u8>)> {
            None
        }
        fn wake(&self) {}
    }

    fn set(numbers: &[u8]) -> ValidatorSet {
        let member = |number: &u8| Validator {
            address: ValidatorAddress([*number; 32]),
            power: 1,
        };
        ValidatorSet::new(numbers.iter().map(member)).unwrap()
    }

    fn begin(epoch: u64, numbers: &[u8]) -> EpochRecord {
        EpochRecord {
            epoch: Epoch(epoch),
            validator_set: set(numbers),
            commit_qc: None,
        }
    }

    fn place(at: (u64, u64), highest_qc: (u64, u64)) -> Place {
        let rank = |(epoch, view)| Rank {
            epoch: Epoch(epoch),
            view: ViewNumber(view),
        };
        Place {
            at: rank(at),
            highest_qc: rank(highest_qc),
        }
    }

    #[test]
    fn the_removed_stay_until_the_new_epoch_is_well_under_way() {
        let network = Notes::default();
        let me = Some(ValidatorAddress([1; 32]));
        let mut connections = Connections::open(me, &set(&[1, 2, 3]), &network);
        assert_eq!(network.take(), [('+', 2), ('+', 3)]);
        connections.begin_epoch(&begin(1, &[1, 3, 4]), &network);
        assert_eq!(network.take(), [('+', 4)]);
        // However long the first QC of the epoch takes, and then so many views.
        connections.settle(place((1, 900), (1, 0)), &network);
        connections.settle(place((1, 901), (1, 900)), &network);
        connections.settle(place((1, 900 + LEAVE_AFTER_VIEWS), (1, 900)), &network);
        assert_eq!(network.take(), []);
        connections.settle(place((1, 901 + LEAVE_AFTER_VIEWS), (1, 900)), &network);
        assert_eq!(network.take(), [('-', 2)]);
        connections.settle(place((2, 1), (2, 0)), &network);
        assert_eq!(network.take(), [], "once");
    }

    #[test]
    fn who_comes_back_in_time_never_left() {
        let network = Notes::default();
        let mut connections = Connections::open(None, &set(&[1, 2]), &network);
        connections.begin_epoch(&begin(1, &[1]), &network);
        connections.settle(place((1, 2), (1, 1)), &network);
        connections.begin_epoch(&begin(2, &[1, 2]), &network);
        connections.settle(place((2, 99), (2, 98)), &network);
        assert_eq!(network.take(), [('+', 1), ('+', 2)]);
        // And one that is removed twice over has its time counted from the second.
        connections.begin_epoch(&begin(3, &[2]), &network);
        connections.settle(place((3, 1), (3, 0)), &network);
        connections.settle(place((3, 99), (3, 98)), &network);
        connections.settle(place((4, 1), (4, 0)), &network);
        assert_eq!(network.take(), [('-', 1)]);
    }
}
