//! One TCP connection with TLS and frames on it: reads until messages come out, writes what the
//! outbox holds. Knows neither peers nor timers.

use std::io::{self, BufRead, ErrorKind, IoSlice, Read, Write};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Mutex;

use mio::net::TcpStream;
use rustls::Connection;

use super::config::FLUSH_BYTES_MAX;
use super::counters::Counters;
use super::frame::Decoder;
use super::outbox::{Fragment, Outbox};
use super::tls::proved_key;
use crate::types::ValidatorAddress;

/// Plaintext bytes of a TLS record (RFC 8446, section 5.1).
const RECORD_BYTES_MAX: usize = 16 << 10;

/// Slices given to TLS for one record.
const SLICES_MAX: usize = 64;

/// With edge-triggered epoll a read that does not fill the buffer has emptied the socket, and
/// whatever comes later is a new event (epoll(7)): no second read is needed to see `WouldBlock`.
const SHORT_READ_EMPTIES: bool = cfg!(target_os = "linux");

/// Why a connection ended.
#[derive(Debug)]
pub enum WireError {
    /// The other end closed, or the network failed.
    Lost,
    /// TLS failed; what it has to say to the other end has been written.
    Tls(rustls::Error),
    /// The other end proved its key and then did not speak our protocol.
    Protocol,
    /// The other end broke the frame format, or the limit of a message.
    Frame,
}

impl From<io::Error> for WireError {
    fn from(_: io::Error) -> WireError {
        WireError::Lost
    }
}

/// How far a flush came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flushed {
    /// Nothing is left.
    All,
    /// The socket is full; an event will say when there is room.
    Blocked,
    /// There is more, and no event will say so.
    Enough,
}

/// What a read found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// Everything there was: an event will tell of more, but for an end already announced.
    Everything,
    /// A part.
    Part,
}

/// A connection; see the module.
pub struct Wire {
    stream: TcpStream,
    tls: Connection,
    /// Whether this end dialed.
    pub dialed: bool,
    /// A write failed; the poll loop will close it.
    pub failed: bool,
    /// The socket was full at the last write, and no event has yet said that it has room.
    blocked: bool,
    decoder: Decoder,
    batch: Vec<Fragment>,
    /// Read from the socket during the handshake, and not yet given to TLS.
    leftover: Vec<u8>,
    greeted: bool,
}

impl Wire {
    pub fn new(stream: TcpStream, tls: Connection, dialed: bool, bytes_max: usize) -> Wire {
        let mut wire = Wire {
            stream,
            tls,
            dialed,
            failed: false,
            blocked: false,
            decoder: Decoder::new(bytes_max),
            batch: Vec::new(),
            leftover: Vec::new(),
            greeted: false,
        };
        wire.tls.set_buffer_limit(None); // `flush` hands over a window at a time
        wire
    }

    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Carries the handshake as far as it goes now. `Some` when both ends have proved their keys:
    /// the end that dialed knows it by the first byte of the other's greeting, without which it
    /// could not tell that its own key was refused.
    ///
    /// # Errors
    /// The connection is of no use.
    pub fn shake(
        &mut self,
        scratch: &mut [u8],
        counters: &Counters,
    ) -> Result<Option<ValidatorAddress>, WireError> {
        loop {
            self.write_tls(counters)?;
            if !self.tls.is_handshaking() && (self.greeted || !self.dialed) {
                return proved_key(&self.tls).ok_or(WireError::Protocol).map(Some);
            }
            let Some(length) = read_some(&mut self.stream, scratch)? else {
                return Ok(None);
            };
            counters.bytes_in.fetch_add(length as u64, Relaxed);
            let mut input = &scratch[..length];
            while !input.is_empty() && !self.greeted {
                if self.tls.read_tls(&mut input)? == 0 {
                    return Err(WireError::Lost);
                }
                match self.tls.process_new_packets() {
                    Ok(state) => self.greeted = state.plaintext_bytes_to_read() > 0,
                    Err(error) => {
                        let _ = self.write_tls(counters); // the alert, if it can still be sent
                        return Err(WireError::Tls(error));
                    }
                }
            }
            self.leftover = input.to_vec();
        }
    }

    /// Reads once from the socket and delivers the messages that became complete.
    ///
    /// # Errors
    /// The connection is of no use; what was delivered is good.
    pub fn read(
        &mut self,
        scratch: &mut [u8],
        counters: &Counters,
        deliver: &mut dyn FnMut(Vec<u8>),
    ) -> Result<Found, WireError> {
        if self.greeted || !self.leftover.is_empty() {
            self.greeted = false;
            let leftover = std::mem::take(&mut self.leftover);
            self.drain(deliver)?;
            self.feed(&leftover, deliver)?;
            return Ok(Found::Part);
        }
        let Some(length) = read_some(&mut self.stream, scratch)? else {
            return Ok(Found::Nothing);
        };
        counters.bytes_in.fetch_add(length as u64, Relaxed);
        self.feed(&scratch[..length], deliver)?;
        let emptied = SHORT_READ_EMPTIES && length < scratch.len();
        Ok(if emptied {
            Found::Everything
        } else {
            Found::Part
        })
    }

    fn feed(
        &mut self,
        mut input: &[u8],
        deliver: &mut dyn FnMut(Vec<u8>),
    ) -> Result<(), WireError> {
        while !input.is_empty() {
            if self.tls.read_tls(&mut input)? == 0 {
                return Err(WireError::Lost); // after close_notify nothing is read any more
            }
            let state = self.tls.process_new_packets().map_err(WireError::Tls)?;
            if state.plaintext_bytes_to_read() > 0 {
                self.drain(deliver)?;
            }
            if state.peer_has_closed() {
                return Err(WireError::Lost);
            }
        }
        Ok(())
    }

    fn drain(&mut self, deliver: &mut dyn FnMut(Vec<u8>)) -> Result<(), WireError> {
        let mut reader = self.tls.reader();
        loop {
            let length = match reader.fill_buf() {
                Ok([]) => return Ok(()),
                Ok(plaintext) => {
                    self.decoder
                        .decode(plaintext, deliver)
                        .map_err(|_| WireError::Frame)?;
                    plaintext.len()
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(_) => return Err(WireError::Lost),
            };
            reader.consume(length);
        }
    }

    /// Whether a flush could do anything.
    pub fn is_writable(&self) -> bool {
        !self.blocked && !self.failed
    }

    /// The socket has room again.
    pub fn unblock(&mut self) {
        self.blocked = false;
    }

    /// Whether TLS itself has something to say.
    pub fn has_tls_output(&self) -> bool {
        self.tls.wants_write()
    }

    /// Writes what TLS holds and then what the outbox holds, a window at a time, so that an urgent
    /// message queued meanwhile goes before the bulk that is still in the queue.
    ///
    /// # Errors
    /// The connection is of no use.
    pub fn flush(
        &mut self,
        outbox: &Mutex<Outbox>,
        counters: &Counters,
    ) -> Result<Flushed, WireError> {
        let mut written = 0;
        loop {
            while self.tls.wants_write() {
                match self.write_tls(counters)? {
                    Some(length) => written += length,
                    None => {
                        self.blocked = true;
                        return Ok(Flushed::Blocked);
                    }
                }
            }
            if written >= FLUSH_BYTES_MAX {
                return Ok(Flushed::Enough);
            }
            outbox
                .lock()
                .expect("no panic under this lock")
                .take(&mut self.batch);
            if self.batch.is_empty() {
                return Ok(Flushed::All);
            }
            self.encrypt_batch(counters)?;
        }
    }

    /// Puts as many frames into each TLS record as it holds.
    fn encrypt_batch(&mut self, counters: &Counters) -> io::Result<()> {
        let mut rest = self.batch.as_slice();
        while !rest.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let (mut used, mut length, mut frames) = (0, 0, 0);
            for fragment in rest {
                length += fragment.length();
                if used + 2 > SLICES_MAX || (length > RECORD_BYTES_MAX && frames > 0) {
                    break;
                }
                slices[used] = IoSlice::new(fragment.header());
                slices[used + 1] = IoSlice::new(fragment.payload());
                used += 2;
                frames += 1;
            }
            let expected: usize = slices[..used].iter().map(|slice| slice.len()).sum();
            let accepted = self.tls.writer().write_vectored(&slices[..used])?;
            if accepted != expected {
                // Out of keys: a new connection has new ones.
                return Err(ErrorKind::WriteZero.into());
            }
            rest = &rest[frames..];
        }
        let messages = self
            .batch
            .iter()
            .filter(|fragment| fragment.is_last())
            .count();
        counters.messages_out.fetch_add(messages as u64, Relaxed);
        self.batch.clear();
        Ok(())
    }

    /// One write to the socket; `None` if it is full.
    fn write_tls(&mut self, counters: &Counters) -> Result<Option<usize>, WireError> {
        loop {
            return match self.tls.write_tls(&mut self.stream) {
                Ok(0) if self.tls.wants_write() => Err(WireError::Lost),
                Ok(length) => {
                    counters.bytes_out.fetch_add(length as u64, Relaxed);
                    Ok(Some(length))
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => Err(error.into()),
            };
        }
    }

    /// Says goodbye, if the socket takes it.
    pub fn say_goodbye(&mut self) {
        self.tls.send_close_notify();
        let _ = self.tls.write_tls(&mut self.stream);
    }
}

/// One read; `None` if there is nothing now.
fn read_some(stream: &mut TcpStream, buffer: &mut [u8]) -> Result<Option<usize>, WireError> {
    loop {
        return match stream.read(buffer) {
            Ok(0) => Err(WireError::Lost),
            Ok(length) => Ok(Some(length)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => Err(error.into()),
        };
    }
}
