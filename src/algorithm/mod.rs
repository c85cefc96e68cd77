//! The algorithm (floor 3): this header is its specification. It is pure: time is an argument, the
//! disk and the network are what the driver does with a [`Step`].
//!
//! # Rules
//!
//! Ranks are (epoch, view), compared in that order. A quorum is power q with 3q > 2T, blocking
//! power p has 3p > T. Every certificate inside a message is processed before the rest of it.
//!
//! **Upon a valid QC** (`state.rs`): raise the highest QC; commit what it makes final; fetch its
//! block if it is unknown; if its view is the current one or later, enter the view after it.
//!
//! **Upon a valid TC** (`state.rs`): its QC first; then, if its view is the current one or later,
//! keep it and enter the view after it. Views are entered in no other way, and never backwards.
//!
//! **Upon a vote** (`collect.rs`): count it with those of an equal statement, the first of each
//! validator and view only; a quorum is a QC. The block need not be known.
//!
//! **Upon a proposal** (`vote.rs`) of the leader of its view: keep the block until its parent is
//! known, then check height, limits and the app's verdict, insert it, and vote if ALL hold:
//! 1. its view is the current one, above every view voted in and every view timed out;
//! 2. it is the leader's of that view, with that leader's vote;
//! 3. its justify is of the view before; or it carries a TC of the view before whose highest QC is
//!    not above its justify;
//! 4. its justify is valid, and its parent is known: stored and `Valid`, with all its ancestors;
//! 5. the block's height, epoch and size are right, and the app calls it `Valid`.
//!
//! What breaks a rule that the leader's key covers times the view out at once.
//!
//! **Upon entering a view that I lead** (`propose.rs`): once I hold what justifies it and know the
//! parent, ask the app; propose its block; an empty one if it has no work but the chain has; wait
//! in an idle view. At most one proposal in a view, across crashes.
//!
//! **Commit** (`tree.rs`): a block, with its ancestors, that heads a chain of 3 (`ThreeChain`) or 2
//! (`TwoChain`) QCs in consecutive views, each of its block's own view.
//!
//! **Upon the time-out of a view** (`view.rs`): record it, then tell all, with the highest QC and
//!   the
//! last vote; again after each further wait. Upon time-outs of blocking power in later views: join
//! the greatest view that all of it has reached. Upon a quorum for one view: form its TC, and send
//! it to the next leader. Last votes are counted like votes: the QC that a crashed leader took
//! along is assembled by everyone. A leader of whom no vote was seen in the last n views is waited
//! for only a quarter as long, unless waits are backed off already: it is probably dead. Its late
//! proposal counts as seen, so a leader that lives loses one view at most.
//!
//! **Idle views** (`view.rs`): no block with data awaits its commit, nobody has sent a Wake in the
//! last n views, and no proposal, vote or time-out of this view was seen. Their leader tells the
//! last QC and waits for work, at most `max_idle`; their timers wait that much longer.
//!
//! **Sync** (`sync.rs`): ask one peer at a time for what certificates speak of and is not known,
//!   and
//! after a silence for what is new. An answer is kept only if its blocks link up from what was
//! asked to a certified block.
//!
//! **Recovery** (`state.rs`): return to the view after the highest certificate, and say again what
//!   is
//! recorded of it.
//!
//! # Why it does not fork
//!
//! Within an epoch let QC_v certify x, and QC_{v+1} certify y, whose justify is QC_v. Every honest
//! voter of y knew QC_v when it voted, and whoever has signed a time-out for a view >= v+1 votes in
//! no view <= that afterwards. Two quorums share an honest validator; so each TC for a view >= v+1
//! names a QC of a view >= v, and by rule 3 every block certified after v extends x, by induction
//! on views. A 2-chain of consecutive views is therefore final, and so is a 3-chain. The argument
//! needs that an honest validator votes once in a view, and that what it has signed survives its
//! crashes: the record is written before the signature exists (speak-after-persist).
//!
//! # Deviations from the papers
//!
//! - There is no lock variable (HotStuff, PODC 2019, algorithm 2): rule 3, Jolteon's, makes it
//!   redundant.
//! - A time-out carries the last vote, and time-outs of blocking power are joined: with n = 4 and
//!   one crashed, plain chained HotStuff never sees three consecutive QCs (BeeGees, PODC 2023).
//! - Back-off falls back only with commits, not with every QC.
//! - The first wait for a leader who has been silent for a rotation is a quarter. Reputation in the
//!   leader's election (Carousel, FC 2022) needs agreement on who is silent; a wait needs none.
//! - Seeing any proposal, vote or time-out of an idle view ends its idleness: a proposal that is
//!   lost on its way to most replicas would else cost them all `max_idle`.
//! - The validator set does not change yet: a block that would is refused, and says so.
//!
//! # Bounds
//!
//! Pending blocks and their bytes by [`Limits`]; unjudged proposals 8; votes by a window of views,
//! one per validator and view; time-outs one per validator; one sync answer.

mod collect;
mod evidence;
mod propose;
mod reconfigure;
mod safety;
mod state;
mod step;
mod sync;
mod tree;
pub mod verify;
mod view;
mod vote;

pub use state::{Algorithm, Config, Limits, SyncConfig, VoteTo};
pub use step::{
    CommittedHead, Dispatch, Durable, Effect, EpochRecord, Event, Input, Outbox, PendingBlock,
    Persist, SignError, Signer, Step, StoredProposal, To, VotingRecord, Write, EPOCHS_KEPT,
};
