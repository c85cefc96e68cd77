//! Four processes that are killed, and what they say.

use std::io::{BufReader, Write};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{unbounded, Receiver, Sender};
use tempfile::TempDir;

use crate::chance::Chance;
use crate::child::{self, Settings, REPLICAS};
use crate::disk::{Disk, Failure, Lost};
use crate::wire::{self, Commands, Said};

/// What is known of a process.
pub enum Heard {
    Said(Said),
    /// It is dead, and this was all.
    End,
}

struct Process {
    child: Child,
    orders: UnixStream,
}

/// See the module. Dropping it ends the processes.
pub struct Cluster {
    processes: Vec<Option<Process>>,
    settings: Vec<Settings>,
    disks: Vec<Disk>,
    heard: Receiver<(usize, Heard)>,
    tell: Sender<(usize, Heard)>,
    _root: TempDir,
}

impl Cluster {
    /// Nobody runs yet.
    pub fn new(is_synced: bool, sync: Duration) -> Cluster {
        let root = tempfile::Builder::new().prefix("hotstuff-crash-").tempdir();
        let root = root.expect("a temporary directory");
        let ports = free_ports(REPLICAS);
        let settings: Vec<Settings> = (0..REPLICAS)
            .map(|index| Settings {
                index,
                ports: ports.clone(),
                directory: root.path().join(format!("replica-{index}")),
                is_synced,
                known_height: 0,
            })
            .collect();
        let disk = |settings: &Settings| Disk::new(&settings.directory, sync);
        let (tell, heard) = unbounded();
        Cluster {
            processes: (0..REPLICAS).map(|_| None).collect(),
            disks: settings.iter().map(disk).collect(),
            settings,
            heard,
            tell,
            _root: root,
        }
    }

    /// Starts a replica, in the directory that it left.
    pub fn start(&mut self, index: usize, known_height: u64) {
        self.settings[index].known_height = known_height;
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        let mut command = child::command(&self.settings[index]);
        self.disks[index].arm(&mut command);
        command
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .process_group(0);
        let child = command.spawn().expect("this program can be started again");
        let stream = ours.try_clone().expect("a descriptor");
        let tell = self.tell.clone();
        thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            while let Some(said) = wire::read(&mut stream) {
                let _ = tell.send((index, Heard::Said(said))); // the cluster may be gone
            }
            let _ = tell.send((index, Heard::End));
        });
        let orders = ours;
        self.processes[index] = Some(Process { child, orders });
    }

    /// SIGKILL. What it has said is still to be heard, up to [`Heard::End`].
    pub fn kill(&mut self, index: usize) {
        if let Some(mut process) = self.processes[index].take() {
            process.child.kill().expect("it is a child of ours");
            process.child.wait().expect("it is a child of ours");
        }
    }

    /// The power of a dead replica's disk fails.
    pub fn fail_disk(&self, index: usize, failure: Failure, chance: &mut Chance) -> Lost {
        assert!(self.processes[index].is_none(), "it still writes");
        self.disks[index].fail(failure, chance)
    }

    /// A client's commands, for all that live.
    pub fn send(&mut self, commands: &[u64]) {
        for process in self.processes.iter_mut().flatten() {
            // One that has died by itself is heard of otherwise.
            let _ = wire::write(&mut process.orders, &Commands(commands.to_vec()));
            let _ = process.orders.flush();
        }
    }

    /// What is said next, until `deadline`.
    pub fn hear(&self, deadline: Instant) -> Option<(usize, Heard)> {
        self.heard.recv_deadline(deadline).ok()
    }

    pub fn settings(&self, index: usize) -> &Settings {
        &self.settings[index]
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        (0..REPLICAS).for_each(|index| self.kill(index));
    }
}

/// Ports that were free a moment ago.
fn free_ports(n: usize) -> Vec<u16> {
    let bind = |_| TcpListener::bind("127.0.0.1:0").expect("a free port on loopback");
    let listeners: Vec<TcpListener> = (0..n).map(bind).collect();
    let port = |listener: &TcpListener| listener.local_addr().expect("it is bound").port();
    listeners.iter().map(port).collect()
}
