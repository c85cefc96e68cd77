//! libhotstuff: HotStuff Byzantine-fault-tolerant replication behind a C ABI.
//!
//! A tour, from the bottom: [`types`] are the words, [`messages`] the sentences, [`evidence`] the
//! lies and [`proof`] the truths; [`app`], [`network`] and [`pacemaker`] are the doors that a host
//! fills. [`algorithm`] is the protocol, pure, and its header the specification. [`block_tree`]
//! stores it, [`replica`] gives it threads and a clock, [`transport`] carries it. [`ffi`] is the C
//! door, from which `hotstuff.h` is generated.
//!
//! Programs in Rust begin at [`replica::Replica`].

pub mod algorithm;
pub mod app;
pub mod block_tree;
pub mod evidence;
pub mod ffi;
pub mod messages;
pub mod network;
pub mod pacemaker;
pub mod proof;
pub mod replica;
pub mod transport;
pub mod types;
