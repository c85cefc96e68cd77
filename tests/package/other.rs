//! Another archive made of Rust: it allocates, has a thread, and panics.

use std::panic::{catch_unwind, set_hook};
use std::thread;

#[no_mangle]
pub extern "C" fn other_sum(numbers: u64) -> u64 {
    let texts: Vec<String> = (1..=numbers).map(|number| number.to_string()).collect();
    let sum = move || texts.iter().map(|text| text.parse::<u64>().unwrap()).sum();
    thread::spawn(sum).join().unwrap_or(0)
}

#[no_mangle]
pub extern "C" fn other_panics() -> bool {
    set_hook(Box::new(|_| {}));
    catch_unwind(|| panic!("on purpose")).is_err()
}
