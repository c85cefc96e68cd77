//! Directed cases: each is one promise of the protocol.
