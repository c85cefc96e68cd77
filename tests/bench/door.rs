//! `cargo bench --bench door`: what the C door costs beside the Rust traits, and how often the
//! bytes of a block are copied in it. Tables are printed, and written as JSON to target/bench; the
//! exit code is 0 if every criterion held.
//!
//! The callbacks are Rust functions with the calling convention of C, which is all that the library
//! sees of C. Copies are counted by allocations: bytes that are copied need a place.

#[allow(dead_code)] // both serve the other bench too
mod report;
#[allow(dead_code)]
mod stats;

use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::c_void;
use std::hint::black_box;
use std::process::ExitCode;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hotstuff::app::*;
use hotstuff::ffi::*;
use hotstuff::proof::{CommitProof, EpochProof};
use hotstuff::types::*;
use serde_json::json;

use crate::report::{Criterion, Outcome, Table};

const BLOCK_BYTES: usize = 256 << 10;
const CALLS: u32 = 100_000;
const ROUNDS: usize = 21;
const OVERHEAD_MAX_NS: f64 = 50.0;

/// Counts the bytes of large allocations: the small change of a call is no copy of a block.
struct Counting;

static LARGE_BYTES: AtomicUsize = AtomicUsize::new(0);

fn count(bytes: usize) {
    if bytes >= BLOCK_BYTES / 4 {
        LARGE_BYTES.fetch_add(bytes, Ordering::Relaxed);
    }
}

// SAFETY: all is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count(bytes);
        // SAFETY: the caller's contract.
        unsafe { System.realloc(place, layout, bytes) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often `BLOCK_BYTES` bytes found a new place in `what`.
fn copies_in<R>(what: impl FnOnce() -> R) -> (R, f64) {
    let before = LARGE_BYTES.load(Ordering::Relaxed);
    let result = what();
    let bytes = LARGE_BYTES.load(Ordering::Relaxed) - before;
    (result, bytes as f64 / BLOCK_BYTES as f64)
}

/// A snapshot that nobody reads.
struct NoTree;

type Read<V> = Result<V, ReadError>;

impl BlockTreeSnapshot for NoTree {
    fn state(&self, _: &[u8]) -> Read<Option<Vec<u8>>> {
        Ok(None)
    }
    fn block(&self, _: &BlockHash) -> Read<Option<Block>> {
        Ok(None)
    }
    fn hash_at(&self, _: BlockHeight) -> Read<Option<BlockHash>> {
        Ok(None)
    }
    fn committed_height(&self) -> Read<BlockHeight> {
        Ok(BlockHeight(0))
    }
    fn highest_qc(&self) -> Read<QuorumCertificate> {
        Err(ReadError("there is none".into()))
    }
    fn epoch(&self) -> Read<Epoch> {
        Ok(Epoch(0))
    }
    fn validator_set(&self) -> Read<ValidatorSet> {
        Err(ReadError("there is none".into()))
    }
    fn validator_set_of(&self, _: Epoch) -> Read<Option<ValidatorSet>> {
        Ok(None)
    }
    fn commit_qc_of(&self, _: Epoch) -> Read<Option<QuorumCertificate>> {
        Ok(None)
    }
    fn commit_proof(&self, _: &BlockHash) -> Read<Option<CommitProof>> {
        Ok(None)
    }
    fn epoch_proof(&self, _: Epoch) -> Read<Option<EpochProof>> {
        Ok(None)
    }
}

/// The app in Rust, beside which the others are measured.
struct RustApp;

impl App for RustApp {
    fn propose_block(&mut self, _: ProposeBlockRequest<'_>) -> ProposeBlockResponse {
        ProposeBlockResponse::Defer
    }

    fn validate_block(&mut self, request: ValidateBlockRequest<'_>) -> ValidateBlockResponse {
        black_box(&request);
        ValidateBlockResponse::Valid {
            state_updates: None,
            validator_set_updates: None,
        }
    }
}

/// Where the last callback saw the block's data.
static SEEN: AtomicPtr<u8> = AtomicPtr::new(null_mut());
static DATA: [u8; BLOCK_BYTES] = [7; BLOCK_BYTES];

unsafe extern "C-unwind" fn propose(
    _: *mut c_void,
    _: *const hotstuff_propose_block_request,
    updates: *mut hotstuff_updates,
) -> i32 {
    // SAFETY: the answer of this callback, and bytes that stay.
    unsafe { hotstuff_updates_set_data(updates, DATA.as_ptr(), DATA.len()) }
}

unsafe extern "C-unwind" fn validate(
    _: *mut c_void,
    request: *const hotstuff_validate_block_request,
    _: *mut hotstuff_updates,
) -> i32 {
    black_box(request);
    HOTSTUFF_BLOCK_VALID
}

unsafe extern "C-unwind" fn validate_and_look(
    _: *mut c_void,
    request: *const hotstuff_validate_block_request,
    _: *mut hotstuff_updates,
) -> i32 {
    let mut bytes = hotstuff_bytes {
        data: null(),
        len: 0,
    };
    // SAFETY: the request of this callback, and a place for the answer.
    unsafe {
        let block = hotstuff_validate_block_request_proposed_block(request);
        hotstuff_block_data(block, &raw mut bytes);
    }
    SEEN.store(bytes.data.cast_mut(), Ordering::Relaxed);
    HOTSTUFF_BLOCK_VALID
}

type Validate = unsafe extern "C-unwind" fn(
    *mut c_void,
    *const hotstuff_validate_block_request,
    *mut hotstuff_updates,
) -> i32;

fn app_in_c(validate: Validate) -> Box<dyn App> {
    let table = hotstuff_app_callbacks {
        struct_size: size_of::<hotstuff_app_callbacks>(),
        userdata: null_mut(),
        destroy: None,
        propose_block: Some(propose),
        validate_block: Some(validate),
    };
    // SAFETY: an initialised table, whose callbacks keep the header's rules.
    unsafe { app_of_callbacks(&raw const table, BLOCK_BYTES as u64) }.expect("a good table")
}

fn block() -> Block {
    let data = Data::new(DATA.as_slice());
    Block {
        header: BlockHeader {
            height: BlockHeight(1),
            epoch: Epoch(0),
            view: ViewNumber(1),
            justify: QuorumCertificate::genesis(GenesisHash::default()),
            data_hash: data.hash(),
            validator_set_updates: None,
        },
        data,
    }
}

fn ask(app: &mut dyn App, block: &Block) -> ValidateBlockResponse {
    app.validate_block(ValidateBlockRequest {
        cur_view: ViewNumber(1),
        proposed_block: block,
        block_tree: &NoTree,
        is_sync: false,
    })
}

/// Nanoseconds of one question, in the round that was disturbed least.
fn cost_ns(app: &mut dyn App, block: &Block) -> f64 {
    let rounds = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        for _ in 0..CALLS {
            black_box(ask(black_box(&mut *app), block));
        }
        start.elapsed().as_nanos() as f64 / f64::from(CALLS)
    });
    rounds.fold(f64::INFINITY, f64::min)
}

fn callbacks() -> Outcome {
    let block = block();
    let trait_ns = cost_ns(&mut RustApp, &block);
    let callback_ns = cost_ns(&mut *app_in_c(validate), &block);
    let looking_ns = cost_ns(&mut *app_in_c(validate_and_look), &block);
    let mut table = Table::new("A question to the app", &["", "ns", "over the trait"]);
    for (what, ns) in [
        ("Rust trait", trait_ns),
        ("C callback", callback_ns),
        ("C callback that asks for the block's data", looking_ns),
    ] {
        let over = format!("{:.1}", ns - trait_ns);
        table.row(&[what.to_owned(), format!("{ns:.1}"), over]);
    }
    let over_ns = callback_ns - trait_ns;
    Outcome {
        name: "door-callbacks",
        table,
        settings: json!({"calls": CALLS, "rounds": ROUNDS}),
        figures: json!({"trait_ns": trait_ns, "callback_ns": callback_ns, "data_ns": looking_ns}),
        criteria: vec![Criterion {
            what: format!(
                "a C callback costs {over_ns:.1} ns over the trait: less than {OVERHEAD_MAX_NS}"
            ),
            held: over_ns < OVERHEAD_MAX_NS,
        }],
        numbers: Default::default(),
    }
}

/// From the app to the library: set_data, and what the library then makes of it.
fn copies_of_a_proposal() -> f64 {
    let mut app = app_in_c(validate);
    let (data, copies) = copies_in(|| {
        let response = app.propose_block(ProposeBlockRequest {
            cur_view: ViewNumber(1),
            prev_block: BlockHash::default(),
            budget: Duration::from_secs(1),
            block_tree: &NoTree,
        });
        match response {
            ProposeBlockResponse::Block { data, .. } => Data::new(data),
            other => panic!("{other:?}"),
        }
    });
    assert_eq!(*data, DATA);
    copies
}

/// From the library to the app: the callback sees the bytes where they are.
fn copies_of_a_question() -> f64 {
    let (block, mut app) = (block(), app_in_c(validate_and_look));
    let (_, copies) = copies_in(|| ask(&mut *app, &block));
    assert_eq!(
        SEEN.load(Ordering::Relaxed).cast_const(),
        block.data.as_ptr()
    );
    copies
}

fn handed_out<T>(make: impl FnOnce(*mut *mut T) -> hotstuff_status) -> (*mut T, f64) {
    let mut out = null_mut();
    let (status, copies) = copies_in(|| make(&raw mut out));
    assert_eq!(status, 0, "hotstuff_status");
    (out, copies)
}

/// A block that the host keeps as bytes: out by encode, in by decode.
fn copies_of_bytes() -> (f64, f64) {
    let bytes = codec::encode(&block());
    let genesis = hotstuff_hash { bytes: [0; 32] };
    // SAFETY: good arguments; what is handed out is freed, each once.
    unsafe {
        let (block, decoding) = handed_out(|out| {
            hotstuff_block_decode(&raw const genesis, bytes.as_ptr(), bytes.len(), out)
        });
        let (buffer, encoding) = handed_out(|out| hotstuff_block_encode(block, out));
        hotstuff_buffer_free(buffer);
        hotstuff_block_free(block);
        (decoding, encoding)
    }
}

fn copies() -> Outcome {
    let (decoding, encoding) = copies_of_bytes();
    let crossings = [
        (
            "in: propose_block, hotstuff_updates_set_data()",
            copies_of_a_proposal(),
        ),
        (
            "out: validate_block, hotstuff_block_data()",
            copies_of_a_question(),
        ),
        ("in: hotstuff_block_decode()", decoding),
        ("out: hotstuff_block_encode()", encoding),
    ];
    let mut table = Table::new("A block of 256 KiB crosses the door", &["", "copies"]);
    for (what, copies) in crossings {
        table.row(&[what.to_owned(), format!("{copies:.2}")]);
    }
    let criterion = |(what, copies): (&str, f64)| Criterion {
        what: format!("{what}: one copy at most"),
        held: copies < 1.5, // a place may be a little larger than the block
    };
    let figures = crossings
        .iter()
        .map(|(what, copies)| json!({"what": what, "copies": copies}));
    Outcome {
        name: "door-copies",
        table,
        settings: json!({"block_bytes": BLOCK_BYTES}),
        figures: figures.collect(),
        criteria: crossings.map(criterion).into(),
        numbers: Default::default(),
    }
}

fn main() -> ExitCode {
    let mut all_held = true;
    for outcome in [callbacks(), copies()] {
        outcome.print();
        println!("  written to {}", outcome.write().display());
        all_held &= outcome.held();
    }
    ExitCode::from(u8::from(!all_held))
}
