//! The bench's side of its child processes.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{unbounded, Receiver};
use tempfile::TempDir;

use crate::floor::{FloorResult, FloorSettings};
use crate::protocol::{Answer, Ask, ChainSettings, Place, ReplicaSettings, Report, Role, Work};
use crate::stats::cpu_ns;

/// The argument that makes the program a child of itself.
pub const CHILD: &str = "--child";

/// No answer takes so long.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Until all are connected.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// A first leader whose proposal went out before all were connected costs a time-out.
const FIRST_BLOCK_TIMEOUT: Duration = Duration::from_secs(3);

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
        let answer = self.answers.recv_timeout(ANSWER_TIMEOUT);
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

/// Runs the floor in a process of its own.
pub fn run_floor(payload_bytes: usize, warm_up: Duration, duration: Duration) -> FloorResult {
    let root = temporary();
    let dir = root.path().join("floor");
    let settings = FloorSettings {
        replicas: 4,
        payload_bytes,
        warm_up,
        duration,
        dir,
    };
    let process = Process::spawn(&Role::Floor(settings));
    match process.answer() {
        Answer::Floor(result) => *result,
        other => panic!("the floor answered {other:?}"),
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
    _root: TempDir, // after the processes that write below it
}

impl Cluster {
    /// Starts `n` replicas, and waits until all are connected to one another, and what their first
    /// views had to say is committed. They have no work.
    pub fn start(n: usize, chain: ChainSettings) -> Cluster {
        let root = temporary();
        let ports = free_ports(n);
        let settings: Vec<ReplicaSettings> = (0..n)
            .map(|index| ReplicaSettings {
                index,
                ports: ports.clone(),
                dir: root.path().join(format!("replica-{index}")),
                chain,
            })
            .collect();
        let spawn =
            |settings: &ReplicaSettings| Some(Process::spawn(&Role::Replica(settings.clone())));
        let replicas: Vec<Option<Process>> = settings.iter().map(spawn).collect();
        for process in replicas.iter().flatten() {
            assert!(matches!(process.answer(), Answer::Ready));
        }
        let mut cluster = Cluster {
            replicas,
            settings,
            _root: root,
        };
        let connected =
            |places: &[Place]| places.iter().all(|place| place.peers_connected == n - 1);
        cluster.wait_until("every replica is connected", START_TIMEOUT, connected);
        let begun = |places: &[Place]| places.iter().all(|place| place.height > 0);
        cluster.wait_for(FIRST_BLOCK_TIMEOUT, begun); // an idle chain may also stay at the genesis
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
        assert!(matches!(process.answer(), Answer::Ready));
        self.replicas[index] = Some(process);
    }

    /// CPU time of all that live, in nanoseconds.
    pub fn cpu_ns(&self) -> u64 {
        self.replicas
            .iter()
            .flatten()
            .map(|process| cpu_ns(process.child.id()))
            .sum()
    }

    /// Stops all in order.
    pub fn stop(mut self) {
        self.ask_all(&Ask::Quit);
    }
}

/// Ports that were free a moment ago.
fn free_ports(n: usize) -> Vec<u16> {
    let bind = |_| TcpListener::bind("127.0.0.1:0").expect("a free port on loopback");
    let listeners: Vec<TcpListener> = (0..n).map(bind).collect();
    let port = |listener: &TcpListener| listener.local_addr().expect("it is bound").port();
    listeners.iter().map(port).collect()
}
