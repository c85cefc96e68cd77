//! What foreign bytes may reach: one plain function each. `tests/fuzz` calls them with a bounded
//! number of generated inputs, `fuzz/` under libFuzzer. A function that returns has found nothing;
//! it panics else.

#![allow(dead_code)] // each libFuzzer program uses one of them

pub mod c_functions;
pub mod decode;
pub mod filter;
pub mod play;
pub mod records;
pub mod verify;
pub mod world;

/// A target's name, and its function.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("c_functions", c_functions::c_functions),
    ("decode", decode::decode),
    ("filter", filter::filter),
    ("records", records::records),
    ("step", play::step),
    ("sync", play::sync),
    ("verify", verify::verify),
];

/// Takes an input apart: numbers while there are any, then zeros.
pub struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    pub fn number(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// The next ones, at most `length`.
    pub fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }
}
