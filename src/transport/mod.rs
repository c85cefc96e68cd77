//! The TCP NetworkProvider that comes with the library.
