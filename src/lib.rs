//! libhotstuff: HotStuff Byzantine-fault-tolerant replication behind a C ABI.
pub mod algorithm;
pub mod app;
pub mod block_tree;
pub mod ffi;
pub mod messages;
pub mod network;
pub mod pacemaker;
pub mod replica;
pub mod transport;
pub mod types;
