//! The search: every state that three honest replicas and a liar can come to, breadth first.
//!
//! The network forgets nothing and promises nothing: whatever was sent can be delivered to anybody
//! at any later time, or never. The liar sees all, and assembles certificates from what was signed
//! and its own signature; so certificates are what is delivered, not single votes and time-outs.
//! In each of its views it proposes one block or two, on any certificate that there
//! is, with a certificate of time-outs or with none, to whomever it likes.
//!
//! What a replica takes in without saying anything new concerns nobody else, and could as well
//! happen just before it next says something: the messages do not go away. So a step of the whole
//! is one new word of one replica, with all that it took in before (its *closure*), and no order
//! of silent steps is told from another. For the same reason what replicas can silently commit,
//! they can commit all at once: a state is a fork if two of them can commit different blocks.
//!
//! A block that is neither voted for nor certified is delivered and judged, but the search does not
//! go on from there: it can be delivered again when it matters.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hotstuff::algorithm::VoteTo;
use hotstuff::messages::{Certificate, Message, ProgressMessage, Propose, Vote};
use hotstuff::pacemaker::Pacemaker;
use hotstuff::types::{
    Block, BlockHash, BlockHeader, BlockHeight, CommitRule, Data, Epoch, GenesisHash, Phase,
    QuorumCertificate, Signature, TimeoutCertificate, ValidatorAddress, ValidatorSet, ViewNumber,
    VoteStatement,
};

use crate::keys::{address, index_of};
use crate::local::{Happening, Local, Locals, Said};
use crate::node::Chain;
use crate::trace::describe_message;

const VALIDATORS: usize = 4;
const HONEST: usize = 3;
const LIAR: usize = 0;

/// Closures that are remembered; beyond it they are computed again.
const CLOSURES_MAX: usize = 2_000_000;

/// Honest votes, and time-outs, that make a quorum with the liar's.
const HONEST_QUORUM: usize = 2;

/// No signature is ever checked: the search makes only what could have been signed.
const SIGNATURE: Signature = Signature([7; 64]);

/// Who leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaders {
    /// Always the liar, who can do whatever an honest leader could. The honest replicas are alike,
    /// and states that differ by their names only are one.
    Liar,
    /// The liar in odd views; in even ones the honest replicas in turn.
    Mixed,
}

/// A seeded defect, to show that the search finds what it is there to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// A restart forgets what was voted and timed out.
    ForgottenVotes,
    /// One honest vote and the liar's pass for a quorum.
    SmallQuorum,
    /// A certificate of time-outs may hide the higher QC that a time-out of it has named.
    HiddenQc,
}

/// What is searched.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub rule: CommitRule,
    pub leaders: Leaders,
    /// Nothing is proposed in later ones.
    pub views: u64,
    /// Blocks that the liar may propose in one view: with two it equivocates.
    pub proposals: usize,
    /// The first and the last view whose timers may run out.
    pub timeouts: (u64, u64),
    /// Whether honest replicas may crash and start again.
    pub restarts: bool,
    pub states_max: usize,
    pub defect: Option<Defect>,
}

/// What was found.
pub struct Found {
    pub states: usize,
    /// Steps that led to a state that was there already.
    pub merged: u64,
    /// States of one replica.
    pub locals: usize,
    /// All states that so many steps can reach were visited; all there are, if `is_complete`.
    pub depth: u32,
    pub is_complete: bool,
    /// States in which somebody has committed something, and the greatest height.
    pub committing: u64,
    pub height_max: usize,
    /// The rule that was broken, and the steps that led there.
    pub violation: Option<(String, Vec<String>)>,
    pub took: Duration,
}

/// The honest replicas' states, and the blocks that the liar has proposed, by number.
type State = ([u32; HONEST], u32);

/// What one replica can do in a state of the whole.
struct Closure {
    /// Where each new word leads: its state, and what the liar has proposed by then.
    words: Vec<(u32, u32)>,
    /// The chains that it can have committed.
    chains: Vec<u32>,
    /// What can have happened silently: the state, what the liar has proposed by then, from which
    /// of these by which happening. For stories.
    silent: Vec<(u32, u32, usize, u32)>,
    /// For each word, after which silent state, and by which happening.
    came_by: Vec<(usize, u32)>,
}

/// A QC by its number among the certificates plus one; 0 is the genesis's.
type Qc = usize;

/// Who has signed a QC, a bit for each validator. An honest replica that sees its own key where it
/// has not signed takes itself for a twin, and is silent: so nobody is named who has not signed.
type Signers = u8;

/// Where the liar leads and the honest replicas are alike, each of them is replica 1, and the
/// others have signed.
const OTHERS: Signers = 0b1101;

/// A certificate of time-outs. The liar claims the QC itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Tc {
    view: u64,
    qc: Qc,
    /// The view of the QC that each honest signer has named.
    named: [Option<u64>; HONEST],
}

/// What can be delivered: the QCs and the certificates of time-outs that the liar can have, and the
/// proposals of honest leaders to each replica.
type Knowledge = (Vec<Qc>, Vec<Tc>, [Vec<Proposal>; HONEST]);

/// A block, and the TC that came with it.
type Proposal = (usize, Option<Tc>);

/// A block, with what a vote for it says.
struct Known {
    block: Block,
    statement: VoteStatement,
    justify: Qc,
}

impl Known {
    fn view(&self) -> u64 {
        self.statement.view_num.0
    }
}

/// What the others can know of one local state.
#[derive(Default)]
struct Public {
    votes: Vec<usize>,
    /// By view and the view of the QC named.
    timeouts: Vec<(u64, u64)>,
    /// Its own proposals.
    proposed: Vec<Proposal>,
}

/// What happenings are known by.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Timer,
    Restart,
    Qc(Qc),
    Tc(Tc),
    Propose(usize, Option<Tc>),
    /// An honest leader's proposal.
    Sent(Proposal),
}

/// The liar or everybody leads, and no time passes.
struct Timeless(Leaders);

impl Pacemaker for Timeless {
    fn wait_timeout(
        &self,
        _: &ValidatorSet,
        _: ViewNumber,
        _: ViewNumber,
        _: ViewNumber,
    ) -> Duration {
        Duration::ZERO
    }

    fn view_leader(&self, _: &ValidatorSet, cur_view: ViewNumber) -> ValidatorAddress {
        let view = cur_view.0 as usize;
        address(match self.0 {
            Leaders::Mixed if view % 2 == 0 => 1 + (view / 2) % HONEST,
            _ => LIAR,
        })
    }
}

/// See the module.
pub struct Search {
    bounds: Bounds,
    genesis: GenesisHash,
    pacemaker: Timeless,
    validator_set: ValidatorSet,
    /// One for each honest replica, or one for all.
    locals: Vec<Locals>,
    public: Vec<Vec<Public>>,
    blocks: Vec<Known>,
    by_hash: HashMap<BlockHash, usize>,
    /// Of which block, and by whom.
    certificates: Vec<(usize, Signers)>,
    by_certificate: HashMap<(usize, Signers), Qc>,
    happenings: Vec<Happening>,
    by_key: HashMap<Key, u32>,
    /// The sets of blocks that the liar has proposed.
    proposals: Vec<Vec<usize>>,
    by_proposals: HashMap<Vec<usize>, u32>,
    knowledge: HashMap<Knowledge, u32>,
    closures: HashMap<(usize, u32, u32, u32), Rc<Closure>>,
    chains: Vec<Vec<BlockHash>>,
    by_chain: HashMap<Vec<BlockHash>, u32>,
}

impl Search {
    pub fn new(bounds: Bounds) -> Search {
        let pacemaker = Arc::new(Timeless(bounds.leaders));
        let chain = Chain::new(VALIDATORS, bounds.rule, VoteTo::All, pacemaker, |_| true);
        let forgets = bounds.defect == Some(Defect::ForgottenVotes);
        let graphs = match bounds.leaders {
            Leaders::Liar => 1,
            Leaders::Mixed => HONEST,
        };
        let leads = bounds.leaders == Leaders::Mixed;
        let locals = (1..=graphs).map(|me| Locals::new(chain.clone(), me, leads, forgets));
        let mut search = Search {
            genesis: chain.genesis,
            pacemaker: Timeless(bounds.leaders),
            validator_set: chain.validator_set.clone(),
            locals: locals.collect(),
            public: (0..graphs).map(|_| Vec::new()).collect(),
            blocks: Vec::new(),
            by_hash: HashMap::new(),
            certificates: Vec::new(),
            by_certificate: HashMap::new(),
            happenings: Vec::new(),
            by_key: HashMap::new(),
            proposals: vec![vec![]],
            by_proposals: HashMap::from([(vec![], 0)]),
            knowledge: HashMap::new(),
            closures: HashMap::new(),
            chains: Vec::new(),
            by_chain: HashMap::new(),
            bounds,
        };
        (0..graphs).for_each(|graph| search.publish(graph));
        search
    }

    /// Visits states until there are no more, one breaks a rule, or a bound is met.
    pub fn run(mut self, budget: Duration) -> Found {
        let start = Instant::now();
        let first: State = ([0; HONEST], 0);
        let mut states = vec![first];
        let mut came_by: Vec<(u32, u8)> = vec![(0, 0)];
        let mut visited = HashSet::from([first]);
        let (mut next, mut merged, mut depth, mut level_end) = (0, 0, 0, 1);
        let (mut committing, mut height_max) = (0, 0);
        let mut violation = None;
        while next < states.len() && violation.is_none() {
            if next == level_end {
                level_end = states.len();
                depth += 1;
            }
            let is_late = next % 64 == 0 && start.elapsed() >= budget;
            if is_late || states.len() >= self.bounds.states_max {
                break;
            }
            let from = states[next];
            let closures = self.closures_of(from);
            let heights = closures.iter().flat_map(|closure| &closure.chains);
            let height = heights
                .map(|chain| self.chains[*chain as usize].len())
                .max();
            committing += u64::from(height > Some(0));
            height_max = height_max.max(height.unwrap_or(0));
            if let Some((rule, silent)) = self.broken_in(&from, &closures) {
                let mut story = self.story(&states, &came_by, next);
                story.extend(silent);
                violation = Some((rule, story));
            }
            for (replica, closure) in closures.iter().enumerate() {
                for (local, proposals) in &closure.words {
                    let mut locals = from.0;
                    locals[replica] = *local;
                    let to = self.canonical((locals, *proposals));
                    if visited.insert(to) {
                        states.push(to);
                        came_by.push((next as u32, replica as u8));
                    } else {
                        merged += 1;
                    }
                }
            }
            next += 1;
        }
        Found {
            states: states.len(),
            merged,
            locals: self.locals.iter().map(|locals| locals.all.len()).sum(),
            depth,
            is_complete: next == states.len() && violation.is_none(),
            committing,
            height_max,
            violation,
            took: start.elapsed(),
        }
    }

    fn graph(&self, replica: usize) -> usize {
        replica.min(self.locals.len() - 1)
    }

    fn local(&self, replica: usize, local: u32) -> &Local {
        &self.locals[self.graph(replica)].all[local as usize]
    }

    fn canonical(&self, (mut locals, proposals): State) -> State {
        if self.bounds.leaders == Leaders::Liar {
            locals.sort_unstable();
        }
        (locals, proposals)
    }

    /// The rule that a state breaks, and what happens silently to show it. With a seeded defect
    /// only a fork counts.
    fn broken_in(
        &self,
        state: &State,
        closures: &[Rc<Closure>; HONEST],
    ) -> Option<(String, Vec<String>)> {
        for (one, other) in [(0, 1), (0, 2), (1, 2)] {
            for (mine, others) in pairs(&closures[one].chains, &closures[other].chains) {
                let (mine, others) = (&self.chains[mine as usize], &self.chains[others as usize]);
                if !mine.iter().zip(others).all(|(mine, others)| mine == others) {
                    let text = format!("agreement: {mine:?} and {others:?}");
                    let mut story = self.commits(one, &closures[one], mine);
                    story.extend(self.commits(other, &closures[other], others));
                    return Some((text, story));
                }
            }
        }
        if self.bounds.defect.is_some() {
            return None;
        }
        let broken = |replica: usize| self.local(replica, state.0[replica]).broken.clone();
        (0..HONEST).find_map(|replica| Some((broken(replica)?, vec![])))
    }

    /// How a replica comes to commit `chain` in silence.
    fn commits(&self, replica: usize, closure: &Closure, chain: &[BlockHash]) -> Vec<String> {
        let is_it =
            |(local, ..): &(u32, u32, usize, u32)| self.local(replica, *local).committed == chain;
        let at = closure
            .silent
            .iter()
            .position(is_it)
            .expect("it is a chain of this closure");
        let mut story = self.silence(replica, closure, at);
        story.push(format!("{} has committed {chain:?}", 1 + replica));
        story
    }

    fn silence(&self, replica: usize, closure: &Closure, mut at: usize) -> Vec<String> {
        let mut story = Vec::new();
        while at > 0 {
            let (_, _, before, happening) = closure.silent[at];
            story.push(self.tell(replica, closure.silent[before].0, happening));
            at = before;
        }
        story.reverse();
        story
    }

    fn tell(&self, replica: usize, local: u32, happening: u32) -> String {
        let view = self.local(replica, local).view;
        let what = match &self.happenings[happening as usize] {
            Happening::Timer => "its timer runs out".into(),
            Happening::Restart => "crashes, and starts again".into(),
            Happening::Hear(message) => describe_message(message),
        };
        format!("{} in view {view}: {what}", 1 + replica)
    }

    /// The steps that led to state `at`. Replicas that are alike may change names on the way.
    fn story(&mut self, states: &[State], came_by: &[(u32, u8)], mut at: usize) -> Vec<String> {
        let mut steps = Vec::new();
        while at > 0 {
            let (before, replica) = (came_by[at].0 as usize, usize::from(came_by[at].1));
            let from = states[before];
            let closure = self.closures_of(from)[replica].clone();
            let leads_here = |(local, proposals): &(u32, u32)| {
                let mut locals = from.0;
                locals[replica] = *local;
                self.canonical((locals, *proposals)) == states[at]
            };
            let word = closure
                .words
                .iter()
                .position(leads_here)
                .expect("it came this way");
            let (silent, happening) = closure.came_by[word];
            let mut step = self.silence(replica, &closure, silent);
            step.push(self.tell(replica, closure.silent[silent].0, happening));
            steps.push(step);
            at = before;
        }
        steps.into_iter().rev().flatten().collect()
    }

    // --- what can happen next ---

    fn closures_of(&mut self, (locals, proposals): State) -> [Rc<Closure>; HONEST] {
        let qcs = self.qcs(&locals);
        let tcs = self.tcs(&locals, &qcs);
        let sent = [0, 1, 2].map(|replica| self.sent_to(replica, &locals));
        let next = self.knowledge.len() as u32;
        let known = (qcs.clone(), tcs.clone(), sent.clone());
        let knowledge = *self.knowledge.entry(known).or_insert(next);
        [0, 1, 2].map(|replica| {
            let key = (self.graph(replica), locals[replica], knowledge, proposals);
            if let Some(closure) = self.closures.get(&key) {
                return closure.clone();
            }
            let local = locals[replica];
            let closure = self.closure(replica, local, proposals, &qcs, &tcs, &sent[replica]);
            let closure = Rc::new(closure);
            if self.closures.len() < CLOSURES_MAX {
                self.closures.insert(key, closure.clone());
            }
            closure
        })
    }

    fn closure(
        &mut self,
        replica: usize,
        local: u32,
        proposals: u32,
        qcs: &[Qc],
        tcs: &[Tc],
        sent: &[Proposal],
    ) -> Closure {
        let mut closure = Closure {
            words: Vec::new(),
            chains: Vec::new(),
            silent: vec![(local, proposals, 0, 0)],
            came_by: Vec::new(),
        };
        let mut next = 0;
        while next < closure.silent.len() {
            let (local, proposals, ..) = closure.silent[next];
            let chain = self.chain(replica, local);
            if !closure.chains.contains(&chain) {
                closure.chains.push(chain);
            }
            let mut all = self.happenings(replica, local, proposals, qcs, tcs);
            all.extend(sent.iter().map(|sent| (Key::Sent(*sent), proposals, true)));
            for (key, proposals, goes_on) in all {
                let happening = self.happening(key);
                let to = self.step(replica, local, happening);
                if to == local {
                    continue;
                }
                let (before, after) = (self.local(replica, local), self.local(replica, to));
                let speaks = after.said.len() > before.said.len() || after.broken.is_some();
                if speaks && !closure.words.contains(&(to, proposals)) {
                    closure.words.push((to, proposals));
                    closure.came_by.push((next, happening));
                }
                let is_new =
                    |(known, with, ..): &(u32, u32, usize, u32)| (*known, *with) != (to, proposals);
                if !speaks && goes_on && closure.silent.iter().all(is_new) {
                    closure.silent.push((to, proposals, next, happening));
                }
            }
            next += 1;
        }
        closure
    }

    fn chain(&mut self, replica: usize, local: u32) -> u32 {
        let chain = self.local(replica, local).committed.clone();
        let next = self.chains.len() as u32;
        let number = *self.by_chain.entry(chain.clone()).or_insert(next);
        if number == next {
            self.chains.push(chain);
        }
        number
    }

    fn step(&mut self, replica: usize, local: u32, happening: u32) -> u32 {
        let graph = self.graph(replica);
        let to = self.locals[graph].next(local, happening, &self.happenings);
        self.publish(graph);
        to
    }

    /// The QCs that the liar can have, each with all who have signed.
    fn qcs(&mut self, locals: &[u32; HONEST]) -> Vec<Qc> {
        let mut voters: BTreeMap<usize, Signers> = BTreeMap::new();
        for (replica, local) in locals.iter().enumerate() {
            for block in &self.public[self.graph(replica)][*local as usize].votes {
                *voters.entry(*block).or_default() |= 1 << (1 + replica);
            }
        }
        let needed = match self.bounds.defect {
            Some(Defect::SmallQuorum) => 1,
            _ => HONEST_QUORUM,
        };
        let mut qcs = vec![0];
        for (block, voters) in voters {
            if voters.count_ones() as usize >= needed {
                let signers = match self.bounds.leaders {
                    Leaders::Liar => OTHERS,
                    Leaders::Mixed => voters | 1 << LIAR,
                };
                qcs.push(self.certificate(block, signers));
            }
        }
        qcs.sort_by_key(|qc| (self.qc_view(*qc), *qc));
        qcs
    }

    /// The certificates of time-outs that the liar can have: of each view with each QC that enough
    /// honest time-outs are not above; it claims the QC itself.
    fn tcs(&self, locals: &[u32; HONEST], qcs: &[Qc]) -> Vec<Tc> {
        let mut tcs = Vec::new();
        for view in 1..=self.bounds.views {
            for qc in qcs.iter().copied().filter(|qc| self.qc_view(*qc) < view) {
                let qc_view = self.qc_view(qc);
                let highest = match self.bounds.defect {
                    Some(Defect::HiddenQc) => u64::MAX,
                    _ => qc_view,
                };
                let mut named = [0, 1, 2].map(|replica| {
                    let public = &self.public[self.graph(replica)][locals[replica] as usize];
                    let timeouts = public.timeouts.iter().filter(|(of, _)| *of == view);
                    timeouts.map(|(_, named)| *named).min()
                });
                named = named.map(|named| named.filter(|named| *named <= highest));
                if named.iter().flatten().count() < HONEST_QUORUM {
                    continue;
                }
                if self.bounds.leaders == Leaders::Liar {
                    named = [None, Some(qc_view), Some(qc_view)];
                }
                tcs.push(Tc { view, qc, named });
            }
        }
        tcs
    }

    /// What can happen to a replica: what the liar has proposed by then, and whether the search
    /// goes on from there if it says nothing.
    fn happenings(
        &mut self,
        replica: usize,
        local: u32,
        proposals: u32,
        qcs: &[Qc],
        tcs: &[Tc],
    ) -> Vec<(Key, u32, bool)> {
        let view = self.local(replica, local).view;
        let mut keys = Vec::new();
        let (first, last) = self.bounds.timeouts;
        if (first..=last).contains(&view) {
            keys.push((Key::Timer, proposals, true));
        }
        if self.bounds.restarts {
            keys.push((Key::Restart, proposals, true));
        }
        let certified = qcs.iter().filter(|qc| **qc > 0);
        keys.extend(certified.map(|qc| (Key::Qc(*qc), proposals, true)));
        let later = tcs.iter().filter(|tc| tc.view >= view);
        keys.extend(later.map(|tc| (Key::Tc(*tc), proposals, true)));
        for (block, proposals) in self.proposable(proposals, qcs) {
            let known = &self.blocks[block];
            let is_certified = qcs.iter().any(|qc| self.certified(*qc) == Some(block));
            if known.view() < view && !is_certified {
                continue; // too late to be voted for, and of no use to anybody yet
            }
            keys.push((Key::Propose(block, None), proposals, is_certified));
            // One that has the QC of the view before needs no other, and one that comes too late
            // is judged without.
            let follows = self.qc_view(known.justify) + 1 == known.view();
            if !follows && known.view() >= view {
                let mut before = tcs.iter().filter(|tc| tc.view + 1 == known.view());
                let first = before.next();
                let ends = [first, before.last().or(first)];
                let with = ends.into_iter().flatten();
                keys.extend(
                    with.map(|tc| (Key::Propose(block, Some(*tc)), proposals, is_certified)),
                );
            }
        }
        keys
    }

    /// The blocks that the liar has proposed or may propose, each with what it has proposed then.
    fn proposable(&mut self, proposals: u32, qcs: &[Qc]) -> Vec<(usize, u32)> {
        let proposed = self.proposals[proposals as usize].clone();
        let mut all: Vec<(usize, u32)> = proposed.iter().map(|b| (*b, proposals)).collect();
        for view in 1..=self.bounds.views {
            let in_view = proposed.iter().filter(|b| self.blocks[**b].view() == view);
            if self.leader(view) != LIAR || in_view.count() >= self.bounds.proposals {
                continue;
            }
            for qc in qcs {
                if self.qc_view(*qc) >= view {
                    continue;
                }
                // Two blocks on one QC differ by their data only: the second comes second.
                let first = self.liars_block(view, *qc, 0);
                let block = match proposed.contains(&first) {
                    false => first,
                    true => self.liars_block(view, *qc, 1),
                };
                if !proposed.contains(&block) {
                    let mut more = proposed.clone();
                    more.push(block);
                    more.sort_unstable();
                    all.push((block, self.proposals_number(more)));
                }
            }
        }
        all
    }

    /// Proposals of honest leaders, other than its own.
    fn sent_to(&self, replica: usize, locals: &[u32; HONEST]) -> Vec<Proposal> {
        let others = (0..HONEST).filter(|other| *other != replica);
        others
            .flat_map(|other| &self.public[self.graph(other)][locals[other] as usize].proposed)
            .copied()
            .collect()
    }

    // --- what has a number ---

    fn leader(&self, view: u64) -> usize {
        let leader = self
            .pacemaker
            .view_leader(&self.validator_set, ViewNumber(view));
        index_of(&leader)
    }

    fn certificate(&mut self, block: usize, signers: Signers) -> Qc {
        let next = self.certificates.len() + 1;
        let qc = *self.by_certificate.entry((block, signers)).or_insert(next);
        if qc == next {
            self.certificates.push((block, signers));
        }
        qc
    }

    /// The block that a QC certifies; none for the genesis's.
    fn certified(&self, qc: Qc) -> Option<usize> {
        let (block, _) = self.certificates[qc.checked_sub(1)?];
        Some(block)
    }

    fn qc_view(&self, qc: Qc) -> u64 {
        self.certified(qc)
            .map_or(0, |block| self.blocks[block].view())
    }

    fn qc(&self, qc: Qc) -> QuorumCertificate {
        let Some(number) = qc.checked_sub(1) else {
            return QuorumCertificate::genesis(self.genesis);
        };
        let (block, signers) = self.certificates[number];
        let slot = |index| (signers >> index & 1 == 1).then_some(SIGNATURE);
        let signatures = (0..VALIDATORS).map(slot).collect();
        QuorumCertificate::new(self.blocks[block].statement, signatures)
    }

    fn tc(&self, Tc { view, qc, named }: Tc) -> TimeoutCertificate {
        let signed = |qc_view| (ViewNumber(qc_view), SIGNATURE);
        let liars = Some(signed(self.qc_view(qc)));
        let honest = named.map(|named| named.map(signed));
        TimeoutCertificate {
            epoch: Epoch(0),
            view_num: ViewNumber(view),
            highest_qc: self.qc(qc),
            signatures: [liars].into_iter().chain(honest).collect(),
        }
    }

    /// The other way round: what a TC that is on its way was made of.
    fn known(&mut self, tc: &TimeoutCertificate) -> Tc {
        let slot = |replica: usize| tc.signatures[1 + replica].map(|(named, _)| named.0);
        Tc {
            view: tc.view_num.0,
            qc: self.qc_of(&tc.highest_qc),
            named: [0, 1, 2].map(slot),
        }
    }

    fn qc_of(&mut self, qc: &QuorumCertificate) -> Qc {
        let Some(block) = self.by_hash.get(&qc.block_hash).copied() else {
            return 0;
        };
        let slots = qc.signatures.iter().enumerate();
        let signed = slots.filter(|(_, slot)| slot.is_some());
        self.certificate(block, signed.fold(0, |all, (index, _)| all | 1 << index))
    }

    fn liars_block(&mut self, view: u64, justify: Qc, variant: u8) -> usize {
        let height = match self.certified(justify) {
            Some(parent) => self.blocks[parent].block.header.height.next(),
            None => BlockHeight(1),
        };
        let data = Data::new(vec![LIAR as u8, variant]);
        let header = BlockHeader {
            height,
            epoch: Epoch(0),
            view: ViewNumber(view),
            justify: self.qc(justify),
            data_hash: data.hash(),
            validator_set_updates: None,
        };
        self.block(Block { header, data })
    }

    fn block(&mut self, block: Block) -> usize {
        let hash = block.hash(&self.genesis);
        if let Some(number) = self.by_hash.get(&hash) {
            return *number;
        }
        let header = &block.header;
        let statement = VoteStatement {
            epoch: header.epoch,
            view_num: header.view,
            justify_view: header.justify.rank().view,
            block_hash: hash,
            phase: Phase::Generic,
        };
        let justify = self.qc_of(&header.justify);
        self.blocks.push(Known {
            block,
            statement,
            justify,
        });
        self.by_hash.insert(hash, self.blocks.len() - 1);
        self.blocks.len() - 1
    }

    fn proposals_number(&mut self, blocks: Vec<usize>) -> u32 {
        let next = self.proposals.len() as u32;
        let number = *self.by_proposals.entry(blocks.clone()).or_insert(next);
        if number == next {
            self.proposals.push(blocks);
        }
        number
    }

    fn happening(&mut self, key: Key) -> u32 {
        if let Some(number) = self.by_key.get(&key) {
            return *number;
        }
        let advance = |certificate| {
            let message = ProgressMessage::AdvanceView(certificate);
            Happening::Hear(Message::Progress(message))
        };
        let happening = match key {
            Key::Timer => Happening::Timer,
            Key::Restart => Happening::Restart,
            Key::Qc(qc) => advance(Certificate::Quorum(self.qc(qc))),
            Key::Tc(tc) => advance(Certificate::Timeout(self.tc(tc))),
            Key::Propose(block, tc) => {
                let Known {
                    block, statement, ..
                } = &self.blocks[block];
                let vote = Vote {
                    statement: *statement,
                    voter: address(LIAR),
                    signature: SIGNATURE,
                };
                let propose = Propose {
                    block: block.clone(),
                    vote,
                    timeout_certificate: tc.map(|tc| self.tc(tc)),
                };
                Happening::Hear(Message::Progress(ProgressMessage::Propose(propose)))
            }
            Key::Sent(_) => unreachable!("it was published when it was sent"),
        };
        self.name(key, happening)
    }

    fn name(&mut self, key: Key, happening: Happening) -> u32 {
        self.happenings.push(happening);
        let number = self.happenings.len() as u32 - 1;
        self.by_key.insert(key, number);
        number
    }

    /// Reads what new local states have said.
    fn publish(&mut self, graph: usize) {
        for local in self.public[graph].len()..self.locals[graph].all.len() {
            let local = &self.locals[graph].all[local];
            let (said, sent) = (local.said.clone(), local.proposed.clone());
            let mut public = Public::default();
            for message in sent {
                let Message::Progress(ProgressMessage::Propose(propose)) = &message else {
                    continue;
                };
                let block = self.block(propose.block.clone());
                let tc = propose.timeout_certificate.as_ref();
                let proposal = (block, tc.map(|tc| self.known(tc)));
                public.proposed.push(proposal);
                if !self.by_key.contains_key(&Key::Sent(proposal)) {
                    self.name(Key::Sent(proposal), Happening::Hear(message));
                }
            }
            for said in said {
                match said {
                    Said::Vote(vote) => public.votes.push(self.by_hash[&vote.block_hash]),
                    Said::Timeout(timeout) => {
                        let (view, qc_view) = (timeout.view_num.0, timeout.qc_view.0);
                        public.timeouts.push((view, qc_view));
                    }
                }
            }
            self.public[graph].push(public);
        }
    }
}

fn pairs<'a>(ones: &'a [u32], others: &'a [u32]) -> impl Iterator<Item = (u32, u32)> + 'a {
    ones.iter()
        .flat_map(|one| others.iter().map(|other| (*one, *other)))
}
