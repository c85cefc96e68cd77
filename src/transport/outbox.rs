//! The messages that wait to be sent to one peer, in two lanes, and the order in which they go.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::config::{
    FRAGMENT_BYTES_MAX, HELD_FOR, HELD_MESSAGES_MAX, MESSAGE_OVERHEAD_BYTES, WINDOW_BYTES_MAX,
};
use super::frame::{header, Lane, HEADER_BYTES, PING_FRAME};

/// A frame on its way to TLS: a header and a part of a message.
pub struct Fragment {
    header: [u8; HEADER_BYTES],
    message: Option<Arc<[u8]>>,
    start: usize,
    end: usize,
}

impl Fragment {
    pub fn header(&self) -> &[u8] {
        &self.header
    }

    pub fn payload(&self) -> &[u8] {
        self.message
            .as_ref()
            .map_or(&[], |message| &message[self.start..self.end])
    }

    /// Bytes of the frame.
    pub fn length(&self) -> usize {
        HEADER_BYTES + self.end - self.start
    }

    /// Whether a message ends here.
    pub fn is_last(&self) -> bool {
        self.message
            .as_ref()
            .is_some_and(|message| self.end == message.len())
    }
}

/// What became of a message, as numbers of dropped ones by lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    pub urgent: u64,
    pub bulk: u64,
}

/// The queues to one peer. Closed, and empty, while the peer is not connected; but the last small
/// messages are held for a moment: a replica that has just started asks before its connections are
/// up, and the first leader proposes.
pub struct Outbox {
    open: bool,
    held: VecDeque<(Instant, Arc<[u8]>)>,
    ping: bool,
    urgent: Queue,
    bulk: Queue,
    bulk_sent: usize, // of the message at the front
}

struct Queue {
    messages: VecDeque<Arc<[u8]>>,
    cost: usize,
    cost_max: usize,
}

impl Queue {
    fn new(bytes_max: u64) -> Queue {
        let cost_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        Queue {
            messages: VecDeque::new(),
            cost: 0,
            cost_max,
        }
    }

    fn has_room(&self, message: &[u8]) -> bool {
        self.cost + cost(message) <= self.cost_max
    }

    fn push(&mut self, message: Arc<[u8]>) {
        self.cost += cost(&message);
        self.messages.push_back(message);
    }

    fn pop(&mut self) -> Option<Arc<[u8]>> {
        let message = self.messages.pop_front()?;
        self.cost -= cost(&message);
        Some(message)
    }

    fn clear(&mut self) {
        self.messages = VecDeque::new();
        self.cost = 0;
    }
}

fn cost(message: &[u8]) -> usize {
    message.len() + MESSAGE_OVERHEAD_BYTES
}

impl Outbox {
    /// A closed outbox with its limits in bytes.
    pub fn new(urgent_bytes_max: u64, bulk_bytes_max: u64) -> Outbox {
        Outbox {
            open: false,
            held: VecDeque::new(),
            ping: false,
            urgent: Queue::new(urgent_bytes_max),
            bulk: Queue::new(bulk_bytes_max),
            bulk_sent: 0,
        }
    }

    /// A connection is up: send a ping first, then what was held and is not stale, and take
    /// messages. Says what was dropped.
    pub fn open(&mut self, now: Instant) -> Dropped {
        let held = std::mem::take(&mut self.held);
        self.close();
        self.open = true;
        self.ping = true;
        let mut dropped = Dropped::default();
        for (since, message) in held {
            if now.duration_since(since) <= HELD_FOR {
                dropped.urgent += self.push(&message).urgent;
            } else {
                dropped.urgent += 1;
            }
        }
        dropped
    }

    /// Keeps a small message until the connection is up, and says what was dropped. If it is up,
    /// queues it.
    pub fn hold(&mut self, message: &Arc<[u8]>, now: Instant) -> Dropped {
        if self.open || Lane::of(message.len()) == Lane::Bulk {
            return self.push(message);
        }
        let is_full = self.held.len() == HELD_MESSAGES_MAX;
        if is_full {
            self.held.pop_front();
        }
        self.held.push_back((now, Arc::clone(message)));
        let urgent = u64::from(is_full);
        Dropped { urgent, bulk: 0 }
    }

    /// The connection is down: what waits is stale, and a message half sent cannot be resumed.
    pub fn close(&mut self) {
        self.open = false;
        self.held.clear();
        self.ping = false;
        self.urgent.clear();
        self.bulk.clear();
        self.bulk_sent = 0;
    }

    /// Have a ping sent.
    pub fn ping(&mut self) {
        self.ping = self.open;
    }

    /// Queues `message`, or says what was dropped: the oldest urgent ones, a new bulk one.
    pub fn push(&mut self, message: &Arc<[u8]>) -> Dropped {
        let mut dropped = Dropped::default();
        match Lane::of(message.len()) {
            Lane::Urgent if self.open => {
                while !self.urgent.has_room(message) && self.urgent.pop().is_some() {
                    dropped.urgent += 1;
                }
                self.urgent.push(Arc::clone(message));
            }
            Lane::Bulk if self.open && self.bulk.has_room(message) => {
                self.bulk.push(Arc::clone(message));
            }
            Lane::Urgent => dropped.urgent = 1,
            Lane::Bulk => dropped.bulk = 1,
        }
        dropped
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        !self.ping && self.urgent.messages.is_empty() && self.bulk.messages.is_empty()
    }

    /// What waits, in bytes.
    pub fn bytes(&self) -> usize {
        self.urgent.cost + self.bulk.cost
    }

    /// Moves the frames that go next to the end of `batch`, at most a window of them: urgent ones
    /// first, then bulk. While bulk waits, one frame of it goes in each batch: no lane starves.
    pub fn take(&mut self, batch: &mut Vec<Fragment>) {
        let mut room = WINDOW_BYTES_MAX;
        if std::mem::take(&mut self.ping) {
            batch.push(Fragment {
                header: PING_FRAME,
                message: None,
                start: 0,
                end: 0,
            });
            room -= HEADER_BYTES;
        }
        let kept = if self.bulk.messages.is_empty() {
            0
        } else {
            FRAGMENT_BYTES_MAX + HEADER_BYTES
        };
        while let Some(next) = self.urgent.messages.front() {
            if next.len() + HEADER_BYTES + kept > room {
                break;
            }
            let message = self.urgent.pop().expect("there is a front");
            let end = message.len();
            room -= end + HEADER_BYTES;
            let header = header(Lane::Urgent, false, end);
            batch.push(Fragment {
                header,
                message: Some(message),
                start: 0,
                end,
            });
        }
        while room >= FRAGMENT_BYTES_MAX + HEADER_BYTES {
            let Some(fragment) = self.take_bulk() else {
                break;
            };
            room -= fragment.length();
            batch.push(fragment);
        }
    }

    fn take_bulk(&mut self) -> Option<Fragment> {
        let message = self.bulk.messages.front()?;
        let start = self.bulk_sent;
        let end = message.len().min(start + FRAGMENT_BYTES_MAX);
        let more = end < message.len();
        let message = Some(Arc::clone(message));
        self.bulk_sent = if more { end } else { 0 };
        if !more {
            self.bulk.pop();
        }
        Some(Fragment {
            header: header(Lane::Bulk, more, end - start),
            message,
            start,
            end,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::config::URGENT_BYTES_MAX;
    use super::*;

    const KEPT: Dropped = Dropped { urgent: 0, bulk: 0 };

    fn message(byte: u8, length: usize) -> Arc<[u8]> {
        vec![byte; length].into()
    }

    fn taken(outbox: &mut Outbox) -> Vec<Fragment> {
        let mut batch = Vec::new();
        outbox.take(&mut batch);
        batch
    }

    #[test]
    fn urgent_messages_overtake_a_large_one_within_a_window() {
        let mut outbox = Outbox::new(1 << 20, 8 << 20);
        outbox.open(Instant::now());
        outbox.push(&message(1, 1 << 20));
        let first = taken(&mut outbox);
        assert_eq!(first[0].header(), PING_FRAME);
        assert!(first.iter().map(Fragment::length).sum::<usize>() <= WINDOW_BYTES_MAX);
        outbox.push(&message(2, 200));
        assert_eq!(taken(&mut outbox)[0].payload(), [2; 200]);
    }

    #[test]
    fn bulk_gets_its_frame_however_many_votes_there_are() {
        let mut outbox = Outbox::new(1 << 20, 8 << 20);
        outbox.open(Instant::now());
        outbox.push(&message(1, 100_000));
        (0..100).for_each(|_| assert_eq!(outbox.push(&message(2, URGENT_BYTES_MAX)), KEPT));
        for _ in 0..7 {
            let batch = taken(&mut outbox);
            assert!(batch.iter().map(Fragment::length).sum::<usize>() <= WINDOW_BYTES_MAX);
            assert_eq!(batch.last().unwrap().payload()[0], 1);
        }
    }

    #[test]
    fn a_full_urgent_queue_drops_the_oldest_and_a_full_bulk_queue_the_newest() {
        let each = 1000 + MESSAGE_OVERHEAD_BYTES as u64;
        let large = 10_000 + MESSAGE_OVERHEAD_BYTES as u64;
        let mut outbox = Outbox::new(2 * each, 2 * large);
        outbox.open(Instant::now());
        taken(&mut outbox);
        assert_eq!(outbox.push(&message(1, 1000)), KEPT);
        assert_eq!(outbox.push(&message(2, 1000)), KEPT);
        assert_eq!(
            outbox.push(&message(3, 1000)),
            Dropped { urgent: 1, bulk: 0 }
        );
        assert_eq!(outbox.push(&message(4, 10_000)), KEPT);
        assert_eq!(outbox.push(&message(5, 10_000)), KEPT);
        assert_eq!(
            outbox.push(&message(6, 10_000)),
            Dropped { urgent: 0, bulk: 1 }
        );
        assert_eq!(outbox.bytes() as u64, 2 * each + 2 * large);
        let first: Vec<u8> = taken(&mut outbox)
            .iter()
            .map(|frame| frame.payload()[0])
            .collect();
        assert_eq!(first, [2, 3, 4, 5]);
        assert!(outbox.is_empty() && outbox.bytes() == 0);
    }

    #[test]
    fn the_last_small_messages_before_a_connection_are_held_for_a_moment() {
        let mut outbox = Outbox::new(1 << 20, 1 << 20);
        let start = Instant::now();
        let one = Dropped { urgent: 1, bulk: 0 };
        assert_eq!(outbox.hold(&message(0, 10), start), KEPT);
        let later = start + Duration::from_millis(1);
        for byte in 1..HELD_MESSAGES_MAX as u8 {
            assert_eq!(outbox.hold(&message(byte, 10), later), KEPT);
        }
        assert_eq!(outbox.hold(&message(99, 10), later), one, "the oldest");
        let large = outbox.hold(&message(7, 100_000), later);
        assert_eq!(large, Dropped { urgent: 0, bulk: 1 });
        assert!(outbox.is_empty());
        assert_eq!(outbox.open(later + HELD_FOR), KEPT);
        let sent: Vec<Fragment> = taken(&mut outbox);
        assert_eq!(sent[0].header(), PING_FRAME);
        assert_eq!(sent.len(), 1 + HELD_MESSAGES_MAX);
        assert_eq!(
            (sent[1].payload()[0], sent.last().unwrap().payload()[0]),
            (1, 99)
        );
        outbox.close();
        outbox.hold(&message(1, 10), start);
        let stale = start + HELD_FOR + Duration::from_millis(1);
        assert_eq!(outbox.open(stale), one);
        assert_eq!(taken(&mut outbox).len(), 1, "the ping");
    }

    #[test]
    fn a_closed_outbox_takes_nothing_and_forgets_what_it_had() {
        let mut outbox = Outbox::new(1 << 20, 1 << 20);
        assert_eq!(outbox.push(&message(1, 10)), Dropped { urgent: 1, bulk: 0 });
        outbox.open(Instant::now());
        outbox.push(&message(1, 100_000));
        taken(&mut outbox);
        outbox.close();
        assert!(outbox.is_empty());
        outbox.open(Instant::now());
        outbox.push(&message(2, 20_000));
        let batch = taken(&mut outbox);
        assert_eq!(batch[1].payload()[0], 2, "begins at the beginning");
    }
}
