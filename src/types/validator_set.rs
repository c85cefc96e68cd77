//! Who may vote, and with what weight.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::limits::VALIDATORS_MAX;
use super::{codec, ValidatorAddress, ValidatorSetUpdate};

/// One validator and its voting power, which is never 0 in a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validator {
    pub address: ValidatorAddress,
    pub power: u64,
}

/// The validators of one epoch, sorted by address; the order of every certificate's slots.
///
/// With `T` the total power: a quorum is power `q` with `3q > 2T`, blocking power has `3p > T`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WireSet", into = "WireSet")]
pub struct ValidatorSet {
    members: Vec<Validator>,
    /// `upto[i]`: the power of members 0 to i together. The last one is the total.
    upto: Vec<u64>,
}

/// Why validators make no set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValidatorSetError {
    Empty,
    TooMany,
    /// An address stands twice.
    Duplicate(ValidatorAddress),
    /// A power of 0 where a member was expected.
    NoPower(ValidatorAddress),
    /// The total does not fit in 64 bits.
    Overflow,
}

impl fmt::Display for ValidatorSetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "a validator set needs at least one validator"),
            Self::TooMany => write!(f, "a validator set has at most {VALIDATORS_MAX} validators"),
            Self::Duplicate(who) => write!(f, "validator {who} is named twice"),
            Self::NoPower(who) => write!(f, "validator {who} has no power"),
            Self::Overflow => write!(f, "the total power does not fit in 64 bits"),
        }
    }
}

impl std::error::Error for ValidatorSetError {}

impl ValidatorSet {
    /// A set of `members`, in any order.
    ///
    /// # Errors
    /// [`ValidatorSetError`].
    pub fn new(members: impl IntoIterator<Item = Validator>) -> Result<Self, ValidatorSetError> {
        let mut members: Vec<Validator> = members.into_iter().collect();
        if members.is_empty() {
            return Err(ValidatorSetError::Empty);
        }
        if members.len() > VALIDATORS_MAX {
            return Err(ValidatorSetError::TooMany);
        }
        members.sort_by_key(|member| member.address);
        if let Some(twice) = members
            .windows(2)
            .find(|pair| pair[0].address == pair[1].address)
        {
            return Err(ValidatorSetError::Duplicate(twice[0].address));
        }
        if let Some(none) = members.iter().find(|member| member.power == 0) {
            return Err(ValidatorSetError::NoPower(none.address));
        }
        let mut total = 0_u64;
        let mut upto = Vec::with_capacity(members.len());
        for member in &members {
            total = total
                .checked_add(member.power)
                .ok_or(ValidatorSetError::Overflow)?;
            upto.push(total);
        }
        Ok(Self { members, upto })
    }

    /// The set after `updates`, each of which adds a validator, changes its power, or (power 0)
    /// removes it. Removing one that is not there changes nothing.
    ///
    /// # Errors
    /// [`ValidatorSetError`]: an address stands twice among the updates, or they make no set.
    pub fn updated(&self, updates: &[ValidatorSetUpdate]) -> Result<Self, ValidatorSetError> {
        let mut powers: BTreeMap<_, _> =
            self.members.iter().map(|m| (m.address, m.power)).collect();
        let mut named = BTreeSet::new();
        for update in updates {
            if !named.insert(update.validator) {
                return Err(ValidatorSetError::Duplicate(update.validator));
            }
            powers.insert(update.validator, update.power);
        }
        let members = powers.into_iter().filter(|(_, power)| *power > 0);
        Self::new(members.map(|(address, power)| Validator { address, power }))
    }

    /// The members, sorted by address.
    pub fn members(&self) -> &[Validator] {
        &self.members
    }

    /// How many members; at least 1.
    #[allow(clippy::len_without_is_empty)] // a set is never empty
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// The slot of `address` in certificates.
    pub fn index_of(&self, address: &ValidatorAddress) -> Option<usize> {
        self.members
            .binary_search_by_key(address, |member| member.address)
            .ok()
    }

    /// Whether `address` may vote.
    pub fn contains(&self, address: &ValidatorAddress) -> bool {
        self.index_of(address).is_some()
    }

    /// The power of all members together.
    pub fn total_power(&self) -> u64 {
        *self.upto.last().expect("a set is never empty")
    }

    /// The least power that is a quorum.
    pub fn quorum_power(&self) -> u64 {
        let least = u128::from(self.total_power()) * 2 / 3 + 1;
        u64::try_from(least).expect("2T/3 + 1 is at most T for T >= 1")
    }

    /// Whether `power` is a quorum: more than two thirds.
    pub fn is_quorum(&self, power: u64) -> bool {
        3 * u128::from(power) > 2 * u128::from(self.total_power())
    }

    /// Whether `power` is blocking: more than a third, so at least one of it is honest.
    pub fn is_blocking(&self, power: u64) -> bool {
        3 * u128::from(power) > u128::from(self.total_power())
    }

    /// The member whose interval of the prefix sums holds `point`, which must be below the total.
    pub fn member_at_power(&self, point: u64) -> &Validator {
        &self.members[self.upto.partition_point(|upto| *upto <= point)]
    }

    /// Whether all members have the same power.
    pub fn is_equal_power(&self) -> bool {
        self.members
            .iter()
            .all(|member| member.power == self.members[0].power)
    }
}

impl fmt::Debug for ValidatorSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.members.iter().map(|m| (m.address, m.power)))
            .finish()
    }
}

#[derive(Serialize, Deserialize)]
struct WireSet(
    #[serde(deserialize_with = "codec::bounded::<_, _, VALIDATORS_MAX>")] Vec<Validator>,
);

impl From<ValidatorSet> for WireSet {
    fn from(set: ValidatorSet) -> Self {
        WireSet(set.members)
    }
}

impl TryFrom<WireSet> for ValidatorSet {
    type Error = ValidatorSetError;

    fn try_from(wire: WireSet) -> Result<Self, ValidatorSetError> {
        ValidatorSet::new(wire.0) // an unsorted set is not canonical: the codec sees the difference
    }
}
