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
    /// The last epoch that any of them is in; the views are of it.
    pub epoch: u64,
    /// The longest time until a timer runs out, in nanoseconds.
    pub wait: u64,
    pub view_max: u64,
    pub qc_view_min: u64,
    pub commit_view_min: u64,
    /// Blocks that the one furthest behind lacks.
    pub missing: u64,
}

/// The wait of `view` among `n` validators, in nanoseconds.
pub fn wait(setup: &Setup, n: u64, qc_view: u64, commit_view: u64, view: u64) -> u64 {
    let without_qc = view.saturating_sub(qc_view + 1);
    let without_commit = view.saturating_sub(commit_view) / (n + 3);
    let factor = 1_u64 << without_qc.max(without_commit).min(32);
    (u64::from(setup.base_ms) * factor).min(u64::from(setup.max_ms)) * MILLIS
}

/// Who leads `view`. Whoever has no power is no validator.
pub fn leader(powers: &[u64], view: u64) -> usize {
    let members: Vec<usize> = (0..powers.len()).filter(|who| powers[*who] > 0).collect();
    if members.iter().all(|who| powers[*who] == powers[members[0]]) {
        return members[(view % members.len() as u64) as usize];
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

/// Nanoseconds until every correct replica has committed `blocks` more and made the changes of the
/// validator set that are still to come, from now on without faults.
///
/// First all come to one view: the timers in force run out once, and once more for those that were
/// a view behind; certificates are answered once a base time-out. Then views follow, each of the
/// length of a few message delays if its leader is alive, and of its whole wait if not; a chain of
/// consecutive certificates commits what is below. A change needs such a chain for what it waits
/// for, and one of its own, in the set that it ends; then all meet again in the new epoch, who may
/// have to fetch its first block. Clocks are off by a tenth either way. A replica that lacks blocks
/// asks its peers in turn, and each of the faulty ones may cost it a response time-out; an answer
/// holds at least three blocks, in the time of which the chain grows by two.
///
/// A wait too short for the network, below four delays, is taken to lose its view.
pub fn bound(setup: &Setup, standing: Standing, blocks: u64) -> u64 {
    let epochs = setup.powers_by_epoch();
    let Standing {
        epoch,
        wait: now,
        view_max,
        qc_view_min,
        commit_view_min,
        missing,
    } = standing;
    let base = u64::from(setup.base_ms) * MILLIS;
    let powers = &epochs[epoch as usize];
    let n = powers.iter().filter(|power| **power > 0).count() as u64;
    let longest = wait(setup, n, qc_view_min, commit_view_min, view_max + 1);
    let idle = u64::from(setup.max_idle_ms) * MILLIS;
    let hop = hop(setup);
    let meeting = now + 2 * longest + idle + 2 * base + 4 * hop;
    let faulty = (0..setup.replicas()).filter(|replica| !setup.survives(*replica));
    let sync = (faulty.count() as u64 + 2) * response_timeout(setup) + sync_interval(setup);

    let mut views = 0;
    let mut march = March::new(setup, powers, view_max + 1, qc_view_min, commit_view_min);
    for next in &epochs[epoch as usize + 1..] {
        march.chains(2);
        views += march.passed + 2 * base + 4 * hop + sync;
        march = March::new(setup, next, 1, 0, 0);
    }
    march.commits(blocks);
    views += march.passed;
    let fetching = (missing + blocks) * (hop + setup.habits.answer_max);
    (meeting + views + sync + fetching) * 5 / 4
}

/// A proposal and a vote, each through a network, a disk and an app.
fn hop(setup: &Setup) -> u64 {
    3 * setup.calm.delay_max + 6 * disk(setup) + 4 * setup.habits.answer_max
}

fn disk(setup: &Setup) -> u64 {
    let disks = setup.machines.iter().map(|machine| machine.disk_max);
    disks.max().unwrap_or(0)
}

/// View after view, in one epoch.
struct March<'a> {
    setup: &'a Setup,
    powers: &'a [u64],
    first: u64,
    view: u64,
    qc_view: u64,
    commit_view: u64,
    in_a_row: u64,
    /// Certified blocks that are not committed yet.
    above: u64,
    committed: u64,
    /// Nanoseconds.
    passed: u64,
}

impl<'a> March<'a> {
    fn new(setup: &'a Setup, powers: &'a [u64], view: u64, qc_view: u64, commit_view: u64) -> Self {
        March {
            setup,
            powers,
            first: view,
            view,
            qc_view,
            commit_view,
            in_a_row: 0,
            above: 0,
            committed: 0,
            passed: 0,
        }
    }

    fn chain(&self) -> u64 {
        match self.setup.commit_rule {
            CommitRule::TwoChain => 2,
            CommitRule::ThreeChain => 3,
        }
    }

    fn commits(&mut self, blocks: u64) {
        while self.committed < blocks + self.chain() {
            self.pass();
        }
    }

    /// So many chains, none of which shares a view with another.
    fn chains(&mut self, chains: u64) {
        for _ in 0..chains {
            self.in_a_row = 0;
            self.above = 0;
            while self.in_a_row < self.chain() {
                self.pass();
            }
        }
    }

    fn pass(&mut self) {
        let March { setup, view, .. } = *self;
        let n = self.powers.iter().filter(|power| **power > 0).count() as u64;
        let wait = wait(setup, n, self.qc_view, self.commit_view, view);
        let delays = 4 * setup.calm.delay_max + 6 * disk(setup) + 4 * setup.habits.answer_max;
        let survives = |view| setup.survives(leader(self.powers, view));
        let hop = hop(setup);
        if wait >= delays && survives(view) {
            self.passed += hop;
            if setup.vote_to == VoteTo::NextLeader && !survives(view + 1) {
                self.passed += wait + 2 * hop; // the votes went to a leader who keeps them
            }
            self.in_a_row += 1;
            self.above += 1;
            self.qc_view = view;
        } else {
            self.passed += wait + 2 * hop;
            self.in_a_row = 0;
        }
        let chain = self.chain();
        if self.in_a_row >= chain {
            self.committed += self.above - (chain - 1);
            self.above = chain - 1;
            self.commit_view = view;
        }
        self.view += 1;
        assert!(
            self.view < self.first + 10_000,
            "no chain of {chain} among the leaders: {setup:?}"
        );
    }
}

pub fn response_timeout(setup: &Setup) -> u64 {
    2 * u64::from(setup.base_ms) * MILLIS
}

pub fn sync_interval(setup: &Setup) -> u64 {
    10 * u64::from(setup.base_ms) * MILLIS
}
