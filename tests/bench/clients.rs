//! Clients of the replicated app, and the door at which a replica takes their commands.
//!
//! A client's frame is a count (`u32`) and as many commands of [`COMMAND_BYTES`]; a replica's is a
//! count and the due time of each command that was committed (`u64` each, all little-endian). So an
//! answer says by itself what it answers. A replica proposes its own clients' commands when it
//! leads; the client spreads its commands over all replicas.
//!
//! This is the least that such a protocol can be: no text, no sessions. `kv` of the examples allows
//! 16 commands under way on a connection, and is busy with lines before the replicas are.

use std::collections::VecDeque;
use std::io::{BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::app::{commands_in, set_due, set_number, Number};
use crate::protocol::{Schedule, COMMAND_BYTES};
use crate::stats::{now_ns, sleep_until, Histogram};

/// Commands that a replica holds for its clients; then it reads no more of them.
const POOL_MAX: usize = 1 << 17;

/// Commands in one frame.
const FRAME_MAX: usize = 2_048;

type Command = [u8; COMMAND_BYTES];

/// Where a replica takes commands.
pub struct Door {
    /// Which of the replicas: its commands are numbered apart from those of the others.
    source: u8,
    pool: Mutex<Pool>,
    has_room: Condvar,
}

#[derive(Default)]
struct Pool {
    /// Commands that are not committed yet, in turn.
    commands: VecDeque<Command>,
    /// The turn of the first of them.
    first: u64,
    /// Who is answered: clients come one after the other.
    client: Option<TcpStream>,
}

impl Door {
    pub fn new(source: u8) -> Door {
        Door {
            source,
            pool: Mutex::default(),
            has_room: Condvar::new(),
        }
    }

    pub fn source(&self) -> u8 {
        self.source
    }

    /// Opens it, and says at which port. `notify` is called whenever there is something to propose.
    pub fn open(self: &Arc<Door>, notify: impl Fn() + Send + 'static) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port on loopback");
        let port = listener.local_addr().expect("it is bound").port();
        let door = Arc::clone(self);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                client.set_nodelay(true).expect("a TCP socket");
                door.pool().client = Some(client.try_clone().expect("a file handle more"));
                let mut client = BufReader::with_capacity(1 << 20, client);
                while let Some(commands) = read_frame(&mut client, COMMAND_BYTES) {
                    door.take_in(&commands);
                    notify();
                }
            }
        });
        port
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().expect("nobody panics under the lock")
    }

    fn take_in(&self, commands: &[u8]) {
        let is_full = |pool: &mut Pool| pool.commands.len() >= POOL_MAX;
        let pool = self.has_room.wait_while(self.pool(), is_full);
        let mut pool = pool.expect("nobody panics under the lock");
        for command in commands.chunks_exact(COMMAND_BYTES) {
            let turn = pool.first + pool.commands.len() as u64;
            let mut command: Command = command.try_into().expect("a whole command");
            let source = self.source;
            set_number(&mut command, Number { source, turn });
            pool.commands.push_back(command);
        }
    }

    /// The commands from turn `next` on, at most `fits`, as a block's data.
    pub fn commands(&self, next: u64, fits: usize) -> Vec<u8> {
        let pool = self.pool();
        // What the chain has may not have been told here yet, so `next` may be beyond the pool.
        let skip = next
            .saturating_sub(pool.first)
            .min(pool.commands.len() as u64) as usize;
        let count = (pool.commands.len() - skip).min(fits);
        let mut data = Vec::with_capacity(count * COMMAND_BYTES);
        for command in pool.commands.range(skip..skip + count) {
            data.extend_from_slice(command);
        }
        data
    }

    /// Answers what is this door's in a committed block; says whether more waits.
    pub fn answer(&self, data: &[u8]) -> bool {
        let mut own = commands_in(data).into_iter().flatten().peekable();
        if own
            .peek()
            .is_none_or(|(number, _)| number.source != self.source)
        {
            return false;
        }
        let mut frame = vec![0; 4];
        own.for_each(|(_, due_ns)| frame.extend(due_ns.to_le_bytes()));
        let count = (frame.len() - 4) / 8;
        frame[..4].copy_from_slice(&(count as u32).to_le_bytes());
        let mut pool = self.pool();
        pool.commands.drain(..count);
        pool.first += count as u64;
        let (client, more) = (pool.client.as_ref(), !pool.commands.is_empty());
        let client = client.map(|client| client.try_clone().expect("a file handle more"));
        drop(pool);
        self.has_room.notify_one();
        if let Some(mut client) = client {
            let _ = client.write_all(&frame); // it may have ended
        }
        more
    }
}

/// A count and so many pieces; `None` at the end.
fn read_frame(from: &mut impl Read, piece_bytes: usize) -> Option<Vec<u8>> {
    let mut count = [0; 4];
    from.read_exact(&mut count).ok()?;
    let mut pieces = vec![0; u32::from_le_bytes(count) as usize * piece_bytes];
    from.read_exact(&mut pieces).ok()?;
    Some(pieces)
}

/// What clients do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClientsSettings {
    /// Where the replicas take clients.
    pub ports: Vec<u16>,
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
    let mut replicas: Vec<TcpStream> = settings.ports.iter().map(|port| connect(*port)).collect();
    for replica in &replicas {
        let (from, seen) = (
            replica.try_clone().expect("a file handle more"),
            seen.clone(),
        );
        thread::spawn(move || seen.read(from));
    }
    let sent = match settings.per_second {
        Some(per_second) => send_on_schedule(&mut replicas, &seen, start, per_second),
        None => send_one_at_a_time(&mut replicas, &seen),
    };
    let answered = seen.wait_for(sent, PATIENCE);
    let mut result = seen.counted.lock().expect("no panic under it").1.clone();
    result.unanswered = sent - answered;
    result
}

fn connect(port: u16) -> TcpStream {
    let replica = TcpStream::connect(("127.0.0.1", port)).expect("a replica listens");
    replica.set_nodelay(true).expect("a TCP socket");
    replica
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
fn send_on_schedule(replicas: &mut [TcpStream], seen: &Seen, start: u64, per_second: f64) -> u64 {
    let schedule = Schedule {
        start_ns: start,
        per_second: Some(per_second),
        count: u64::MAX >> 1,
    };
    let all = replicas.len() as u64;
    let (mut sent, mut now) = (0, now_ns());
    while now < seen.end {
        let due = schedule.due(now);
        for (index, replica) in (0..).zip(replicas.iter_mut()) {
            let own = (sent..due).filter(|number| number % all == index);
            let due_ns: Vec<u64> = own.map(|number| schedule.due_ns(number, now)).collect();
            for frame in due_ns.chunks(FRAME_MAX) {
                send(replica, frame);
            }
        }
        sent = due;
        sleep_until(now + TICK_NS);
        now = now_ns();
    }
    sent
}

/// Sends one command, and the next one, to the next replica, when that is answered.
fn send_one_at_a_time(replicas: &mut [TcpStream], seen: &Seen) -> u64 {
    let (mut sent, mut now) = (0, now_ns());
    while now < seen.end {
        let next = sent as usize % replicas.len();
        send(&mut replicas[next], &[now]);
        sent += 1;
        if seen.wait_for(sent, PATIENCE) < sent {
            break;
        }
        now = now_ns();
    }
    sent
}

fn send(replica: &mut TcpStream, due_ns: &[u64]) {
    let mut frame = vec![0x5a; 4 + due_ns.len() * COMMAND_BYTES];
    frame[..4].copy_from_slice(&(due_ns.len() as u32).to_le_bytes());
    for (command, due_ns) in frame[4..].chunks_exact_mut(COMMAND_BYTES).zip(due_ns) {
        set_due(command, *due_ns);
    }
    replica
        .write_all(&frame)
        .expect("the replicas outlive their clients");
}
