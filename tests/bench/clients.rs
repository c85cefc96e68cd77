//! Clients of the replicated app, and the door at which a replica takes their commands.
//!
//! A client is a source of commands, which numbers them. It sends each to every replica, so that
//! whoever leads next proposes it and nobody can withhold it, and is answered by one, its home.
//! A process has as many clients as there are replicas, each with another home, and one connection
//! to each replica: first the client whose home is there (`u8`), then frames: a count (`u32`) and
//! as many commands of [`COMMAND_BYTES`], of one client, in turn. A replica's frames are a count
//! and the due time of each command that was committed (`u64` each, all little-endian). So an
//! answer says by itself what it answers.
//!
//! This is the least that such a protocol can be: no text, no sessions. `kv` of the examples allows
//! 16 commands under way on a connection, and is busy with lines before the replicas are.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use hotstuff::app::ReadError;
use serde::{Deserialize, Serialize};

use crate::app::{commands_in, set_due, set_number, Number, Turns};
use crate::protocol::{Schedule, COMMAND_BYTES};
use crate::stats::{now_ns, sleep_until, Histogram};

/// Commands that a replica holds: with so many it takes in no further frame.
const POOL_MAX: usize = 1 << 17;

/// Commands in one frame, or answers: a block of `load` has room for so many.
const FRAME_MAX: usize = 2_048;

/// Where a replica takes commands.
#[derive(Default)]
pub struct Door {
    pool: Mutex<Pool>,
    has_room: Condvar,
}

#[derive(Default)]
struct Pool {
    /// In the order of their arrival, until all of their commands are committed.
    frames: VecDeque<Frame>,
    /// Commands in them.
    len: usize,
    /// The turn after the last one committed, of each source.
    committed: BTreeMap<u8, u64>,
    /// Who is answered here: processes of clients come one after the other.
    client: Option<(u8, TcpStream)>,
}

/// Commands of one source, in turn, as they were read.
struct Frame {
    first: Number,
    commands: Vec<u8>,
}

impl Frame {
    /// `None` if they are anything else.
    fn new(commands: Vec<u8>) -> Option<Frame> {
        let first = first_in_turn(&commands)?;
        Some(Frame { first, commands })
    }

    fn len(&self) -> usize {
        self.commands.len() / COMMAND_BYTES
    }

    fn end(&self) -> u64 {
        self.first.turn + self.len() as u64
    }

    /// The commands from this turn on; none if that is not here.
    fn since(&self, turn: u64) -> &[u8] {
        let skip = turn.checked_sub(self.first.turn);
        let rest = skip.and_then(|skip| self.commands.get(skip as usize * COMMAND_BYTES..));
        rest.unwrap_or_default()
    }
}

/// The first of commands of one source, in turn.
fn first_in_turn(commands: &[u8]) -> Option<Number> {
    let mut numbers = commands_in(commands)?.map(|(number, _)| number);
    let first = numbers.next()?;
    let mut rest = (first.turn + 1..).zip(numbers);
    rest.all(|(turn, number)| number == Number { turn, ..first })
        .then_some(first)
}

impl Pool {
    fn is_committed(&self, frame: &Frame) -> bool {
        let next = self.committed.get(&frame.first.source);
        next.is_some_and(|next| *next >= frame.end())
    }

    fn drop_committed(&mut self) {
        let mut frames = std::mem::take(&mut self.frames);
        frames.retain(|frame| !self.is_committed(frame));
        self.len = frames.iter().map(Frame::len).sum();
        self.frames = frames;
    }
}

impl Door {
    /// Opens it, and says at which port. `notify` is called whenever there is something to propose.
    pub fn open(self: &Arc<Door>, notify: impl Fn() + Send + 'static) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port on loopback");
        let port = listener.local_addr().expect("it is bound").port();
        let door = Arc::clone(self);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                client.set_nodelay(true).expect("a TCP socket");
                door.serve(client, &notify);
            }
        });
        port
    }

    /// Until the end of the connection.
    fn serve(&self, client: TcpStream, notify: &impl Fn()) {
        let answers = client.try_clone().expect("a file handle more");
        let mut client = BufReader::new(client); // small: what is longer goes by it
        let mut source = [0];
        if client.read_exact(&mut source).is_err() {
            return;
        }
        self.pool().client = Some((source[0], answers));
        while let Some(commands) = read_frame(&mut client, COMMAND_BYTES) {
            if let Some(frame) = Frame::new(commands) {
                self.take_in(frame);
                notify();
            }
        }
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().expect("nobody panics under the lock")
    }

    fn take_in(&self, frame: Frame) {
        let is_full = |pool: &mut Pool| pool.len >= POOL_MAX;
        let pool = self.has_room.wait_while(self.pool(), is_full);
        let mut pool = pool.expect("nobody panics under the lock");
        // Those who have had it earlier may have committed it.
        if !pool.is_committed(&frame) {
            pool.len += frame.len();
            pool.frames.push_back(frame);
        }
    }

    /// Commands of all sources that are in turn, at most `fits`, as a block's data. Those that came
    /// first go first.
    pub fn commands(&self, turns: &mut Turns, fits: usize) -> Result<Vec<u8>, ReadError> {
        let pool = self.pool();
        let bytes_max = pool.len.min(fits) * COMMAND_BYTES;
        let mut data = Vec::with_capacity(bytes_max);
        for frame in &pool.frames {
            let next = turns.next(frame.first.source)?;
            let commands = frame.since(*next);
            let commands = &commands[..commands.len().min(bytes_max - data.len())];
            data.extend_from_slice(commands);
            *next += (commands.len() / COMMAND_BYTES) as u64;
            if data.len() == bytes_max {
                break;
            }
        }
        Ok(data)
    }

    /// Drops what a committed block holds, and answers the client whose home is here; says whether
    /// more waits.
    pub fn answer(&self, data: &[u8]) -> bool {
        let mut pool = self.pool();
        let own = pool.client.as_ref().map(|(source, _)| *source);
        let mut frame = vec![0; 4];
        for (number, due_ns) in commands_in(data).into_iter().flatten() {
            pool.committed.insert(number.source, number.turn + 1);
            if own == Some(number.source) {
                frame.extend(due_ns.to_le_bytes());
            }
        }
        pool.drop_committed();
        let more = !pool.frames.is_empty();
        let count = (frame.len() - 4) / 8;
        let client = pool.client.as_ref().filter(|_| count > 0);
        let client = client.map(|(_, client)| client.try_clone().expect("a file handle more"));
        drop(pool);
        self.has_room.notify_one();
        if let Some(mut client) = client {
            frame[..4].copy_from_slice(&(count as u32).to_le_bytes());
            let _ = client.write_all(&frame); // it may have ended
        }
        more
    }
}

/// A count and so many pieces; `None` at the end, or if they are too many.
fn read_frame(from: &mut impl Read, piece_bytes: usize) -> Option<Vec<u8>> {
    let mut count = [0; 4];
    from.read_exact(&mut count).ok()?;
    let count = Some(u32::from_le_bytes(count) as usize).filter(|count| *count <= FRAME_MAX)?;
    let mut pieces = vec![0; count * piece_bytes];
    from.read_exact(&mut pieces).ok()?;
    Some(pieces)
}

/// What clients do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClientsSettings {
    /// Where the replicas take clients.
    pub ports: Vec<u16>,
    /// The first client; its home is the first replica. None was there before.
    pub first_source: u8,
    /// Commands a second, whether or not those before are answered; `None`: one at a time.
    pub per_second: Option<f64>,
    pub warm_up: Duration,
    pub duration: Duration,
}

/// What clients have seen.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ClientsResult {
    /// Answers that came while it was measured.
    pub answered: u64,
    /// From the due time until the answer, of commands that were due while it was measured.
    pub latency: Histogram,
    /// Commands whose answer did not come until [`PATIENCE`] after the end.
    pub unanswered: u64,
}

/// How long clients wait for the last answers.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often clients send what is due.
const TICK_NS: u64 = 1_000_000;

impl ClientsSettings {
    pub fn lifetime(&self) -> Duration {
        self.warm_up + self.duration + PATIENCE
    }
}

/// What all connections have seen.
struct Seen {
    begin: u64,
    end: u64,
    counted: Mutex<(u64, ClientsResult)>,
    has_answer: Condvar,
}

/// The life of a process of clients.
pub fn run(settings: &ClientsSettings) -> ClientsResult {
    let start = now_ns();
    let begin = start + settings.warm_up.as_nanos() as u64;
    let seen = Arc::new(Seen {
        begin,
        end: begin + settings.duration.as_nanos() as u64,
        counted: Mutex::default(),
        has_answer: Condvar::new(),
    });
    let mut sender = Sender::connect(settings);
    for replica in &sender.replicas {
        let (from, seen) = (
            replica.try_clone().expect("a file handle more"),
            seen.clone(),
        );
        thread::spawn(move || seen.read(from));
    }
    let sent = match settings.per_second {
        Some(per_second) => send_on_schedule(&mut sender, &seen, start, per_second),
        None => send_one_at_a_time(&mut sender, &seen),
    };
    let answered = seen.wait_for(sent, PATIENCE);
    let mut result = seen.counted.lock().expect("no panic under it").1.clone();
    result.unanswered = sent - answered;
    result
}

/// What all clients send.
struct Sender {
    /// As many as there are clients.
    replicas: Vec<TcpStream>,
    first_source: u8,
    /// Frames that are not sent yet.
    frames: Vec<u8>,
}

impl Sender {
    fn connect(settings: &ClientsSettings) -> Sender {
        let first_source = settings.first_source;
        let ports = settings.ports.iter().zip(first_source..);
        let connect = |(port, source): (&u16, u8)| {
            let mut replica = TcpStream::connect(("127.0.0.1", *port)).expect("a replica listens");
            replica.set_nodelay(true).expect("a TCP socket");
            replica.write_all(&[source]).expect("a replica reads");
            replica
        };
        Sender {
            replicas: ports.map(connect).collect(),
            first_source,
            frames: Vec::new(),
        }
    }

    /// Takes commands with these due times, of which the first has this number among those of all
    /// clients: they are the next ones of the client whose turn that is.
    fn put(&mut self, first: u64, due_ns: &[u64]) {
        let all = self.replicas.len() as u64;
        let source = self.first_source + (first % all) as u8;
        self.frames.extend((due_ns.len() as u32).to_le_bytes());
        for (turn, due_ns) in (first / all..).zip(due_ns) {
            let begin = self.frames.len();
            self.frames.resize(begin + COMMAND_BYTES, 0x5a);
            let command = &mut self.frames[begin..];
            set_number(command, Number { source, turn });
            set_due(command, *due_ns);
        }
    }

    /// Sends to every replica what was put.
    fn send(&mut self) {
        for replica in &mut self.replicas {
            let sent = replica.write_all(&self.frames);
            sent.expect("the replicas outlive their clients");
        }
        self.frames.clear();
    }
}

impl Seen {
    fn read(&self, from: TcpStream) {
        let mut from = BufReader::with_capacity(64 << 10, from);
        while let Some(answers) = read_frame(&mut from, 8) {
            let now = now_ns();
            let mut counted = self.counted.lock().expect("no panic under it");
            let (total, result) = &mut *counted;
            for due in answers.chunks_exact(8) {
                let due_ns = u64::from_le_bytes(due.try_into().expect("8 bytes"));
                *total += 1;
                result.answered += u64::from((self.begin..self.end).contains(&now));
                if (self.begin..self.end).contains(&due_ns) {
                    result.latency.record(now.saturating_sub(due_ns) / 1_000);
                }
            }
            drop(counted);
            self.has_answer.notify_one();
        }
    }

    /// Waits until so many are answered, and says how many are.
    fn wait_for(&self, sent: u64, patience: Duration) -> u64 {
        let counted = self.counted.lock().expect("no panic under it");
        let waited = self
            .has_answer
            .wait_timeout_while(counted, patience, |(total, _)| *total < sent);
        waited.expect("no panic under it").0 .0
    }
}

/// Sends what is due, and says how many that were.
fn send_on_schedule(sender: &mut Sender, seen: &Seen, start: u64, per_second: f64) -> u64 {
    let schedule = Schedule {
        start_ns: start,
        per_second: Some(per_second),
        count: u64::MAX >> 1,
    };
    let all = sender.replicas.len();
    let (mut sent, mut now) = (0, now_ns());
    while now < seen.end {
        let due = schedule.due(now);
        for first in (sent..due).take(all) {
            let own: Vec<u64> = (first..due).step_by(all).collect();
            for numbers in own.chunks(FRAME_MAX) {
                let due_ns = numbers.iter().map(|number| schedule.due_ns(*number, now));
                sender.put(numbers[0], &due_ns.collect::<Vec<_>>());
            }
        }
        sender.send();
        sent = due;
        sleep_until(now + TICK_NS);
        now = now_ns();
    }
    sent
}

/// Sends one command, and the next one, of the next client, when that is answered.
fn send_one_at_a_time(sender: &mut Sender, seen: &Seen) -> u64 {
    let (mut sent, mut now) = (0, now_ns());
    while now < seen.end {
        sender.put(sent, &[now]);
        sender.send();
        sent += 1;
        if seen.wait_for(sent, PATIENCE) < sent {
            break;
        }
        now = now_ns();
    }
    sent
}
