//! Waiting at a channel. Nothing spins: `Receiver::recv` yields some ten times before it sleeps,
//! which on a busy machine takes the time of those who have work. A select sleeps at once.

use std::time::Instant;

use crossbeam_channel::{Receiver, Select};

/// What comes next; `None` after `until`, or when all senders are gone.
pub(super) fn receive<T>(receiver: &Receiver<T>, until: Option<Instant>) -> Option<T> {
    let mut select = Select::new();
    select.recv(receiver);
    let ready = match until {
        Some(until) => select.select_deadline(until).ok()?,
        None => select.select(),
    };
    ready.recv(receiver).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_comes_is_received_and_what_does_not_come_is_waited_for_no_longer_than_said() {
        let (sender, receiver) = crossbeam_channel::bounded(2);
        sender.send(1).expect("room");
        assert_eq!(receive(&receiver, Some(Instant::now())), Some(1));
        let until = Instant::now() + Duration::from_millis(5);
        assert_eq!(receive(&receiver, Some(until)), None);
        assert!(Instant::now() >= until);
        let other = std::thread::spawn(move || sender.send(2));
        assert_eq!(receive(&receiver, None), Some(2));
        other.join().expect("no panic").expect("room");
        assert_eq!(receive(&receiver, None), None, "nobody is left to send");
    }
}
