//! The bench's side of its child processes.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{unbounded, Receiver};
use tempfile::TempDir;

use crate::app::SCHEDULE;
use crate::clients::{ClientsResult, ClientsSettings};
use crate::floor::{FloorResult, FloorSettings};
use crate::protocol::{Answer, Ask, ChainSettings, Place, ReplicaSettings, Report, Role, Work};
use crate::stats::{cpu_ns, memory_of, Memory};

/// The argument that makes the program a child of itself.
pub const CHILD: &str = "--child";

/// No answer takes so much longer than what it tells of.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Until all are connected, and until they have committed something.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Processes in a group of their own: an interrupt reaches the bench alone, and they follow it.
struct Process {
    child: Child,
    stdin: ChildStdin,
    answers: Receiver<Answer>,
}

impl Process {
    fn spawn(role: &Role) -> Process {
        let program = std::env::current_exe().expect("this program has a path");
        let mut child = Command::new(program)
            .arg(CHILD)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("this program can be started again");
        let stdin = child.stdin.take().expect("piped above");
        let stdout = child.stdout.take().expect("piped above");
        let (sender, answers) = unbounded();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let answer = serde_json::from_str(&line).expect("a child speaks the protocol");
                let _ = sender.send(answer); // the cluster may be gone
            }
        });
        let mut process = Process {
            child,
            stdin,
            answers,
        };
        process.tell(role);
        process
    }

    fn tell<T: serde::Serialize>(&mut self, what: &T) {
        let line = serde_json::to_string(what).expect("plain data");
        writeln!(self.stdin, "{line}").expect("the child lives");
    }

    fn answer(&self) -> Answer {
        self.answer_after(Duration::ZERO)
    }

    fn answer_after(&self, work: Duration) -> Answer {
        let answer = self.answers.recv_timeout(work + ANSWER_TIMEOUT);
        answer.expect("a child answers in time (what it said stands above)")
    }

    fn kill(&mut self) {
        let _ = self.child.kill(); // it may be dead already
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs the floor in a process of its own: of `replicas`, with blocks of `payload_bytes`.
pub fn run_floor(
    replicas: usize,
    payload_bytes: usize,
    is_stored: bool,
    warm_up: Duration,
    duration: Duration,
) -> FloorResult {
    let root = temporary();
    let dir = root.path().join("floor");
    let settings = FloorSettings {
        replicas,
        payload_bytes,
        is_stored,
        warm_up,
        duration,
        dir,
    };
    let process = Process::spawn(&Role::Floor(settings));
    match process.answer_after(warm_up + duration) {
        Answer::Floor(result) => *result,
        other => panic!("the floor answered {other:?}"),
    }
}

/// Clients in a process of their own.
pub struct Clients {
    process: Process,
    lifetime: Duration,
}

impl Clients {
    /// What they have seen, once they have ended.
    pub fn result(self) -> ClientsResult {
        match self.process.answer_after(self.lifetime) {
            Answer::Clients(result) => *result,
            other => panic!("the clients answered {other:?}"),
        }
    }
}

fn temporary() -> TempDir {
    tempfile::Builder::new()
        .prefix("hotstuff-bench-")
        .tempdir()
        .expect("a temporary directory")
}

/// Replicas, each in a process of its own, connected over TCP on loopback.
pub struct Cluster {
    replicas: Vec<Option<Process>>,
    settings: Vec<ReplicaSettings>,
    /// Where the replicas take clients, as they were started.
    client_ports: Vec<u16>,
    /// Clients that were started.
    clients: usize,
    _root: TempDir, // after the processes that write below it
}

impl Cluster {
    /// Starts `n` replicas, and waits until all are connected to one another, and have committed a
    /// first block: a leader whose proposal goes out before that costs a time-out. They have no
    /// work.
    pub fn start(n: usize, chain: ChainSettings) -> Cluster {
        let root = temporary();
        let ports = free_ports(n);
        let settings: Vec<ReplicaSettings> = (0..n)
            .map(|index| ReplicaSettings {
                index,
                ports: ports.clone(),
                validators: n,
                dir: root.path().join(format!("replica-{index}")),
                chain,
            })
            .collect();
        let spawn =
            |settings: &ReplicaSettings| Some(Process::spawn(&Role::Replica(settings.clone())));
        let replicas: Vec<Option<Process>> = settings.iter().map(spawn).collect();
        let client_ports = replicas.iter().flatten().map(client_port).collect();
        let mut cluster = Cluster {
            replicas,
            settings,
            client_ports,
            clients: 0,
            _root: root,
        };
        let connected =
            |places: &[Place]| places.iter().all(|place| place.peers_connected == n - 1);
        cluster.wait_until("every replica is connected", START_TIMEOUT, connected);
        let has_begun = |places: &[Place]| places.iter().all(|place| place.height > 0);
        cluster.work(Work::Blocks { data_bytes: 0 });
        cluster.wait_until("every replica has a block", START_TIMEOUT, has_begun);
        cluster.work(Work::None);
        cluster
    }

    /// Asks one replica.
    pub fn ask(&mut self, index: usize, ask: &Ask) -> Answer {
        let process = self.replicas[index].as_mut().expect("it lives");
        process.tell(ask);
        process.answer()
    }

    /// Asks all that live, at about the same time.
    pub fn ask_all(&mut self, ask: &Ask) -> Vec<Answer> {
        self.replicas
            .iter_mut()
            .flatten()
            .for_each(|process| process.tell(ask));
        self.replicas
            .iter()
            .flatten()
            .map(Process::answer)
            .collect()
    }

    /// Gives all leaders work.
    pub fn work(&mut self, work: Work) {
        self.ask_all(&Ask::Work(work));
    }

    /// Where all that live are.
    pub fn places(&mut self) -> Vec<Place> {
        let answers = self.ask_all(&Ask::Place).into_iter();
        let place = |answer| match answer {
            Answer::Place(place) => place,
            other => panic!("a replica answered {other:?}"),
        };
        answers.map(place).collect()
    }

    /// What all that live have seen.
    pub fn reports(&mut self) -> Vec<Report> {
        let answers = self.ask_all(&Ask::Report).into_iter();
        let report = |answer| match answer {
            Answer::Report(report) => *report,
            other => panic!("a replica answered {other:?}"),
        };
        answers.map(report).collect()
    }

    /// Waits until it is so; says whether it came true in time.
    pub fn wait_for(&mut self, timeout: Duration, is_so: impl Fn(&[Place]) -> bool) -> bool {
        let began = Instant::now();
        loop {
            if is_so(&self.places()) {
                return true;
            }
            if began.elapsed() > timeout {
                return false;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The same, for what must come true.
    pub fn wait_until(&mut self, what: &str, timeout: Duration, is_so: impl Fn(&[Place]) -> bool) {
        if !self.wait_for(timeout, is_so) {
            panic!(
                "waited {timeout:?} in vain until {what}: {:?}",
                self.places()
            );
        }
    }

    /// SIGKILL.
    pub fn kill(&mut self, index: usize) {
        let mut process = self.replicas[index].take().expect("it lives");
        process.kill();
    }

    /// Starts a killed replica again, in the directory that it left.
    pub fn restart(&mut self, index: usize) {
        let process = Process::spawn(&Role::Replica(self.settings[index].clone()));
        client_port(&process); // that of old is forgotten: these clients have no second try
        self.replicas[index] = Some(process);
    }

    /// Starts a listener, with nothing on its disk, and says its index.
    pub fn add_listener(&mut self) -> usize {
        let index = self.settings.len();
        let mut settings = self.settings[0].clone();
        settings.index = index;
        settings.ports.extend(free_ports(1));
        settings.dir.set_file_name(format!("replica-{index}"));
        self.settings.push(settings);
        self.replicas.push(None);
        self.restart(index);
        index
    }

    /// Lets clients send commands to all replicas, in a process of their own.
    pub fn start_clients(&mut self, settings: ClientsSettings) -> Clients {
        let lifetime = settings.lifetime();
        let first_source = self.clients;
        self.clients += self.client_ports.len();
        assert!(self.clients <= SCHEDULE.into(), "every client is another");
        let process = Process::spawn(&Role::Clients(ClientsSettings {
            ports: self.client_ports.clone(),
            first_source: first_source as u8,
            ..settings
        }));
        Clients { process, lifetime }
    }

    /// CPU time of all that live, in nanoseconds.
    pub fn cpu_ns(&self) -> u64 {
        self.replicas
            .iter()
            .flatten()
            .map(|process| cpu_ns(process.child.id()))
            .sum()
    }

    /// The memory of each that lives.
    pub fn memory(&self) -> Vec<Memory> {
        self.replicas
            .iter()
            .flatten()
            .map(|process| memory_of(process.child.id()))
            .collect()
    }

    /// Stops all in order.
    pub fn stop(mut self) {
        self.ask_all(&Ask::Quit);
    }
}

/// Waits until it runs.
fn client_port(process: &Process) -> u16 {
    match process.answer() {
        Answer::Ready { client_port } => client_port,
        other => panic!("a replica answered {other:?}"),
    }
}

/// Ports that were free a moment ago.
fn free_ports(n: usize) -> Vec<u16> {
    let bind = |_| TcpListener::bind("127.0.0.1:0").expect("a free port on loopback");
    let listeners: Vec<TcpListener> = (0..n).map(bind).collect();
    let port = |listener: &TcpListener| listener.local_addr().expect("it is bound").port();
    listeners.iter().map(port).collect()
}
