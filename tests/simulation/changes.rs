//! Changes of the validator set that a case plans: who has which power in each epoch.
//!
//! Changes come one after the other: the command of the next one is invalid before the one before
//! has been committed, so a case has one history of sets, whoever proposes what and when.

use hotstuff::types::{ValidatorSetUpdate, ValidatorSetUpdates};

use crate::keys::address;
use crate::rng::Rng;

/// The power of each replica in one epoch; 0: no validator.
pub type Powers = Vec<u64>;

/// One update of the validator set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// When the hosts ask for it, in nanoseconds.
    pub at: u64,
    /// New powers by replica; 0 removes.
    pub updates: Vec<(usize, u64)>,
}

impl Change {
    /// As the app says it.
    pub fn updates(&self) -> ValidatorSetUpdates {
        let update = |(replica, power): &(usize, u64)| ValidatorSetUpdate {
            validator: address(*replica),
            power: *power,
        };
        self.updates.iter().map(update).collect()
    }

    /// The powers after it.
    pub fn apply(&self, powers: &Powers) -> Powers {
        let mut powers = powers.clone();
        for (replica, power) in &self.updates {
            powers[*replica] = *power;
        }
        powers
    }
}

/// What a change is drawn from.
pub struct Draw<'a> {
    pub powers: &'a Powers,
    /// Replicas that have a key.
    pub candidates: &'a [usize],
    /// Dead or wicked: together below a third in every set.
    pub is_faulty: &'a dyn Fn(usize) -> bool,
}

impl Draw<'_> {
    /// A random update that leaves a set which can go on; none if luck has it so.
    pub fn updates(&self, rng: &mut Rng) -> Option<Vec<(usize, u64)>> {
        (0..20).find_map(|_| {
            let updates = self.any(rng);
            let change = Change { at: 0, updates };
            let is_new = !change.updates.is_empty();
            (is_new && self.is_sound(&change.apply(self.powers))).then_some(change.updates)
        })
    }

    fn any(&self, rng: &mut Rng) -> Vec<(usize, u64)> {
        let (inside, outside): (Vec<usize>, Vec<usize>) = self
            .candidates
            .iter()
            .partition(|replica| self.powers[**replica] > 0);
        let power = self.powers[*rng.pick(&inside)];
        let mut updates = Vec::new();
        let kind = rng.below(6);
        if matches!(kind, 0 | 5) && !outside.is_empty() {
            updates.push((*rng.pick(&outside), power));
        }
        if matches!(kind, 1 | 5) {
            updates.push((*rng.pick(&inside), 0));
        }
        if matches!(kind, 2 | 5) {
            let replica = *rng.pick(&inside);
            updates.retain(|(other, _)| *other != replica);
            updates.push((replica, rng.within(1, power)));
        }
        if matches!(kind, 3 | 4) {
            // Everybody goes, and those who looked on come.
            updates.extend(outside.iter().map(|replica| (*replica, power)));
            updates.extend(inside.iter().map(|replica| (*replica, 0)));
        }
        updates
    }

    fn is_sound(&self, powers: &Powers) -> bool {
        let total: u128 = powers.iter().map(|power| u128::from(*power)).sum();
        let faulty = powers.iter().enumerate();
        let faulty = faulty.filter(|(replica, _)| (self.is_faulty)(*replica));
        let faulty: u128 = faulty.map(|(_, power)| u128::from(*power)).sum();
        total > 0 && total <= u128::from(u64::MAX) && 3 * faulty < total
    }
}
