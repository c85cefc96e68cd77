//! Views and time-outs: how long to wait, what to do when nothing comes, and when to be quiet.

use std::time::Duration;

use crate::messages::{Certificate, ProgressMessage, TimeoutVote};
use crate::types::{
    Rank, Statement, TimeoutStatement, ValidatorAddress, ViewNumber, WakeStatement,
};

use super::safety;
use super::step::{current, Then};
use super::{Algorithm, Event, To, Write};

/// The first wait for a leader who has not been heard for a rotation is so much shorter.
const UNHEARD_DIVISOR: u32 = 4;

impl Algorithm {
    /// How long the current view may take, were it not idle. A leader who has not voted for a
    /// rotation is probably dead: the first wait for him is short. He loses one view by it if he
    /// lives, since his late proposal is heard; after a view without a certificate all waits are
    /// whole again.
    fn wait_timeout(&self) -> Duration {
        let wait = self.pacemaker_wait();
        let is_backed_off = wait > self.base_timeout();
        if is_backed_off || self.has_heard(&self.leader()) {
            return wait;
        }
        wait / UNHEARD_DIVISOR
    }

    /// Whether `validator` has voted in the last n views. In the first n nobody is expected to.
    fn has_heard(&self, validator: &ValidatorAddress) -> bool {
        let rotation = self.validator_set().len() as u64;
        let first = ViewNumber(self.view.0.saturating_sub(rotation));
        first.0 == 0 || self.votes.has_heard(self.validator_set(), validator, first)
    }

    fn pacemaker_wait(&self) -> Duration {
        self.config.pacemaker.wait_timeout(
            self.validator_set(),
            self.highest_qc.rank().view,
            self.committed_view(),
            self.view,
        )
    }

    pub(super) fn committed_view(&self) -> ViewNumber {
        self.tree.head().view_in(self.epoch)
    }

    /// The wait of a view that follows a certificate and a commit.
    pub(super) fn base_timeout(&self) -> Duration {
        let view = ViewNumber(1);
        let before = view.previous();
        self.config
            .pacemaker
            .wait_timeout(self.validator_set(), before, before, view)
    }

    pub(super) fn max_idle(&self) -> Duration {
        Duration::from_millis(u64::from(self.config.parameters.max_idle_ms))
    }

    /// Idle: no block with data awaits its commit, nobody has woken the chain in the last n views,
    /// and nobody has said anything about this one.
    pub(super) fn is_idle(&self) -> bool {
        let rotation = self.validator_set().len() as u64;
        !self.is_view_active
            && !self.tree.data_awaits_commit()
            && self.view > self.woken.plus(rotation)
    }

    /// Upon entering a view, and once more upon voting in it.
    pub(super) fn start_timer(&mut self) {
        let idle = if self.is_idle() {
            self.max_idle()
        } else {
            Duration::ZERO
        };
        self.timer = self.now.after(self.wait_timeout() + idle);
    }

    /// The view is idle no longer: what is left of the idle wait is given up.
    fn shorten_timer(&mut self) {
        self.timer = self.timer.min(self.now.after(self.wait_timeout()));
    }

    /// A proposal, vote or time-out of this view: somebody counts on it.
    pub(super) fn see_activity(&mut self) {
        if !self.is_view_active {
            self.is_view_active = true;
            self.shorten_timer();
        }
    }

    pub(super) fn be_woken(&mut self, view: ViewNumber) {
        self.woken = self.woken.max(view).max(self.view);
        self.shorten_timer();
    }

    /// Upon the host's word that there is work.
    pub(super) fn on_notify(&mut self) {
        self.is_notified = true;
        self.wake_if_notified();
    }

    /// "My host has work", to all, if the view is idle and another validator leads it.
    pub(super) fn wake_if_notified(&mut self) {
        if self.is_notified && self.is_idle() && !self.is_leader() && self.is_validator() {
            self.be_woken(self.view);
            self.sign_wake();
        }
    }

    fn sign_wake(&mut self) {
        let statement = WakeStatement {
            epoch: self.epoch,
            view_num: self.view,
        };
        self.sign(Statement::Wake(statement), Then::Wake);
    }

    /// Upon the deadline: whatever of it is due.
    pub(super) fn on_timer(&mut self) {
        if self.now >= self.timer {
            self.hand_over_again();
            if self.is_validator() {
                self.time_out_highest();
            } else {
                self.start_timer(); // listeners run the same timers and sign nothing
            }
        }
        self.on_sync_deadline();
    }

    /// Times out the current view, or once more the later one that was joined.
    pub(super) fn time_out_highest(&mut self) {
        let joined = self
            .record
            .timed_out
            .filter(|(epoch, _)| *epoch == self.epoch);
        self.time_out(joined.map_or(self.view, |(_, view)| view.max(self.view)));
        if self.is_notified && !self.is_leader() && self.woken >= self.view {
            self.sign_wake(); // the first one may be lost
        }
    }

    /// Times out `view`: on disk first, then to all, with the highest QC and the last vote.
    pub(super) fn time_out(&mut self, view: ViewNumber) {
        let rank = Rank {
            epoch: self.epoch,
            view,
        };
        if !safety::has_timed_out(&self.record, rank) {
            self.record.timed_out = Some((self.epoch, view));
            self.writes.push(Write::TimeOut(rank));
            self.events.push(Event::ViewTimedOut { rank });
        }
        let qc_view = self.highest_qc.rank().view;
        let statement = TimeoutStatement {
            epoch: self.epoch,
            view_num: view,
            qc_view,
        };
        let last_vote = self.record.voted.filter(|vote| vote.epoch == self.epoch);
        let highest_qc = self.highest_qc.clone();
        self.sign(
            Statement::Timeout(statement),
            Then::TimeOut {
                highest_qc,
                last_vote,
            },
        );
        self.is_view_active = true;
        self.timer = self.now.after(self.wait_timeout());
    }

    /// Upon a time-out of this view or a later one: join it if blocking power has, and enter the
    /// view after it once a quorum has. To join is not to enter.
    pub(super) fn collect_timeout(&mut self, from: ValidatorAddress, timeout: &TimeoutVote) {
        if timeout.view_num == self.view {
            self.see_activity();
        }
        let set = &current(&self.epochs).validator_set;
        self.timeouts.add(set, timeout);
        if let Some(tc) = self.timeouts.certificate(set, self.epoch, timeout.view_num) {
            self.on_tc(&tc, from);
            let leader = self.leader_of(tc.view_num.next());
            if self.config.me != Some(leader) {
                let message = ProgressMessage::AdvanceView(Certificate::Timeout(tc));
                self.send_progress(To::Peer(leader), message);
            }
            return;
        }
        if let Some(view) = self.timeouts.blocking_view(set) {
            let rank = Rank {
                epoch: self.epoch,
                view,
            };
            let joins = view >= self.view && !safety::has_timed_out(&self.record, rank);
            if joins && self.is_validator() {
                self.time_out(view);
            }
        }
    }
}
