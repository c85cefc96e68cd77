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
//! 5. its justify is of phase Generic or Commit; the block's height, epoch and size are right; the
//!    app calls it `Valid`, and its validator-set updates are the block's.
//!
//! What breaks a rule that the leader's key covers times the view out at once.
//!
//! **Upon entering a view that I lead** (`propose.rs`): once I hold what justifies it and know the
//! parent, ask the app; propose its block; an empty one if it has no work but the chain has, or if
//! lost views may have left the others no room for more; wait in an idle view. If the highest QC is
//! of phase Prepare or Precommit, nudge its block instead. At most one proposal in a view, across
//! crashes. Who leads the next view asks its app as soon as it has voted for the block to build on,
//! while the votes for that come in; an answer for a block that is not certified then is not used,
//! and its work asked for again.
//!
//! **Commit** (`tree.rs`): a block, with its ancestors, that heads a chain of 3 (`ThreeChain`) or 2
//! (`TwoChain`) QCs in consecutive views, each of its block's own view; or that a Commit QC names.
//!
//! **Upon the time-out of a view** (`view.rs`): record it, then tell all, with the highest QC and
//! the last vote; again after each further wait. Upon time-outs of blocking power in later views:
//! join the greatest view that all of it has reached. Upon a quorum for one view: form its TC, and
//! send it to the next leader. Last votes are counted like votes: the QC that a crashed leader took
//! along is assembled by everyone. A leader of whom no vote was seen in the last n views is waited
//! for only a quarter as long, unless waits are backed off already: it is probably dead. Its late
//! proposal counts as seen, so a leader that lives loses one view at most.
//!
//! **Idle views** (`view.rs`): no block with data awaits its commit, nobody has sent a Wake in the
//! last n views, and no proposal, vote or time-out of this view was seen. Their leader tells the
//! last QC and waits for work, at most `max_idle`; their timers wait that much longer.
//!
//! **Sync** (`sync.rs`): ask one peer at a time for what certificates speak of and is not known,
//! and after a silence, or a peer's word of a later epoch, for what is new. An answer is kept only
//! if its blocks link up from what was asked to a certified block. Where it updates the set, the
//! Commit QC under the next block is verified, and the rest is judged by the new set (`verify.rs`).
//! While an answer is judged, the next range is on its way, but never beyond an update. A peer
//! whose answer is wrong, missing or next to nothing waits for its turn.
//!
//! **Recovery** (`state.rs`): return to the view after the highest certificate of the current
//! epoch, and say again what is recorded of it: vote, time-out, proposal or nudge.
//!
//! # Accountability (`evidence.rs`)
//!
//! **Upon a second vote** of a validator in a view, of another statement than its first, by itself,
//! as a last vote or in a QC: a double vote. **Upon a second proposal** by the leader of a view: a
//! double proposal, with both headers, and no double vote besides. **Upon a time-out** of w that
//! names a QC of view q, by itself or in a TC, and a vote of the same key in a view <= w on a QC
//! above q, in either order: a lying time-out. No honest replica signs such a pair: it votes once
//! in a view, its highest QC only rises, and after a time-out of w it votes in no view <= w. The
//! first piece of evidence of each validator, epoch and kind is kept in the step that finds it, and
//! told once. (Of views that are collected: the last 8, and those ahead. A vote and a time-out of
//! one view are legal.)
//!
//! **Upon one's own signature** under a vote or time-out above the voting record, or under another
//! statement at it, wherever it stands, in a certificate too: somebody else holds the key, or the
//! disk is an old one. Nothing more is signed until a restart; the replica goes on as a listener.
//! The record is raised to what was seen, so that it is never contradicted, after a restart either.
//! What lies below the record is ignored: replaying a replica's past must not stop it. The same is
//! asked of the highest QC and TC at recovery.
//!
//! # The phased mode (`reconfigure.rs`)
//!
//! An epoch is the reign of one validator set, and its views are numbered from 1. The updates of a
//! block take effect at its child, so the block must be final before it has one: the leaders nudge
//! it through the phases, a view each.
//!
//! ```text
//!   view v-2     view v-1      view v        epoch e+1, view 1
//!   B: Prepare   Precommit     Commit        the child of B, proposed and
//!   (a block)    (a nudge)     (a nudge)     voted for by the new set
//! ```
//!
//! **Upon a block with updates**: they must make a set ([`ValidatorSet::updated`]), with data, else
//! the block is invalid. Its votes are of phase Prepare. (Updates that change nothing are no error:
//! the host may say a thing twice. A new epoch begins all the same.)
//!
//! **Upon a nudge** of view v, by its leader, of a justify of phase Prepare, or Precommit under
//! `ThreeChain`: vote by rules 1 to 4, in the next phase if the justify is of view v-1 (`TwoChain`:
//! Commit follows Prepare); else views were lost, and the count starts again with Prepare. A nudge
//! of an unknown block waits for it.
//!
//! **Upon a Commit QC of the current epoch**: its rank is (e+1, 0), so it is the highest QC, on
//! disk, at once, and from then on nothing is signed in e. Once its block is known, in one durable
//! step: the block and its ancestors are committed, and the new set reigns, in view 1 of e+1. What
//! is kept by view (votes, time-outs, proposals, wakes) is forgotten with its epoch.
//!
//! **Hand-over**: whoever forms a Commit QC tells all. Every holder, validator, removed or
//! listener, tells all again at each of its time-outs, until it sees a QC of the new epoch. A
//! proposal or time-out of an older epoch is answered with that epoch's Commit QC; one of an epoch
//! whose set is not known yet is kept by the filter, and the Commit QC that it may carry is taken
//! at once.
//!
//! [`ValidatorSet::updated`]: crate::types::ValidatorSet::updated
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
//! Across epochs: let a quorum of epoch e vote Commit for B. An honest one of it voted on the QC of
//! the phase before, of the view before, and so down to Prepare: certified nodes of consecutive
//! views, so by the argument above every node that is certified in e from the first of them on is B
//! or extends it. (Phases of views that are not consecutive prove nothing of the kind, hence the
//! count that starts again.) But no block extends B in e: Prepare and Precommit QCs justify nudges
//! only, and a Commit QC has its rank in e+1. So e certifies nothing but B from there on, all its
//! Commit QCs name B, and no block beside B is ever final in e. They also have one rank, (e+1, 0),
//! below every QC of e+1: whichever of them a proposal carries, late ones of an old set that went
//! on not knowing included, it plays the part that the genesis QC plays in epoch 0, and justifies
//! what that justifies. With views that ran on from epoch to epoch a late one would outrank QCs of
//! the new set, and fork below what it has finalised. The set of e+1 is the same for all, since B's
//! hash covers the updates, and an honest member of it signs nothing of e+1 before it has committed
//! B; a statement names its epoch, so none counts in another. The induction starts anew. It needs
//! less than a third of Byzantine power in each set while any of its signatures matters: keys of
//! former validators can rewrite what they signed last for whoever knows only an old set.
//!
//! That an honest replica signs nothing in e once it knows the Commit QC is not needed for this. It
//! keeps what a key signs in one order, and lets the old set come to rest.
//!
//! # Why it does not stop
//!
//! Let messages between correct replicas take at most d from now on, and let w be the longest wait
//! in force at any of them, with w > 4d, and v the highest view, of the last epoch, that a correct
//! replica is in.
//! 1. Within w every correct replica has timed out or left its view, and said so. Who is behind v
//!    is answered with the certificate that leads there, a Commit QC if it is behind in epochs
//!    (and whoever holds that tells it unasked): after w + 2d all are in view v or beyond. Of what
//!    they now know to be certified, what they lack is fetched in a round trip, beside the views.
//! 2. If view v has lost its leader or its proposal, all time it out: after one wait more and d
//!    all hold the TC, and are in v+1 within d of each other: 2w + 4d.
//! 3. A view of a correct leader whose waits are above 4d is certified within 2d: its leader holds
//!    a QC or TC of the view before and the highest QC of a quorum, so all correct replicas may
//!    vote, and do. Three such views in a row commit: 2w + 10d.
//! 4. The view of a dead leader costs its wait and 2d, and with [`VoteTo::NextLeader`] so does the
//!    view before it, whose votes went to the dead one: the last votes certify that. The view after
//!    v may wait 2w, and each further one without a certificate twice the one before, up to the
//!    cap; once a view is certified, only the views since the last commit count, in a rotation for
//!    2w at most.
//!
//! So after healing every correct replica commits within 3 current time-outs plus 10 message
//! delays, if the three (two, with `TwoChain`) leaders after v are correct. Each dead one on the
//! way adds its wait and 2d, and each view certified before it 2d: only time tells the dead from
//! the slow. With equal powers the 2f + 1 correct leaders of 3f + 1 stand in f gaps, so in every
//! rotation three of them follow each other, and at most f views are lost on the way: with n = 4,
//! one dead and votes to all, 4w + 16d. For other powers the draw of the leaders decides
//! (`pacemaker.rs`); with `LeaderRule::Active` the same holds once a term has passed without a
//! commit, and until then those lead who signed before. If w is below 4d it doubles with each
//! rotation without a commit, until its cap. A change of the set needs the same three views; its
//! new leader holds the Commit QC a delay later, and asks for B in a round trip if it lacks it.
//!
//! # Deviations from the papers
//!
//! - There is no lock variable (HotStuff, PODC 2019, algorithm 2): rule 3, Jolteon's, makes it
//!   redundant.
//! - A time-out carries the last vote, and time-outs of blocking power are joined: with n = 4 and
//!   one crashed, plain chained HotStuff never sees three consecutive QCs (BeeGees, PODC 2023).
//! - Back-off falls back only with commits, not with every QC.
//! - The first wait for a leader who has been silent for a rotation is a quarter: that needs no
//!   agreement on who is silent.
//! - By [`LeaderRule::Active`](crate::types::LeaderRule) only those lead who have signed lately, as
//!   in Carousel (FC 2022), but by terms of views: `leaders.rs` has the rule and its reasons.
//! - Seeing any proposal, vote or time-out of an idle view ends its idleness: a proposal that is
//!   lost on its way to most replicas would else cost them all `max_idle`.
//! - A Commit QC whose block is unknown is the highest QC at once, not once the block has come: so
//!   the rule that nothing more is signed in its epoch survives a crash, with no record of its own.
//! - The new set need not decide anything before it begins: a Commit QC proves by itself that the
//!   phases before it were certified in the views just before.
//!
//! # Bounds
//!
//! Pending blocks and their bytes by [`Limits`]; unjudged proposals 8; votes by a window of views,
//! one per validator and view, and the header of the first proposal of each; time-outs one per
//! validator; one sync answer, and 4 MiB of fetched blocks unjudged before the next is asked for;
//! the last [`EPOCHS_KEPT`] epochs; evidence one per validator, epoch and kind, [`EVIDENCE_MAX`] in
//! all.
//!
//! [`EVIDENCE_MAX`]: crate::types::limits::EVIDENCE_MAX

mod collect;
mod evidence;
mod fetched;
mod leaders;
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

pub use leaders::Activity;
pub use state::{Algorithm, Config, Limits, SyncConfig, VoteTo};
pub use step::{
    CommittedHead, Dispatch, Durable, Effect, EpochRecord, Event, Input, Outbox, PendingBlock,
    Persist, SignError, Signer, Step, StoredProposal, To, VotingRecord, Write, EPOCHS_KEPT,
};
