//! libhotstuff: HotStuff Byzantine-fault-tolerant replication behind a C ABI.
pub mod network;
pub mod transport;
pub mod types;
