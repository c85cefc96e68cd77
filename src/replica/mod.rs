//! The replica (floor 5): threads, disk and network around the algorithm.
//!
//! ```text
//!   network --> hotstuff-filter --> hotstuff-alice --> disk, then network
//!                    |                 |      ^
//!                    v                 v      |
//!              hotstuff-sync      hotstuff-app          hotstuff-events --> host
//! ```
//!
//! Five threads, bounded queues between them, and nobody who polls: an idle replica sleeps. Alice
//! is the only one that writes; who asks her where she is reads what she has published. All
//! signals are blocked in these threads: they belong to the host.
//!
//! Life: [`Replica::open`], `start` once, `stop`, drop. A replica that cannot go on (its disk
//! fails) halts: it falls silent, keeps the reason, and wakes all who wait.

mod alice;
mod app_thread;
mod clock;
mod connections;
mod early;
mod events;
mod inbox;
mod message_filter;
mod metrics;
mod peers;
mod prometheus;
mod shared;
pub(crate) mod signals;
mod sync_server;
mod waiters;
mod window;

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{bounded, Receiver};

use crate::algorithm::verify::{ed25519, Verifier};
use crate::algorithm::{
    Algorithm, Config, Durable, EpochRecord, Event, Limits, Signer, Step, SyncConfig, VoteTo,
};
use crate::app::App;
use crate::block_tree::{BlockTree, OpenOptions, Snapshot, StorageError};
use crate::network::NetworkProvider;
use crate::pacemaker::Pacemaker;
use crate::types::limits::BLOCKS_PER_RESPONSE_MAX;
use crate::types::*;

use self::alice::{Alice, ToAlice, OWN_VOTES_MAX};
use self::app_thread::{AppThread, QUESTIONS_MAX};
use self::connections::Connections;
use self::early::Early;
use self::events::Handler;
use self::message_filter::MessageFilter;
use self::peers::{Peers, IN_FLIGHT_TOTAL};
use self::shared::{spawn, Place, Role, Shared};
use self::sync_server::{SyncServer, SYNC_QUEUE_MAX};
use self::window::Window;

/// Everything a replica is told when it is opened.
#[derive(Clone)]
pub struct ReplicaConfig {
    pub genesis: Genesis,
    /// The validator it speaks for and who signs; none for a listener.
    pub signer: Option<(ValidatorAddress, Arc<dyn Signer>)>,
    pub storage: OpenOptions,
    pub pacemaker: Arc<dyn Pacemaker>,
    pub vote_to: VoteTo,
    pub sync: SyncConfig,
    pub limits: Limits,
}

/// Why a call failed.
#[derive(Debug)]
pub enum ReplicaError {
    Storage(StorageError),
    /// Out of order: started twice, or stopped.
    State(&'static str),
    /// Called from inside a callback of this replica, where it would wait for itself.
    Reentrant,
    TimedOut,
    /// Stopped, or never started.
    Closed,
    /// The replica stopped itself; the text says why and what to do.
    Halted(String),
    /// A bounded queue is full: try again later.
    WouldBlock,
    TooLarge,
    /// A thread could not be started.
    Thread(std::io::Error),
}

impl fmt::Display for ReplicaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReplicaError::Storage(error) => error.fmt(f),
            ReplicaError::State(what) => f.write_str(what),
            ReplicaError::Reentrant => f.write_str(
                "called from inside a callback of this replica, where it would wait for itself",
            ),
            ReplicaError::TimedOut => f.write_str("timed out"),
            ReplicaError::Closed => f.write_str("the replica is stopped, or was never started"),
            ReplicaError::Halted(why) => write!(f, "the replica has halted: {why}"),
            ReplicaError::WouldBlock => f.write_str("a bounded queue is full: try again later"),
            ReplicaError::TooLarge => f.write_str("larger than any message of this chain"),
            ReplicaError::Thread(error) => write!(f, "a thread could not be started: {error}"),
        }
    }
}

impl std::error::Error for ReplicaError {}

/// A committed block, as the host receives it.
#[derive(Clone, Debug)]
pub struct CommittedBlock {
    pub hash: BlockHash,
    pub block: Block,
}

/// Where a replica is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Info {
    pub epoch: Epoch,
    pub view: ViewNumber,
    pub committed_height: BlockHeight,
    pub highest_qc_view: ViewNumber,
    /// 0 when not syncing.
    pub sync_target_height: BlockHeight,
    pub is_validator: bool,
    /// It has seen signatures of its own key that it does not remember: until it starts again it
    /// only listens.
    pub is_silenced: bool,
    pub is_halted: bool,
}

/// Counters since the replica was opened.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    pub epoch: u64,
    pub current_view: u64,
    pub committed_height: u64,
    pub proposals: u64,
    pub votes: u64,
    pub view_timeouts: u64,
    pub messages_in: u64,
    /// A broadcast counts once for each other validator.
    pub messages_out: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Refused or dropped messages, all kinds and peers.
    pub messages_rejected: u64,
    pub events_dropped: u64,
    /// Disk transactions: one for each step that writes.
    pub transactions: u64,
    /// Questions that the app did not answer: it panicked, had too many before, or the state to
    /// answer from was not to be had.
    pub app_failures: u64,
    /// Pieces of evidence kept: of each validator, epoch and kind the first.
    pub evidence_found: u64,
    /// Dropped messages by peer, and by kind and reason in words ("vote: wrong signature").
    pub rejected_by: Vec<(ValidatorAddress, String, u64)>,
}

/// An event with the time it happened (Unix time, nanoseconds).
#[derive(Clone, Debug)]
pub struct ReplicaEvent {
    pub time_unix_ns: u64,
    pub kind: ReplicaEventKind,
}

/// What an event says.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)] // the large one is rare
pub enum ReplicaEventKind {
    Algorithm(Event),
    /// What an operator should look at, in words: the signer did not sign (the view is lost,
    /// nothing else), or the block tree was repaired at opening.
    Warning(String),
    /// The bounded queue of events overflowed: so many were lost.
    Dropped(u64),
    /// The replica has stopped itself. The last event.
    Fatal(String),
}

/// One replica: threads, disk and network around the algorithm. Dropping it stops it.
pub struct Replica {
    shared: Arc<Shared>,
    life: Mutex<Life>,
}

/// Where it is in its life. There is no way back.
enum Life {
    Opened(Box<Opened>),
    Started(Vec<JoinHandle<()>>),
    Stopped,
}

/// What the threads will own.
struct Opened {
    config: ReplicaConfig,
    app: Box<dyn App>,
    tree: BlockTree,
    durable: Durable,
    inputs: Receiver<ToAlice>,
    on_event: Option<Handler>,
}

impl Replica {
    /// Opens or creates the directory. No thread runs yet.
    ///
    /// # Errors
    /// [`ReplicaError::Storage`].
    pub fn open(
        mut config: ReplicaConfig,
        app: Box<dyn App>,
        network: Arc<dyn NetworkProvider>,
    ) -> Result<Replica, ReplicaError> {
        let (tree, durable) =
            BlockTree::open(&config.storage, &config.genesis).map_err(ReplicaError::Storage)?;
        let most = u32::try_from(BLOCKS_PER_RESPONSE_MAX).expect("a small number");
        config.sync.request_limit = config.sync.request_limit.clamp(1, most);

        let (alice, inputs) = bounded(IN_FLIGHT_TOTAL + QUESTIONS_MAX + CONTROL_PLACES);
        let me = config.signer.as_ref().map(|(address, _)| *address);
        let message_bytes_max = config.genesis.parameters.message_bytes_max();
        let reader = tree.reader();
        let validators = &durable.epoch().validator_set;
        let shared = Shared::new(me, validators, message_bytes_max, network, reader, alice);
        shared
            .published
            .publish(info_at_rest(me, &durable), place_at_rest(&durable));

        let opened = Opened {
            config,
            app,
            tree,
            durable,
            inputs,
            on_event: None,
        };
        let life = Mutex::new(Life::Opened(Box::new(opened)));
        Ok(Replica {
            shared: Arc::new(shared),
            life,
        })
    }

    /// `on_event` is called on one thread of its own, in order; set before start.
    ///
    /// # Errors
    /// [`ReplicaError::State`] once started.
    pub fn set_events(
        &self,
        on_event: Box<dyn FnMut(ReplicaEvent) + Send>,
    ) -> Result<(), ReplicaError> {
        self.check_halted()?;
        match &mut *self.life() {
            Life::Opened(opened) => opened.on_event = Some(on_event),
            _ => {
                return Err(ReplicaError::State(
                    "events are set before the replica is started",
                ))
            }
        }
        Ok(())
    }

    /// Starts the threads, and connects to the validators: those of now, and those who join later.
    /// Once.
    ///
    /// # Errors
    /// [`ReplicaError::State`] the second time, and after a stop; [`ReplicaError::Thread`].
    pub fn start(&self) -> Result<(), ReplicaError> {
        self.check_halted()?;
        let mut life = self.life();
        if self.shared.is_stopping() {
            return Err(ReplicaError::State(
                "a stopped replica does not start again: open it",
            ));
        }
        if !matches!(*life, Life::Opened(_)) {
            return Err(ReplicaError::State("the replica is already started"));
        }
        let Life::Opened(opened) = std::mem::replace(&mut *life, Life::Stopped) else {
            unreachable!("looked at above, under the lock")
        };
        let mut handles = Vec::new();
        let started = opened.start(&self.shared, &mut handles);
        *life = Life::Started(handles);
        started.map_err(|error| {
            self.shared.request_stop(); // what has started ends; stop() collects it
            ReplicaError::Thread(error)
        })
    }

    /// Stops and joins the threads. After Ok no callback runs. Idempotent.
    ///
    /// # Errors
    /// [`ReplicaError::TimedOut`] if a callback did not return in time: call again.
    /// [`ReplicaError::Reentrant`] inside a callback.
    pub fn stop(&self, timeout: Duration) -> Result<(), ReplicaError> {
        if self.shared.is_own_thread() {
            return Err(ReplicaError::Reentrant);
        }
        self.shared.request_stop();
        self.end_unstarted();
        let gone = || self.shared.is_quiet().then_some(());
        self.shared
            .waiters
            .wait(timeout, gone)
            .ok_or(ReplicaError::TimedOut)?;
        let ended = std::mem::replace(&mut *self.life(), Life::Stopped);
        if let Life::Started(handles) = ended {
            // They have said that they are gone: what they still do is return.
            handles.into_iter().for_each(|handle| drop(handle.join()));
        }
        Ok(())
    }

    /// The host has work: sticky until the app is asked. On any thread, also in callbacks.
    ///
    /// # Errors
    /// [`ReplicaError::Closed`] once stopped, [`ReplicaError::Halted`].
    pub fn notify(&self) -> Result<(), ReplicaError> {
        self.check_open()?;
        self.shared.notify();
        Ok(())
    }

    /// Copies a message that the host has received from `from`, for networks that push.
    ///
    /// # Errors
    /// [`ReplicaError::TooLarge`]; [`ReplicaError::WouldBlock`] when the peer's queue is full;
    /// [`ReplicaError::Closed`] when it is not running; [`ReplicaError::Halted`].
    pub fn deliver(&self, from: ValidatorAddress, message: &[u8]) -> Result<(), ReplicaError> {
        self.check_open()?;
        if self.shared.is_quiet() {
            return Err(ReplicaError::Closed);
        }
        if message.len() > self.shared.message_bytes_max {
            return Err(ReplicaError::TooLarge);
        }
        if !self.shared.inbox.push(from, message) {
            return Err(ReplicaError::WouldBlock);
        }
        self.shared.network.wake();
        Ok(())
    }

    /// The committed state, and every block on disk, as of now. Also before start, and after stop.
    ///
    /// # Errors
    /// [`ReplicaError::Storage`].
    pub fn snapshot(&self) -> Result<Snapshot, ReplicaError> {
        self.shared.reader.snapshot().map_err(ReplicaError::Storage)
    }

    /// The committed block at `after` + 1, as soon as there is one. Lossless: the cursor is the
    /// host's, and the blocks are on disk. A block that cannot be read is the host's trouble: the
    /// replica goes on, since what it votes for does not depend on it.
    ///
    /// # Errors
    /// [`ReplicaError::TimedOut`]; [`ReplicaError::Closed`] after stop; [`ReplicaError::Halted`];
    /// [`ReplicaError::Storage`] if the database fails or the block cannot be read.
    pub fn next_committed(
        &self,
        after: BlockHeight,
        timeout: Duration,
    ) -> Result<CommittedBlock, ReplicaError> {
        let ready = || match self.check_open() {
            Ok(()) => (self.shared.published.committed() > after.0).then_some(Ok(())),
            Err(error) => Some(Err(error)),
        };
        self.shared
            .waiters
            .wait(timeout, ready)
            .ok_or(ReplicaError::TimedOut)??;
        let found = self.snapshot()?.committed(after.next());
        let (hash, block) = found.map_err(ReplicaError::Storage)?;
        Ok(CommittedBlock { hash, block })
    }

    /// Ok once stopped; Halted with the reason; TimedOut.
    ///
    /// # Errors
    /// [`ReplicaError::Halted`]; [`ReplicaError::TimedOut`]; [`ReplicaError::Reentrant`].
    pub fn wait(&self, timeout: Duration) -> Result<(), ReplicaError> {
        if self.shared.is_own_thread() {
            return Err(ReplicaError::Reentrant);
        }
        let ready = || match self.check_halted() {
            Err(error) => Some(Err(error)),
            Ok(()) => (self.shared.is_stopping() && self.shared.is_quiet()).then_some(Ok(())),
        };
        self.shared
            .waiters
            .wait(timeout, ready)
            .ok_or(ReplicaError::TimedOut)?
    }

    /// Where it is, as of the last step on disk.
    pub fn info(&self) -> Info {
        let is_halted = self.shared.halt_reason().is_some();
        Info {
            is_halted,
            ..self.shared.published.info()
        }
    }

    /// The counters.
    pub fn metrics(&self) -> Metrics {
        let info = self.shared.published.info();
        let (current_view, committed_height) = (info.view.0, info.committed_height.0);
        Metrics {
            epoch: info.epoch.0,
            current_view,
            committed_height,
            ..self.shared.counters.metrics()
        }
    }

    /// The counters, and where it is, in the text format of Prometheus (0.0.4).
    pub fn metrics_text(&self) -> String {
        prometheus::text(&self.info(), &self.metrics())
    }

    /// Gives up what was never started.
    fn end_unstarted(&self) {
        let mut life = self.life();
        if matches!(*life, Life::Opened(_)) {
            let opened = std::mem::replace(&mut *life, Life::Stopped);
            drop(life);
            drop(opened); // runs the host's destructors: not under the lock
            self.shared.waiters.wake();
        }
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_halted(&self) -> Result<(), ReplicaError> {
        match self.shared.halt_reason() {
            Some(halt) => Err(ReplicaError::Halted(halt.reason.clone())),
            None => Ok(()),
        }
    }

    fn check_open(&self) -> Result<(), ReplicaError> {
        self.check_halted()?;
        if self.shared.is_stopping() {
            Err(ReplicaError::Closed)
        } else {
            Ok(())
        }
    }
}

impl Drop for Replica {
    /// Stops without limit. Inside a callback it only asks: the threads end by themselves when
    /// the callback has returned, and free what they hold.
    fn drop(&mut self) {
        if self.stop(Duration::MAX).is_err() {
            self.shared.request_stop();
        }
    }
}

/// Places in Alice's queue for `Notified` and `Stop`, and to spare.
const CONTROL_PLACES: usize = 8;

impl Opened {
    fn start(
        self: Box<Self>,
        shared: &Arc<Shared>,
        handles: &mut Vec<JoinHandle<()>>,
    ) -> std::io::Result<()> {
        let Opened {
            config,
            app,
            tree,
            durable,
            inputs,
            on_event,
        } = *self;
        let EpochRecord {
            epoch,
            ref validator_set,
            ..
        } = *durable.epoch();
        let connections = Connections::open(shared.me, validator_set, &*shared.network);
        let (ask, questions) = bounded(QUESTIONS_MAX);
        let (to_sync, requests) = bounded(SYNC_QUEUE_MAX);

        if let Some(on_event) = on_event {
            let batches = shared.events.open();
            let warnings = tree.warnings().to_vec();
            shared.events.report(Vec::new(), warnings);
            handles.push(spawn(
                shared,
                "hotstuff-events",
                Role::Events,
                move |shared| {
                    events::run(shared, &batches, on_event);
                    Ok(())
                },
            )?);
        }
        let app = AppThread {
            shared: shared.clone(),
            app,
            questions,
        };
        handles.push(spawn(shared, "hotstuff-app", Role::Worker, |_| {
            app.run();
            Ok(())
        })?);
        let sync_server = SyncServer::new(shared.clone(), requests);
        handles.push(spawn(shared, "hotstuff-sync", Role::Worker, |_| {
            sync_server.run();
            Ok(())
        })?);
        let (to_filter, own_votes) = crossbeam_channel::bounded(OWN_VOTES_MAX);
        let mut verifier = Verifier::new(config.genesis.hash(), ed25519);
        let mut window = Window::new(config.limits.views_ahead_max);
        for record in &durable.epochs {
            verifier.learn(record.epoch, record.validator_set.clone());
            window.learn(record.epoch, record.validator_set.clone());
        }
        let filter = MessageFilter {
            shared: shared.clone(),
            verifier,
            epoch,
            early: Early::new(shared.message_bytes_max),
            peers: Peers::new(validator_set, shared.message_bytes_max),
            window,
            sync_server: to_sync,
            own_votes,
        };
        let alice = Alice {
            shared: shared.clone(),
            reader: tree.reader(),
            tree,
            signer: config.signer.as_ref().map(|(_, signer)| signer.clone()),
            pacemaker: config.pacemaker.clone(),
            inputs,
            app: ask,
            own: VecDeque::new(),
            own_votes: to_filter,
            late: 0,
            transaction_time: Duration::ZERO,
            connections,
            buffer: Vec::new(),
        };
        handles.push(spawn(
            shared,
            "hotstuff-alice",
            Role::Worker,
            move |shared| alice.run(recover(config, durable, shared)),
        )?);
        handles.push(spawn(shared, "hotstuff-filter", Role::Worker, |_| {
            filter.run();
            Ok(())
        })?);
        Ok(())
    }
}

/// The algorithm as it stands on disk.
fn recover(config: ReplicaConfig, durable: Durable, shared: &Shared) -> Step {
    let config = Config {
        me: shared.me,
        genesis: config.genesis.hash(),
        parameters: config.genesis.parameters,
        pacemaker: config.pacemaker,
        vote_to: config.vote_to,
        sync: config.sync,
        limits: config.limits,
    };
    Algorithm::recover(config, durable, shared.clock.now())
}

/// What is known before the algorithm has recovered.
fn info_at_rest(me: Option<ValidatorAddress>, durable: &Durable) -> Info {
    let set = &durable.epoch().validator_set;
    let place = place_at_rest(durable);
    Info {
        epoch: place.at.epoch,
        view: place.at.view,
        committed_height: durable.committed.height,
        highest_qc_view: durable.highest_qc.rank().view,
        is_validator: me.is_some_and(|me| set.contains(&me)),
        ..Info::default()
    }
}

fn place_at_rest(durable: &Durable) -> Place {
    Place {
        at: durable.view(),
        highest_qc: durable.highest_qc.rank(),
    }
}
