//! The C door (floor 6): what `include/hotstuff.h` declares, one noun per file.
//!
//! The comments of the exported items *are* the header's text: `make header` copies them there by
//! cbindgen. They speak to C programmers. The rules that hold for every function stand in the
//! header's first chapter (`cbindgen.toml`), and are kept in four files that export nothing:
//!
//! ```text
//!   entry.rs      the one guard that every function goes through: NULL, wrong handles, panics
//!   handle.rs     what stands behind a `hotstuff_T *`
//!   table.rs      structs that may grow: `struct_size`
//!   callback.rs   who is calling back on this thread
//! ```
//!
//! Other floors know nothing of this one.

#![allow(non_camel_case_types)] // the names are C's
#![allow(clippy::missing_safety_doc)] // the contract is the header's first chapter
#![allow(rustdoc::broken_intra_doc_links, rustdoc::invalid_html_tags)] // doxygen, not rustdoc

mod callback;
mod entry;
mod handle;
mod table;

mod app;
mod block;
mod block_tree;
mod buffer;
mod config;
mod config_option;
mod error;
mod event;
mod evidence;
mod info;
mod inspect;
mod keypair;
mod logger;
mod metrics;
mod network;
mod pacemaker;
mod proof;
mod replica;
mod signer;
mod status;
mod tcp;
mod updates;
mod validator_set;
mod values;
mod version;

pub use app::*;
pub use block::*;
pub use block_tree::*;
pub use buffer::*;
pub use config::*;
pub use config_option::*;
pub use error::*;
pub use event::*;
pub use evidence::*;
pub use info::*;
pub use inspect::*;
pub use keypair::*;
pub use logger::*;
pub use metrics::*;
pub use network::*;
pub use pacemaker::*;
pub use proof::*;
pub use replica::*;
pub use signer::*;
pub use status::*;
pub use tcp::*;
pub use updates::*;
pub use validator_set::*;
pub use values::*;
pub use version::*;
