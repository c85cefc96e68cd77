//! The faults that a case may plan, and the count of those that came to pass. A plan that did not
//! come to pass proves nothing: such a run fails.

use std::collections::BTreeMap;
use std::fmt;

use hotstuff::algorithm::{Step, Write};
use hotstuff::types::Phase;

use crate::disk::Failure;
use crate::network::Cut;

/// Faults by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Lost,
    Late,
    Doubled,
    Replayed,
    Held,
    CutOff,
    Partition,
    Crash,
    CrashBeforeWrite,
    CrashAfterWrite,
    CrashWhileSending,
    DiskFailure,
    WholeCluster,
    Dead,
    Pause,
    SlowApp,
    AppFailure,
    Unsigned,
    Withheld,
    Inflated,
    Equivocation,
    DoubleVote,
    BadBlock,
    Fork,
    Forgery,
    LyingAnswer,
    Flood,
    WrongEpoch,
    SetChange,
    ValidatorAdded,
    ValidatorRemoved,
    PowerChanged,
    SetReplaced,
    LeaderRemoved,
    CrashInPhases,
}

impl Kind {
    /// All of them: a long run in which one never came to pass proves nothing of it.
    pub const ALL: [Kind; 35] = [
        Kind::Lost,
        Kind::Late,
        Kind::Doubled,
        Kind::Replayed,
        Kind::Held,
        Kind::CutOff,
        Kind::Partition,
        Kind::Crash,
        Kind::CrashBeforeWrite,
        Kind::CrashAfterWrite,
        Kind::CrashWhileSending,
        Kind::DiskFailure,
        Kind::WholeCluster,
        Kind::Dead,
        Kind::Pause,
        Kind::SlowApp,
        Kind::AppFailure,
        Kind::Unsigned,
        Kind::Withheld,
        Kind::Inflated,
        Kind::Equivocation,
        Kind::DoubleVote,
        Kind::BadBlock,
        Kind::Fork,
        Kind::Forgery,
        Kind::LyingAnswer,
        Kind::Flood,
        Kind::WrongEpoch,
        Kind::SetChange,
        Kind::ValidatorAdded,
        Kind::ValidatorRemoved,
        Kind::PowerChanged,
        Kind::SetReplaced,
        Kind::LeaderRemoved,
        Kind::CrashInPhases,
    ];
}

/// When in a step a replica dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashPoint {
    Now,
    BeforeWrite,
    AfterWrite,
    WhileSending,
    Disk(Failure),
}

impl CrashPoint {
    pub fn kind(self) -> Kind {
        match self {
            CrashPoint::Now => Kind::Crash,
            CrashPoint::BeforeWrite => Kind::CrashBeforeWrite,
            CrashPoint::AfterWrite => Kind::CrashAfterWrite,
            CrashPoint::WhileSending => Kind::CrashWhileSending,
            CrashPoint::Disk(_) => Kind::DiskFailure,
        }
    }
}

/// In which step a replica dies: one that writes, and does this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    Speaks,
    Votes,
    TimesOut,
    Proposes,
    RaisesQc,
    KeepsTc,
    Inserts,
    Commits,
    /// Of a validator-set update.
    VotesIn(Phase),
    Nudges,
    ChangesEpoch,
}

impl Moment {
    pub fn has_come(self, step: &Step) -> bool {
        let does = |write: &Write| match self {
            Moment::Speaks => !step.is_quiet(),
            Moment::Votes => matches!(write, Write::CastVote(_)),
            Moment::TimesOut => matches!(write, Write::TimeOut(_)),
            Moment::Proposes => matches!(write, Write::StoreProposal(_)),
            Moment::RaisesQc => matches!(write, Write::SetHighestQc(_)),
            Moment::KeepsTc => matches!(write, Write::SetHighestTc(_)),
            Moment::Inserts => matches!(write, Write::InsertBlock { .. }),
            Moment::Commits => matches!(write, Write::CommitBlock { .. }),
            Moment::VotesIn(phase) => {
                matches!(write, Write::CastVote(vote) if vote.phase == phase)
            }
            Moment::Nudges => {
                matches!(write, Write::StoreProposal(proposal) if proposal.nudge.is_some())
            }
            Moment::ChangesEpoch => matches!(write, Write::ChangeEpoch(_)),
        };
        step.writes().iter().any(does)
    }
}

/// One planned fault.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Restarts after `down` nanoseconds.
    Crash {
        replica: usize,
        point: CrashPoint,
        down: u64,
    },
    CrashAll {
        down: u64,
    },
    Die {
        replica: usize,
    },
    Pause {
        replica: usize,
        nanos: u64,
    },
    /// Cuts these links (from, to) for a while.
    Partition {
        links: Vec<(usize, usize)>,
        how: Cut,
        nanos: u64,
    },
}

impl Fault {
    pub fn kind(&self) -> Kind {
        match self {
            Fault::Crash { point, .. } => point.kind(),
            Fault::CrashAll { .. } => Kind::WholeCluster,
            Fault::Die { .. } => Kind::Dead,
            Fault::Pause { .. } => Kind::Pause,
            Fault::Partition { .. } => Kind::Partition,
        }
    }
}

/// How many of each came to pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<Kind, u64>);

impl Counts {
    pub fn add(&mut self, kind: Kind) {
        *self.0.entry(kind).or_default() += 1;
    }

    pub fn of(&self, kind: Kind) -> u64 {
        self.0.get(&kind).copied().unwrap_or(0)
    }

    pub fn merge(&mut self, other: &Counts) {
        for (kind, count) in &other.0 {
            *self.0.entry(*kind).or_default() += count;
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Kind::ALL
            .iter()
            .try_for_each(|kind| writeln!(f, "  {kind:<20?} {:>10}", self.of(*kind)))
    }
}
