//! Everything a replica is told when it is opened, as a builder.

use std::collections::BTreeMap;
use std::ffi::c_char;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_bytes::ByteBuf;

use super::callback::Owner;
use super::entry::{enter, enter_quietly, failure, Call, Failure};
use super::handle::{magic, take, Noun};
use super::pacemaker::{CPacemaker, PacemakerTable};
use super::signer::{CSigner, SignerTable};
use super::*;
use crate::algorithm::{Limits, Signer, SyncConfig, VoteTo};
use crate::block_tree::{Durability, OpenOptions};
use crate::pacemaker::{DefaultPacemaker, Pacemaker};
use crate::replica::ReplicaConfig;
use crate::types::limits::*;
use crate::types::{
    ChainId, ChainParameters, CommitRule, Genesis, KeyPair, LeaderRule, ValidatorAddress,
    ValidatorSet,
};

/// Commit rule: three certificates in consecutive views commit a block (HotStuff). The default.
pub const HOTSTUFF_COMMIT_RULE_THREE_CHAIN: u32 = 0;
/// Commit rule: two certificates in consecutive views commit a block (Jolteon): one round sooner.
pub const HOTSTUFF_COMMIT_RULE_TWO_CHAIN: u32 = 1;

/// To whom votes go: to all with up to 10 validators, to the next leader beyond. The default.
pub const HOTSTUFF_VOTE_TO_AUTO: u32 = 0;
/// To whom votes go: to everyone. A dead next leader costs nothing extra.
pub const HOTSTUFF_VOTE_TO_ALL: u32 = 1;
/// To whom votes go: only to the leader of the next view. The fewest messages.
pub const HOTSTUFF_VOTE_TO_NEXT_LEADER: u32 = 2;

/// What a crash may take: nothing. Every step is synced to the disk before a word of it is said.
/// The default.
pub const HOTSTUFF_DURABILITY_SYNCED: u32 = 0;
/// What a crash may take: nothing if the process dies, much if the machine does (power loss, kernel
/// crash). A replica that has lost its memory may then vote twice: if that can happen to more than
/// a third of the power at once, the chain is not safe. Far faster.
pub const HOTSTUFF_DURABILITY_PROCESS_CRASH: u32 = 1;

/// Everything a replica is told when it is opened: a builder. One config may open any number of
/// replicas, each of which keeps a copy.
pub struct hotstuff_config {
    _private: [u8; 0],
}

impl Noun for hotstuff_config {
    const MAGIC: u32 = magic(b"CONF");
    type Value = Mutex<Settings>;
}

/// Who holds the key that a replica signs with.
#[derive(Clone)]
pub(super) enum Key {
    Pair(Arc<KeyPair>),
    Signer(Arc<SignerTable>),
}

/// What a config and the replicas that it has opened share: kept by each until it is freed.
pub(super) type SharedTables = (Option<Arc<PacemakerTable>>, Option<Key>);

impl Key {
    /// The signer of one replica, and whom it speaks for.
    fn signer(&self, owner: Owner) -> (ValidatorAddress, Arc<dyn Signer>) {
        match self.clone() {
            Key::Pair(pair) => (pair.address(), pair),
            Key::Signer(shared) => (shared.address(), Arc::new(CSigner { shared, owner })),
        }
    }
}

/// What has been set so far.
pub(super) struct Settings {
    pub(super) chain_id: Option<ChainId>,
    pub(super) validators: Option<ValidatorSet>,
    pub(super) app_state: BTreeMap<ByteBuf, ByteBuf>,
    pub(super) parameters: ChainParameters,
    pub(super) key: Option<Key>,
    pub(super) data_dir: Option<PathBuf>,
    pub(super) create: bool,
    pub(super) map_bytes: u64,
    pub(super) durability: Durability,
    pub(super) pacemaker: DefaultPacemaker,
    pub(super) pacemaker_table: Option<Arc<PacemakerTable>>,
    pub(super) vote_to: VoteTo,
    pub(super) sync: SyncConfig,
    pub(super) limits: Limits,
}

const MAP_BYTES_DEFAULT: u64 = 1 << 40; // sparse: address space, not disk
const MAP_BYTES_MIN: u64 = 16 << 20;
const MAP_BYTES_MAX: u64 = 1 << 46;

impl Default for Settings {
    fn default() -> Self {
        Settings {
            chain_id: None,
            validators: None,
            app_state: BTreeMap::new(),
            parameters: ChainParameters::default(),
            key: None,
            data_dir: None,
            create: false,
            map_bytes: MAP_BYTES_DEFAULT,
            durability: Durability::default(),
            pacemaker: DefaultPacemaker::default(),
            pacemaker_table: None,
            vote_to: VoteTo::default(),
            sync: SyncConfig::default(),
            limits: Limits::default(),
        }
    }
}

impl Settings {
    /// What all replicas of the chain agree on.
    pub(super) fn genesis(&self) -> Result<Genesis, Failure> {
        let unset = |what: &str| {
            failure(
                HOTSTUFF_E_STATE,
                format!("{what} is not set; the genesis needs it"),
            )
        };
        Ok(Genesis {
            chain_id: self
                .chain_id
                .ok_or_else(|| unset("the chain id (hotstuff_config_set_chain_id)"))?,
            validator_set: self.validators.clone().ok_or_else(|| {
                unset("the first validator set (hotstuff_config_set_genesis_validators)")
            })?,
            app_state: self.app_state.clone(),
            parameters: self.parameters,
        })
    }

    pub(super) fn shared_tables(&self) -> SharedTables {
        (self.pacemaker_table.clone(), self.key.clone())
    }

    fn pacemaker(&self, owner: Owner) -> Arc<dyn Pacemaker> {
        match self.pacemaker_table.clone() {
            None => Arc::new(self.pacemaker),
            Some(table) => Arc::new(CPacemaker::new(table, owner, self.pacemaker)),
        }
    }

    /// The settings, complete and consistent, for a replica whose callbacks are `owner`'s.
    pub(super) fn to_replica_config(&self, owner: Owner) -> Result<ReplicaConfig, Failure> {
        let genesis = self.genesis()?;
        let data_dir = self.data_dir.clone().ok_or_else(|| {
            let text = "the data directory is not set: call hotstuff_config_set_data_dir()";
            failure(HOTSTUFF_E_STATE, text)
        })?;
        if self.pacemaker.base_ms > self.pacemaker.max_ms {
            let DefaultPacemaker { base_ms, max_ms } = self.pacemaker;
            let text = format!(
                "the first view time-out ({base_ms} ms) exceeds the longest ({max_ms} ms): set \
                 both with hotstuff_config_set_view_timeout_ms()"
            );
            return Err(failure(HOTSTUFF_E_INVALID_ARGUMENT, text));
        }
        Ok(ReplicaConfig {
            genesis,
            signer: self.key.as_ref().map(|key| key.signer(owner)),
            storage: OpenOptions {
                data_dir,
                create: self.create,
                map_bytes: self.map_bytes,
                durability: self.durability,
            },
            pacemaker: self.pacemaker(owner),
            vote_to: self.vote_to,
            sync: self.sync,
            limits: self.limits,
        })
    }

    pub(super) fn set_chain_id(&mut self, chain_id: u64) -> Result<(), Failure> {
        self.chain_id = Some(ChainId(chain_id));
        Ok(())
    }

    pub(super) fn set_leader_rule(&mut self, rule: LeaderRule) {
        self.parameters.leader_rule = rule;
    }

    pub(super) fn set_data_dir(&mut self, path: &str) -> Result<(), Failure> {
        if path.is_empty() {
            return Err(failure(
                HOTSTUFF_E_INVALID_ARGUMENT,
                "the data directory is \"\"",
            ));
        }
        self.data_dir = Some(PathBuf::from(path));
        Ok(())
    }

    pub(super) fn set_map_bytes(&mut self, bytes: u64) -> Result<(), Failure> {
        self.map_bytes = within("map size, in bytes,", bytes, MAP_BYTES_MIN, MAP_BYTES_MAX)?;
        Ok(())
    }

    pub(super) fn set_durability(&mut self, durability: u32) -> Result<(), Failure> {
        self.durability = match durability {
            HOTSTUFF_DURABILITY_SYNCED => Durability::Synced,
            HOTSTUFF_DURABILITY_PROCESS_CRASH => Durability::ProcessCrash,
            _ => return Err(no_such("durability", durability)),
        };
        Ok(())
    }

    pub(super) fn set_commit_rule(&mut self, rule: u32) -> Result<(), Failure> {
        self.parameters.commit_rule = match rule {
            HOTSTUFF_COMMIT_RULE_THREE_CHAIN => CommitRule::ThreeChain,
            HOTSTUFF_COMMIT_RULE_TWO_CHAIN => CommitRule::TwoChain,
            _ => return Err(no_such("commit rule", rule)),
        };
        Ok(())
    }

    pub(super) fn set_vote_to(&mut self, vote_to: u32) -> Result<(), Failure> {
        self.vote_to = match vote_to {
            HOTSTUFF_VOTE_TO_AUTO => VoteTo::Auto,
            HOTSTUFF_VOTE_TO_ALL => VoteTo::All,
            HOTSTUFF_VOTE_TO_NEXT_LEADER => VoteTo::NextLeader,
            _ => return Err(no_such("vote_to", vote_to)),
        };
        Ok(())
    }

    pub(super) fn set_max_idle_ms(&mut self, max_idle_ms: u32) -> Result<(), Failure> {
        self.parameters.max_idle_ms = within_u32("max_idle_ms", max_idle_ms, 1, DAY_MS)?;
        Ok(())
    }

    pub(super) fn set_max_block_bytes(&mut self, bytes: u64) -> Result<(), Failure> {
        let bytes = within("max_block_bytes", bytes, 1, BLOCK_DATA_BYTES_MAX)?;
        self.parameters.block_data_bytes_max = bytes;
        Ok(())
    }

    pub(super) fn set_view_timeout_base_ms(&mut self, base_ms: u32) -> Result<(), Failure> {
        self.pacemaker.base_ms = within_u32("view time-out, in ms,", base_ms, 1, DAY_MS)?;
        Ok(())
    }

    pub(super) fn set_view_timeout_max_ms(&mut self, max_ms: u32) -> Result<(), Failure> {
        self.pacemaker.max_ms = within_u32("longest view time-out, in ms,", max_ms, 1, DAY_MS)?;
        Ok(())
    }

    pub(super) fn set_sync_request_limit(&mut self, blocks: u32) -> Result<(), Failure> {
        let most = BLOCKS_PER_RESPONSE_MAX as u32;
        self.sync.request_limit = within_u32("sync request_limit", blocks, 1, most)?;
        Ok(())
    }

    pub(super) fn set_sync_response_timeout_ms(&mut self, ms: u32) -> Result<(), Failure> {
        let ms = within_u32("sync response_timeout_ms", ms, 1, DAY_MS)?;
        self.sync.response_timeout = Duration::from_millis(u64::from(ms));
        Ok(())
    }

    pub(super) fn set_sync_interval_ms(&mut self, ms: u32) -> Result<(), Failure> {
        let ms = within_u32("sync interval_ms", ms, 1, DAY_MS)?;
        self.sync.interval = Duration::from_millis(u64::from(ms));
        Ok(())
    }

    pub(super) fn set_pending_blocks_max(&mut self, blocks: u64) -> Result<(), Failure> {
        let blocks = within("limits.pending_blocks_max", blocks, 8, 1 << 20)?;
        self.limits.pending_blocks_max = blocks as usize;
        Ok(())
    }

    pub(super) fn set_pending_bytes_max(&mut self, bytes: u64) -> Result<(), Failure> {
        self.limits.pending_bytes_max =
            within("limits.pending_bytes_max", bytes, 1 << 16, 1 << 40)?;
        Ok(())
    }

    pub(super) fn set_views_ahead_max(&mut self, views: u64) -> Result<(), Failure> {
        self.limits.views_ahead_max = within("limits.views_ahead_max", views, 1, 1 << 16)?;
        Ok(())
    }
}

const DAY_MS: u32 = 24 * 60 * 60 * 1000;

fn within(what: &str, value: u64, least: u64, most: u64) -> Result<u64, Failure> {
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    let text = format!("{what} is {value}; expected {least} to {most}");
    Err(failure(HOTSTUFF_E_INVALID_ARGUMENT, text))
}

fn within_u32(what: &str, value: u32, least: u32, most: u32) -> Result<u32, Failure> {
    within(what, u64::from(value), u64::from(least), u64::from(most)).map(|_| value)
}

fn no_such(what: &str, number: u32) -> Failure {
    let text = format!("no {what} has the number {number}; see hotstuff.h");
    failure(HOTSTUFF_E_INVALID_ARGUMENT, text)
}

/// # Safety
/// NULL, or a living config.
pub(super) unsafe fn settings<'c>(
    call: &'c Call,
    config: *const hotstuff_config,
) -> Result<MutexGuard<'c, Settings>, Failure> {
    // SAFETY: the caller's contract.
    let settings = unsafe { call.handle(config) }?;
    Ok(settings.lock().unwrap_or_else(PoisonError::into_inner))
}

/// # Safety
/// NULL, or a living config.
pub(super) unsafe fn change(
    config: *mut hotstuff_config,
    change: impl FnOnce(&Call, &mut Settings) -> Result<(), Failure>,
) -> hotstuff_status {
    enter(|call| {
        // SAFETY: the caller's contract.
        change(call, &mut *unsafe { settings(call, config) }?)
    })
}

/// Makes a config with the defaults. Required before a replica can be opened: the chain id, the
/// genesis validators and the data directory. [any]
///
/// @param out  receives the config: yours, free it with hotstuff_config_free()
/// @retval HOTSTUFF_E_NULL  `out` is NULL
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_config_new(out: *mut *mut hotstuff_config) -> hotstuff_status {
    enter(|call| {
        // SAFETY: the header's rules: NULL, or a place for a pointer.
        unsafe { call.out(out) }?.give(Mutex::default());
        Ok(())
    })
}

/// Which chain this is. Required. Part of the genesis, and through it of every signature: no
/// message of one chain means anything on another. The same on all replicas. [serial]
///
/// @param cfg       the config
/// @param chain_id  any number
/// @retval HOTSTUFF_E_NULL  `cfg` is NULL
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_config_set_chain_id(
    cfg: *mut hotstuff_config,
    chain_id: u64,
) -> hotstuff_status {
    // SAFETY: the header's rules: NULL, or a living config.
    unsafe { change(cfg, |_, settings| settings.set_chain_id(chain_id)) }
}

/// The validators that the chain begins with. Required. Part of the genesis: the same on all
/// replicas, in any order. [serial]
///
/// @param cfg  the config
/// @param set  at least one validator; copied
/// @retval HOTSTUFF_E_NULL              `cfg` or `set` is NULL
/// @retval HOTSTUFF_E_INVALID_ARGUMENT  the set is empty
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_config_set_genesis_validators(
    cfg: *mut hotstuff_config,
    set: *const hotstuff_validator_set,
) -> hotstuff_status {
    // SAFETY: the header's rules: NULL, or a living config.
    unsafe {
        change(cfg, |call, settings| {
            // SAFETY: the header's rules: NULL, or a living set.
            settings.validators = Some(validator_set::members(call, set)?.to_set()?);
            Ok(())
        })
    }
}

/// Sets one key of the app's state that the chain begins with. None are needed. Part of the
/// genesis: the same on all replicas. Of two calls for one key the later stands. [serial]
///
/// @param cfg        the config
/// @param key        the key; copied
/// @param key_len    1 to 500 bytes
/// @param value      the value; copied
/// @param value_len  0 to 16 MiB
/// @retval HOTSTUFF_E_NULL              `cfg` or `key` is NULL, or `value` is and `value_len` is
///                                      not 0
/// @retval HOTSTUFF_E_INVALID_ARGUMENT  `key_len` is 0
/// @retval HOTSTUFF_E_TOO_LARGE         the key or the value is longer than that
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_config_set_genesis_state(
    cfg: *mut hotstuff_config,
    key: *const u8,
    key_len: usize,
    value: *const u8,
    value_len: usize,
) -> hotstuff_status {
    // SAFETY: the header's rules: NULL, or a living config.
    unsafe {
        change(cfg, |call, settings| {
            // SAFETY: the header's rules for input bytes.
            let (key, value) = (call.bytes(key, key_len)?, call.bytes(value, value_len)?);
            updates::check_key(key)?;
            updates::check_value(value)?;
            settings
                .app_state
                .insert(ByteBuf::from(key), ByteBuf::from(value));
            Ok(())
        })
    }
}

/// The commit rule of the chain. Part of the genesis: the same on all replicas. Default:
/// ::HOTSTUFF_COMMIT_RULE_THREE_CHAIN. [serial]
///
/// @param cfg   the config
/// @param rule  one of the HOTSTUFF_COMMIT_RULE_ numbers
/// @retval HOTSTUFF_E_NULL              `cfg` is NULL
/// @retval HOTSTUFF_E_INVALID_ARGUMENT  `rule` is none of them
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_config_set_commit_rule(
    cfg: *mut hotstuff_config,
    rule: u32,
) -> hotstuff_status {
    // SAFETY: the header's rules: NULL, or a living config.
    unsafe { change(cfg, |_, settings| settings.set_commit_rule(rule)) }
}

/// How long a leader whose app has nothing to propose waits for work before it proposes an empty
/// block. Longer is quieter; shorter finds dead peers sooner. Part of the genesis: the same on all
/// replicas. Default: 5000. [serial]
///
/// @param cfg          the config
/// @param max_idle_ms  milliseconds, 1 to 86400000 (a day)
/// @retval HOTSTUFF_E_NULL              `cfg` is NULL
/// @retval HOTSTUFF_E_INVALID_ARGUMENT  out of that range
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_config_set_max_idle_ms(
    cfg: *mut hotstuff_config,
    max_idle_ms: u32,
) -> hotstuff_status {
    // SAFETY: the header's rules: NULL, or a living config.
    unsafe { change(cfg, |_, settings| settings.set_max_idle_ms(max_idle_ms)) }
}

/// The most data that a block may carry. Part of the genesis: the same on all replicas. Default:
/// 1048576 (1 MiB). [serial]
///
/// @param cfg    the config
/// @param bytes  bytes, 1 to 67108864 (64 MiB)
/// @retval HOTSTUFF_E_NULL              `cfg` is NULL
/// @retval HOTSTUFF_E_INVALID_ARGUMENT  out of that range
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_config_set_max_block_bytes(
    cfg: *mut hotstuff_config,
    bytes: u64,
) -> hotstuff_status {
    // SAFETY: the header's rules: NULL, or a living config.
    unsafe { change(cfg, |_, settings| settings.set_max_block_bytes(bytes)) }
}

/// The hash of the genesis: of the chain id, the validators, the first state, the commit rule,
/// max_idle and the block limit. Replicas work together only if theirs are equal: operators compare
/// it before they start a chain. [any]
///
/// @param cfg  the config
/// @param out  receives the hash
/// @retval HOTSTUFF_E_NULL   `cfg` or `out` is NULL
/// @retval HOTSTUFF_E_STATE  the chain id or the genesis validators are not set
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_config_genesis_hash(
    cfg: *const hotstuff_config,
    out: *mut hotstuff_hash,
) -> hotstuff_status {
    enter(|call| {
        // SAFETY: the header's rules: NULL, or a place for a hash.
        let out = unsafe { call.place(out) }?;
        // SAFETY: the header's rules: NULL, or a living config.
        let genesis = unsafe { settings(call, cfg) }?.genesis()?;
        out.write(genesis.hash().into());
        Ok(())
    })
}

/// The most bytes that any message of this chain has: what a transport must be able to carry. It is
/// the block limit and 512 KiB, which certificates of a thousand validators need. With few of
/// them, small blocks and few blocks at once (hotstuff_config_set_sync()), messages are far
/// smaller. [any]
///
/// @param cfg  the config
/// @param out  receives the number
/// @retval HOTSTUFF_E_NULL  `cfg` or `out` is NULL
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_config_max_message_bytes(
    cfg: *const hotstuff_config,
    out: *mut u64,
) -> hotstuff_status {
    enter(|call| {
        // SAFETY: the header's rules: NULL, or a place for a number.
        let out = unsafe { call.place(out) }?;
        // SAFETY: the header's rules: NULL, or a living config.
        out.write(
            unsafe { settings(call, cfg) }?
                .parameters
                .message_bytes_max() as u64,
        );
        Ok(())
    })
}

/// The key that the replica signs with. Without one, and without hotstuff_config_set_signer(), it
/// is a listener: it follows the chain and serves it, and never votes. A key that is not in the
/// validator set makes a listener too. Never run two replicas with one key: they would vote against
/// each other. [serial]
///
/// @param cfg  the config
/// @param key  the key pair; copied
/// @retval HOTSTUFF_E_NULL  `cfg` or `key` is NULL
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_config_set_keypair(
    cfg: *mut hotstuff_config,
    key: *const hotstuff_keypair,
) -> hotstuff_status {
    // SAFETY: the header's rules: NULL, or a living config.
    unsafe {
        change(cfg, |call, settings| {
            // SAFETY: the header's rules: NULL, or a living key pair.
            let key = Arc::new(call.handle(key)?.duplicate());
            settings.key = Some(Key::Pair(key));
            Ok(())
        })
    }
}

/// Who signs for the replica, in place of a key pair: where the key is not in this process. Of this
/// and hotstuff_config_set_keypair() the later call stands. On ::HOTSTUFF_OK the library has taken
/// over userdata: destroy() is called when the config, or its next key or signer, and all replicas
/// opened with this one have let go of it. The transport's key is another matter: see
/// hotstuff_tcp_config_set_peer_key(). [serial]
///
/// @param cfg    the config
/// @param key    the public key of the validator that it signs for
/// @param table  the table; copied
/// @retval HOTSTUFF_E_NULL              an argument or sign() is NULL
/// @retval HOTSTUFF_E_INVALID_ARGUMENT  the table was not initialised
/// @retval HOTSTUFF_E_UNSUPPORTED       the table sets callbacks that this library is too old to
///                                      know
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_config_set_signer(
    cfg: *mut hotstuff_config,
    key: *const hotstuff_validator_address,
    table: *const hotstuff_signer_callbacks,
) -> hotstuff_status {
    // SAFETY: the header's rules: NULL, or a living config; an address; an initialised table.
    unsafe {
        change(cfg, |call, settings| {
            let key = (*call.plain(key)?).into();
            settings.key = Some(Key::Signer(SignerTable::new(key, table)?));
            Ok(())
        })
    }
}

/// Where the replica keeps its block tree and its voting record. Required. The directory is locked
/// while a replica has it open. Losing or restoring an old copy of it may make a validator vote
/// twice: treat it like the key. [serial]
///
/// @param cfg   the config
/// @param path  path of a directory, UTF-8; copied
/// @retval HOTSTUFF_E_NULL              `cfg` or `path` is NULL
/// @retval HOTSTUFF_E_INVALID_ARGUMENT  `path` is empty or not UTF-8
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_config_set_data_dir(
    cfg: *mut hotstuff_config,
    path: *const c_char,
) -> hotstuff_status {
    // SAFETY: the header's rules: NULL, or a living config.
    unsafe {
        change(cfg, |call, settings| {
            // SAFETY: the header's rules for strings.
            settings.set_data_dir(call.text(path, "the data directory")?)
        })
    }
}

/// Whether hotstuff_replica_open() may create the directory and begin the chain in it. Default
/// false: a missing or empty directory is ::HOTSTUFF_E_NOT_FOUND, so that a disk that was not
/// mounted never becomes a validator without memory. True for the first start only. [serial]
///
/// @param cfg     the config
/// @param create  whether it may
/// @retval HOTSTUFF_E_NULL  `cfg` is NULL
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_config_set_create(
    cfg: *mut hotstuff_config,
    create: bool,
) -> hotstuff_status {
    // SAFETY: the header's rules: NULL, or a living config.
    unsafe {
        change(cfg, |_, settings| {
            settings.create = create;
            Ok(())
        })
    }
}

/// The most that the database may grow to. It is address space, not disk: the file is sparse. A
/// replica whose map is full halts; it goes on after it is opened with a larger one. Default:
/// 1099511627776 (1 TiB). [serial]
///
/// @param cfg    the config
/// @param bytes  bytes, 16777216 (16 MiB) to 70368744177664 (64 TiB)
/// @retval HOTSTUFF_E_NULL              `cfg` is NULL
/// @retval HOTSTUFF_E_INVALID_ARGUMENT  out of that range
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_config_set_map_size(
    cfg: *mut hotstuff_config,
    bytes: u64,
) -> hotstuff_status {
    // SAFETY: the header's rules: NULL, or a living config.
    unsafe { change(cfg, |_, settings| settings.set_map_bytes(bytes)) }
}

/// What a crash may take. Default: ::HOTSTUFF_DURABILITY_SYNCED. [serial]
///
/// @param cfg         the config
/// @param durability  one of the HOTSTUFF_DURABILITY_ numbers
/// @retval HOTSTUFF_E_NULL              `cfg` is NULL
/// @retval HOTSTUFF_E_INVALID_ARGUMENT  `durability` is none of them
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_config_set_durability(
    cfg: *mut hotstuff_config,
    durability: u32,
) -> hotstuff_status {
    // SAFETY: the header's rules: NULL, or a living config.
    unsafe { change(cfg, |_, settings| settings.set_durability(durability)) }
}

/// How long a view lasts before it is given up, if nothing goes wrong and if all does: the wait
/// doubles with each view that fails. The longest must exceed four message delays of the real
/// network. May differ between replicas, but not by much. Default: 1000, 60000. [serial]
///
/// @param cfg         the config
/// @param initial_ms  milliseconds, 1 to 86400000 (a day)
/// @param max_ms      milliseconds, `initial_ms` to 86400000
/// @retval HOTSTUFF_E_NULL              `cfg` is NULL
/// @retval HOTSTUFF_E_INVALID_ARGUMENT  out of these ranges; neither is set
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_config_set_view_timeout_ms(
    cfg: *mut hotstuff_config,
    initial_ms: u32,
    max_ms: u32,
) -> hotstuff_status {
    // SAFETY: the header's rules: NULL, or a living config.
    unsafe {
        change(cfg, |_, settings| {
            within_u32("longest view time-out, in ms,", max_ms, initial_ms, DAY_MS)?;
            settings.set_view_timeout_base_ms(initial_ms)?;
            settings.set_view_timeout_max_ms(max_ms)
        })
    }
}

/// Replaces the pacemaker: how long views last, and who leads them. The whole chain must have the
/// same view_leader(). On ::HOTSTUFF_OK the library has taken over userdata: destroy() is called
/// when the config, or its next pacemaker, and all replicas opened with this one have let go of
/// it. [serial]
///
/// @param cfg    the config
/// @param table  the table; copied
/// @retval HOTSTUFF_E_NULL              `cfg` or `table` is NULL
/// @retval HOTSTUFF_E_INVALID_ARGUMENT  the table was not initialised
/// @retval HOTSTUFF_E_UNSUPPORTED       the table sets callbacks that this library is too old to
///                                      know
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_config_set_pacemaker(
    cfg: *mut hotstuff_config,
    table: *const hotstuff_pacemaker_callbacks,
) -> hotstuff_status {
    // SAFETY: the header's rules: NULL, or a living config; NULL, or an initialised table.
    unsafe {
        change(cfg, |_, settings| {
            settings.pacemaker_table = Some(PacemakerTable::new(table)?);
            Ok(())
        })
    }
}

/// To whom votes go. May differ between replicas. Default: ::HOTSTUFF_VOTE_TO_AUTO. [serial]
///
/// @param cfg      the config
/// @param vote_to  one of the HOTSTUFF_VOTE_TO_ numbers
/// @retval HOTSTUFF_E_NULL              `cfg` is NULL
/// @retval HOTSTUFF_E_INVALID_ARGUMENT  `vote_to` is none of them
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_config_set_vote_to(
    cfg: *mut hotstuff_config,
    vote_to: u32,
) -> hotstuff_status {
    // SAFETY: the header's rules: NULL, or a living config.
    unsafe { change(cfg, |_, settings| settings.set_vote_to(vote_to)) }
}

/// How the replica catches up with the others. Default: 256, 2000. [serial]
///
/// @param cfg                  the config
/// @param request_limit        blocks asked for at once, 1 to 1024
/// @param response_timeout_ms  milliseconds that a peer has to answer, 1 to 86400000 (a day)
/// @retval HOTSTUFF_E_NULL              `cfg` is NULL
/// @retval HOTSTUFF_E_INVALID_ARGUMENT  out of these ranges; neither is set
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_config_set_sync(
    cfg: *mut hotstuff_config,
    request_limit: u32,
    response_timeout_ms: u32,
) -> hotstuff_status {
    // SAFETY: the header's rules: NULL, or a living config.
    unsafe {
        change(cfg, |_, settings| {
            within_u32("sync response_timeout_ms", response_timeout_ms, 1, DAY_MS)?;
            settings.set_sync_request_limit(request_limit)?;
            settings.set_sync_response_timeout_ms(response_timeout_ms)
        })
    }
}

/// Frees a config. Replicas opened with it keep their copy. [any]
///
/// @param cfg  the config; NULL is a no-op
#[no_mangle]
pub unsafe extern "C" fn hotstuff_config_free(cfg: *mut hotstuff_config) {
    // SAFETY: the header's rules: NULL, or a living config that the caller gives up.
    enter_quietly(|| drop(unsafe { take(cfg) }));
}
