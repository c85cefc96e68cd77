//! How soon a healed cluster must have committed: computed, not guessed, from the waits in force,
//! the delays and the leaders to come. In its own arithmetic: the leaders and the waits are
//! calculated here again.

use hotstuff::algorithm::VoteTo;
use hotstuff::types::CommitRule;

use crate::setup::{Setup, MILLIS};

/// Blocks that every correct replica commits after healing.
pub const BLOCKS: u64 = 10;

/// Where the cluster stands when it is healed: the worst of all surviving replicas.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// The longest time until a timer runs out, in nanoseconds.
    pub wait: u64,
    pub view_max: u64,
    pub qc_view_min: u64,
    pub commit_view_min: u64,
    /// Blocks that the one furthest behind lacks.
    pub missing: u64,
}

/// The wait of `view`, in nanoseconds.
pub fn wait(setup: &Setup, qc_view: u64, commit_view: u64, view: u64) -> u64 {
    let n = setup.powers.len() as u64;
    let without_qc = view.saturating_sub(qc_view + 1);
    let without_commit = view.saturating_sub(commit_view) / (n + 3);
    let factor = 1_u64 << without_qc.max(without_commit).min(32);
    (u64::from(setup.base_ms) * factor).min(u64::from(setup.max_ms)) * MILLIS
}

/// Who leads `view`.
pub fn leader(powers: &[u64], view: u64) -> usize {
    if powers.iter().all(|power| *power == powers[0]) {
        return (view % powers.len() as u64) as usize;
    }
    let total: u128 = powers.iter().map(|power| u128::from(*power)).sum();
    let x = view.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut point = (u128::from(x) * total) >> 64;
    for (index, power) in powers.iter().enumerate() {
        match point.checked_sub(u128::from(*power)) {
            Some(rest) => point = rest,
            None => return index,
        }
    }
    unreachable!("the point lies below the total")
}

/// Nanoseconds until every correct replica has committed `blocks` more, from now on without faults.
///
/// First all come to one view: the timers in force run out once, and once more for those that were
/// a view behind; certificates are answered once a base time-out. Then views follow, each of the
/// length of a few message delays if its leader is alive, and of its whole wait if not; a chain of
/// consecutive certificates commits what is below. Clocks are off by a tenth either way. A replica
/// that lacks blocks asks its peers in turn, and each of the faulty ones may cost it a response
/// time-out; an answer holds at least three blocks, in the time of which the chain grows by two.
///
/// A wait too short for the network, below four delays, is taken to lose its view.
pub fn bound(setup: &Setup, standing: Standing, blocks: u64) -> u64 {
    let Standing {
        wait: now,
        view_max,
        qc_view_min,
        commit_view_min,
        missing,
    } = standing;
    let base = u64::from(setup.base_ms) * MILLIS;
    let delay = setup.calm.delay_max;
    let disk = setup
        .machines
        .iter()
        .map(|machine| machine.disk_max)
        .max()
        .unwrap_or(0);
    // A proposal and a vote, each through a network, a disk and an app.
    let hop = 3 * delay + 6 * disk + 4 * setup.habits.answer_max;
    let longest = wait(setup, qc_view_min, commit_view_min, view_max + 1);
    let idle = u64::from(setup.max_idle_ms) * MILLIS;
    let meeting = now + 2 * longest + idle + 2 * base + 4 * hop;

    let chain = match setup.commit_rule {
        CommitRule::TwoChain => 2,
        CommitRule::ThreeChain => 3,
    };
    let (mut views, mut in_a_row, mut above, mut committed) = (0, 0, 0, 0);
    let (mut qc_view, mut commit_view) = (qc_view_min, commit_view_min);
    let mut view = view_max + 1;
    while committed < blocks + chain {
        let wait = wait(setup, qc_view, commit_view, view);
        let is_long_enough = wait >= 4 * delay + 6 * disk + 4 * setup.habits.answer_max;
        let survives = |view| setup.survives(leader(&setup.powers, view));
        if is_long_enough && survives(view) {
            views += hop;
            if setup.vote_to == VoteTo::NextLeader && !survives(view + 1) {
                views += wait + 2 * hop; // the votes went to a leader who keeps them
            }
            in_a_row += 1;
            above += 1;
            qc_view = view;
        } else {
            views += wait + 2 * hop;
            in_a_row = 0;
        }
        if in_a_row >= chain {
            committed += above - (chain - 1);
            above = chain - 1;
            commit_view = view;
        }
        view += 1;
        assert!(
            view < view_max + 10_000,
            "no chain of {chain} among the leaders: {setup:?}"
        );
    }
    let faulty = (0..setup.powers.len())
        .filter(|replica| !setup.survives(*replica))
        .count() as u64;
    let sync = (faulty + 2) * response_timeout(setup) + sync_interval(setup);
    let fetching = (missing + blocks) * (hop + setup.habits.answer_max);
    (meeting + views + sync + fetching) * 5 / 4
}

pub fn response_timeout(setup: &Setup) -> u64 {
    2 * u64::from(setup.base_ms) * MILLIS
}

pub fn sync_interval(setup: &Setup) -> u64 {
    10 * u64::from(setup.base_ms) * MILLIS
}
