//! A simulated network between numbered replicas: it loses, delays, doubles, replays and cuts.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use hotstuff::messages::Message;

use crate::faults::{Counts, Kind};
use crate::rng::Rng;

/// One message on its way.
#[derive(Clone, Debug)]
pub struct Envelope {
    pub from: usize,
    pub to: usize,
    pub message: Arc<Message>,
}

/// What the network does to a message.
#[derive(Clone, Copy, Debug)]
pub struct Conditions {
    pub delay_min: u64,
    pub delay_max: u64,
    /// Of a thousand messages, so many take up to `tail_factor` times `delay_max`.
    pub tail_per_mille: u64,
    pub tail_factor: u64,
    pub loss_per_mille: u64,
    pub duplicate_per_mille: u64,
    pub replay_per_mille: u64,
}

impl Conditions {
    /// A good network: between `low` and `high` nanoseconds, and nothing goes wrong.
    pub fn calm(low: u64, high: u64) -> Self {
        Conditions {
            delay_min: low,
            delay_max: high,
            tail_per_mille: 0,
            tail_factor: 1,
            loss_per_mille: 0,
            duplicate_per_mille: 0,
            replay_per_mille: 0,
        }
    }
}

/// What becomes of messages on a link that is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    Lost,
    /// They wait until the link is mended.
    Held,
}

/// Old messages that a replay may pick from.
const REMEMBERED_MAX: usize = 128;
/// Messages that wait on cut links; what is more is lost.
const HELD_MAX: usize = 4_096;

pub struct Network {
    pub conditions: Conditions,
    cuts: BTreeMap<(usize, usize), Cut>,
    held: Vec<Envelope>,
    remembered: VecDeque<Envelope>,
    rng: Rng,
    pub sent: u64,
}

impl Network {
    pub fn new(conditions: Conditions, rng: Rng) -> Self {
        let (cuts, held, remembered) = Default::default();
        Network {
            conditions,
            cuts,
            held,
            remembered,
            rng,
            sent: 0,
        }
    }

    pub fn cut(&mut self, from: usize, to: usize, how: Cut) {
        self.cuts.insert((from, to), how);
    }

    /// Mends all links, and gives back what waited on them.
    pub fn mend(&mut self, counts: &mut Counts) -> Vec<(u64, Envelope)> {
        self.cuts.clear();
        let held = std::mem::take(&mut self.held);
        held.into_iter()
            .flat_map(|envelope| self.carry(envelope, counts))
            .collect()
    }

    /// Takes a message in, and says after how many nanoseconds it arrives, and what with it.
    pub fn send(&mut self, envelope: Envelope, counts: &mut Counts) -> Vec<(u64, Envelope)> {
        self.sent += 1;
        match self.cuts.get(&(envelope.from, envelope.to)) {
            Some(Cut::Held) if self.held.len() < HELD_MAX => {
                counts.add(Kind::Held);
                self.held.push(envelope);
                return Vec::new();
            }
            Some(_) => {
                counts.add(Kind::CutOff);
                return Vec::new();
            }
            None => {}
        }
        self.carry(envelope, counts)
    }

    fn carry(&mut self, envelope: Envelope, counts: &mut Counts) -> Vec<(u64, Envelope)> {
        let mut arrivals = Vec::with_capacity(1);
        if self.conditions.replay_per_mille > 0 {
            self.replay(&envelope, &mut arrivals, counts);
        }
        if self.rng.chance(self.conditions.loss_per_mille) {
            counts.add(Kind::Lost);
            return arrivals;
        }
        if self.rng.chance(self.conditions.duplicate_per_mille) {
            counts.add(Kind::Doubled);
            arrivals.push((self.delay(counts), envelope.clone()));
        }
        arrivals.push((self.delay(counts), envelope));
        arrivals
    }

    fn replay(
        &mut self,
        envelope: &Envelope,
        arrivals: &mut Vec<(u64, Envelope)>,
        counts: &mut Counts,
    ) {
        if !self.remembered.is_empty() && self.rng.chance(self.conditions.replay_per_mille) {
            counts.add(Kind::Replayed);
            let old = self.rng.pick(self.remembered.make_contiguous()).clone();
            arrivals.push((self.delay(counts), old));
        }
        if self.rng.chance(100) {
            if self.remembered.len() == REMEMBERED_MAX {
                let forgotten = self.rng.index(REMEMBERED_MAX);
                self.remembered.swap_remove_back(forgotten);
            }
            self.remembered.push_back(envelope.clone());
        }
    }

    fn delay(&mut self, counts: &mut Counts) -> u64 {
        let c = self.conditions;
        if self.rng.chance(c.tail_per_mille) {
            counts.add(Kind::Late);
            return self.rng.within(c.delay_max, c.delay_max * c.tail_factor);
        }
        self.rng.within(c.delay_min, c.delay_max)
    }
}
