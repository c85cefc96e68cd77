//! Frames: how messages are cut for the wire and put together again. Pure; all bytes that come in
//! are hostile.
//!
//! ```text
//!   31           27  26    25    24   23                          0
//!  +---------------+------+------+------+---------------------------+
//!  | 0             | ping | more | bulk | payload bytes             |  little endian
//!  +---------------+------+------+------+---------------------------+
//! ```
//!
//! * An urgent message is one frame: at most [`URGENT_BYTES_MAX`] bytes.
//! * A bulk message is any number of frames of at most [`FRAGMENT_BYTES_MAX`] bytes, all but the
//!   last with `more`; urgent frames may stand between them, frames of another bulk message not.
//! * A ping has no payload, is no message, and has no other flag.

use super::config::{FRAGMENT_BYTES_MAX, URGENT_BYTES_MAX};

/// Length of a frame's header.
pub const HEADER_BYTES: usize = 4;

const LENGTH_MASK: u32 = (1 << 24) - 1;
const BULK: u32 = 1 << 24;
const MORE: u32 = 1 << 25;
const PING: u32 = 1 << 26;

/// Room that a new bulk message is given at once, if the one before it was that long.
const RESERVE_BYTES_MAX: usize = 1 << 20;

/// The two ways to one peer: small messages overtake large ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    Urgent,
    Bulk,
}

impl Lane {
    /// The lane of a message of that many bytes.
    pub fn of(length: usize) -> Lane {
        if length <= URGENT_BYTES_MAX {
            Lane::Urgent
        } else {
            Lane::Bulk
        }
    }
}

/// The header of a frame with `length` bytes of payload.
pub fn header(lane: Lane, more: bool, length: usize) -> [u8; HEADER_BYTES] {
    debug_assert!(length <= FRAGMENT_BYTES_MAX);
    let lane = if lane == Lane::Bulk { BULK } else { 0 };
    let more = if more { MORE } else { 0 };
    (length as u32 | lane | more).to_le_bytes()
}

/// The frame that says nothing but "I am here".
pub const PING_FRAME: [u8; HEADER_BYTES] = PING.to_le_bytes();

/// How a peer broke the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// Flags that mean nothing, or not together.
    Flags,
    /// A frame longer than frames of its lane may be.
    FrameTooLong,
    /// A message longer than `message_bytes_max`.
    MessageTooLong,
}

/// Puts the messages of one connection together again. Holds no more than one urgent and one bulk
/// message, and of them no more than has arrived.
pub struct Decoder {
    header: [u8; HEADER_BYTES],
    header_length: usize,
    frame: Option<Frame>,
    urgent: Vec<u8>,
    bulk: Vec<u8>,
    last_bulk_length: usize,
    message_bytes_max: usize,
}

struct Frame {
    lane: Lane,
    more: bool,
    remaining: usize,
}

impl Decoder {
    pub fn new(message_bytes_max: usize) -> Decoder {
        Decoder {
            header: [0; HEADER_BYTES],
            header_length: 0,
            frame: None,
            urgent: Vec::new(),
            bulk: Vec::new(),
            last_bulk_length: 0,
            message_bytes_max,
        }
    }

    /// Takes the next bytes of the stream, cut anywhere, and delivers each message they complete.
    ///
    /// # Errors
    /// The peer broke the format. The decoder must not be used again.
    pub fn decode(
        &mut self,
        mut bytes: &[u8],
        deliver: &mut dyn FnMut(Vec<u8>),
    ) -> Result<(), FrameError> {
        loop {
            let frame = match self.frame.take() {
                Some(frame) => frame,
                None => match self.take_header(&mut bytes)? {
                    Some(frame) => frame,
                    None if bytes.is_empty() => return Ok(()),
                    None => continue,
                },
            };
            let length = frame.remaining.min(bytes.len());
            let (payload, rest) = bytes.split_at(length);
            bytes = rest;
            self.append(&frame, payload);
            if length < frame.remaining {
                self.frame = Some(Frame {
                    remaining: frame.remaining - length,
                    ..frame
                });
                return Ok(());
            }
            match frame {
                Frame { more: true, .. } => {}
                Frame {
                    lane: Lane::Urgent, ..
                } => deliver(std::mem::take(&mut self.urgent)),
                Frame {
                    lane: Lane::Bulk, ..
                } => {
                    self.last_bulk_length = self.bulk.len();
                    deliver(std::mem::take(&mut self.bulk));
                }
            }
        }
    }

    /// `None`: the header is not complete, or was a ping's.
    fn take_header(&mut self, bytes: &mut &[u8]) -> Result<Option<Frame>, FrameError> {
        let length = bytes.len().min(HEADER_BYTES - self.header_length);
        let (head, rest) = bytes.split_at(length);
        self.header[self.header_length..][..length].copy_from_slice(head);
        self.header_length += length;
        *bytes = rest;
        if self.header_length < HEADER_BYTES {
            return Ok(None);
        }
        self.header_length = 0;
        self.parse_header(u32::from_le_bytes(self.header))
    }

    fn parse_header(&self, header: u32) -> Result<Option<Frame>, FrameError> {
        let length = (header & LENGTH_MASK) as usize;
        let more = header & MORE != 0;
        match header & !LENGTH_MASK {
            PING if length == 0 => Ok(None),
            0 if length > URGENT_BYTES_MAX => Err(FrameError::FrameTooLong),
            0 => Ok(Some(Frame {
                lane: Lane::Urgent,
                more,
                remaining: length,
            })),
            flags if flags & !MORE != BULK || length == 0 => Err(FrameError::Flags),
            _ if length > FRAGMENT_BYTES_MAX => Err(FrameError::FrameTooLong),
            _ if self.bulk.len() + length > self.message_bytes_max => {
                Err(FrameError::MessageTooLong)
            }
            _ => Ok(Some(Frame {
                lane: Lane::Bulk,
                more,
                remaining: length,
            })),
        }
    }

    fn append(&mut self, frame: &Frame, payload: &[u8]) {
        let message = match frame.lane {
            Lane::Urgent => &mut self.urgent,
            Lane::Bulk => &mut self.bulk,
        };
        if message.is_empty() && frame.more {
            // The peer has proved before that it sends messages of this length.
            message.reserve(self.last_bulk_length.min(RESERVE_BYTES_MAX));
        } else if message.is_empty() {
            message.reserve_exact(payload.len());
        }
        message.extend_from_slice(payload);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(chunks: &[&[u8]]) -> Result<Vec<Vec<u8>>, FrameError> {
        let mut decoder = Decoder::new(40_000);
        let mut messages = Vec::new();
        for chunk in chunks {
            decoder.decode(chunk, &mut |message| messages.push(message))?;
        }
        Ok(messages)
    }

    fn frame(lane: Lane, more: bool, payload: &[u8]) -> Vec<u8> {
        [header(lane, more, payload.len()).as_slice(), payload].concat()
    }

    #[test]
    fn messages_come_out_whole_however_the_stream_is_cut() {
        let stream = [
            frame(Lane::Urgent, false, b"first"),
            frame(Lane::Bulk, true, &[1; 300]),
            frame(Lane::Urgent, false, b""),
            PING_FRAME.to_vec(),
            frame(Lane::Urgent, false, b"overtakes"),
            frame(Lane::Bulk, false, &[2; 7]),
            PING_FRAME.to_vec(),
        ]
        .concat();
        let bulk = [vec![1; 300], vec![2; 7]].concat();
        let expected = vec![b"first".to_vec(), vec![], b"overtakes".to_vec(), bulk];
        for size in 1..=stream.len() {
            let chunks: Vec<&[u8]> = stream.chunks(size).collect();
            assert_eq!(
                decoded(&chunks).as_ref(),
                Ok(&expected),
                "in chunks of {size}"
            );
        }
    }

    #[test]
    fn what_breaks_the_format_is_named() {
        let raw = |header: u32| header.to_le_bytes();
        assert_eq!(decoded(&[&raw(1 << 27)]), Err(FrameError::Flags));
        assert_eq!(decoded(&[&raw(1 << 31)]), Err(FrameError::Flags));
        assert_eq!(decoded(&[&raw(PING | 1)]), Err(FrameError::Flags));
        assert_eq!(decoded(&[&raw(PING | BULK)]), Err(FrameError::Flags));
        assert_eq!(
            decoded(&[&raw(MORE | 10)]),
            Err(FrameError::Flags),
            "urgent is one frame"
        );
        assert_eq!(
            decoded(&[&raw(BULK | MORE)]),
            Err(FrameError::Flags),
            "no progress"
        );
        assert_eq!(
            decoded(&[&raw(URGENT_BYTES_MAX as u32 + 1)]),
            Err(FrameError::FrameTooLong)
        );
        let longest = FRAGMENT_BYTES_MAX as u32;
        assert_eq!(
            decoded(&[&raw(BULK | (longest + 1))]),
            Err(FrameError::FrameTooLong)
        );
        assert_eq!(decoded(&[&raw(BULK | longest)]), Ok(vec![]));
        assert_eq!(decoded(&[&raw(URGENT_BYTES_MAX as u32)]), Ok(vec![]));
    }

    #[test]
    fn the_limit_holds_to_the_byte() {
        let of_length = |length: usize| {
            let message = vec![7; length];
            let mut chunks = message.chunks(FRAGMENT_BYTES_MAX).peekable();
            let mut stream = Vec::new();
            while let Some(chunk) = chunks.next() {
                stream.extend(frame(Lane::Bulk, chunks.peek().is_some(), chunk));
            }
            decoded(&[&stream])
        };
        assert_eq!(of_length(40_000), Ok(vec![vec![7; 40_000]]));
        assert_eq!(of_length(40_001), Err(FrameError::MessageTooLong));
    }

    #[test]
    fn no_bytes_make_it_panic_or_hold_more_than_the_limit() {
        let mut state = 1u64;
        let mut chance = || {
            state = state
                .wrapping_mul(0x5851_f42d_4c95_7f2d)
                .wrapping_add(0x1405_7b7e_f767_814f);
            state >> 40
        };
        let mut outcomes = [0; 2];
        for _ in 0..2000 {
            let mut decoder = Decoder::new(40_000);
            let mut broken = false;
            for _ in 0..20 {
                // Mostly headers that could be, so that it gets beyond the first.
                let header = (chance() as u32 % 20_000) | (chance() as u32 % 64) << 24;
                let mut bytes = header.to_le_bytes().to_vec();
                bytes.resize(4 + chance() as usize % 20_000, chance() as u8 & 7);
                broken |= decoder
                    .decode(&bytes, &mut |m| assert!(m.len() <= 40_000))
                    .is_err();
                assert!(decoder.bulk.len() <= 40_000 && decoder.urgent.len() <= URGENT_BYTES_MAX);
                if broken {
                    break;
                }
            }
            outcomes[usize::from(broken)] += 1;
        }
        assert!(outcomes[1] > 0, "{outcomes:?}");
    }

    #[test]
    fn memory_follows_what_arrived() {
        let mut decoder = Decoder::new(1 << 30);
        let header = header(Lane::Bulk, true, FRAGMENT_BYTES_MAX);
        decoder
            .decode(&[header.as_slice(), &[0; 10]].concat(), &mut |_| ())
            .unwrap();
        assert!(
            decoder.bulk.capacity() < 100,
            "{} bytes",
            decoder.bulk.capacity()
        );
    }
}
