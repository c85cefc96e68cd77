//! A disk that loses what was not synced: the shim in front of libc, and what is left after a kill.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use crate::chance::Chance;

/// What a disk writes as a whole.
const SECTOR_BYTES: u64 = 512;

/// The disk below one replica's directory.
#[derive(Clone, Debug)]
pub struct Disk {
    /// The replica's.
    pub directory: PathBuf,
    /// How long a sync takes: a kill falls the more often into one.
    pub sync: Duration,
}

/// What a power failure took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Writes that were not synced.
    pub writes: usize,
    /// Sectors of them that went back to what they were.
    pub sectors: usize,
    /// Sectors of them that had reached the disk.
    pub kept: usize,
}

/// What a power failure does to writes that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// None of them has reached the disk.
    All,
    /// Some sectors of them have, in any order.
    Torn,
}

impl Disk {
    pub fn new(directory: &Path, sync: Duration) -> Disk {
        let directory = directory.to_owned();
        Disk { directory, sync }
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data.mdb")
    }

    /// Beside the directory, which must hold nothing foreign.
    fn undo(&self) -> PathBuf {
        self.directory.with_extension("undo")
    }

    /// Puts the shim in front of a process.
    pub fn arm(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", shim())
            .env("CRASH_FILE", self.data())
            .env("CRASH_UNDO", self.undo())
            .env("CRASH_SYNC_US", self.sync.as_micros().to_string());
    }

    /// The power fails: to be called when the process is dead.
    pub fn fail(&self, failure: Failure, chance: &mut Chance) -> Lost {
        let log = fs::read(self.undo()).unwrap_or_default();
        let records = Record::read_all(&log);
        let mut lost = Lost {
            writes: records.len(),
            ..Lost::default()
        };
        if let Some(first) = records.first() {
            let data = File::options().write(true).open(self.data());
            let data = data.expect("what was written to is there");
            let mut kept = BTreeSet::new();
            for record in records.iter().rev() {
                record.undo(&data, failure, chance, &mut kept, &mut lost);
            }
            // A sector that is there makes the file long enough for it.
            let end = kept.last().map_or(0, |sector| (sector + 1) * SECTOR_BYTES);
            let is_length_lost = failure == Failure::All || chance.one_in(2);
            if end <= first.file_bytes && is_length_lost {
                data.set_len(first.file_bytes).expect("a file of ours");
            }
        }
        let _ = fs::remove_file(self.undo()); // there is none if nothing was written
        lost
    }
}

/// One write, and what stood there before.
struct Record<'a> {
    /// The file's length before it.
    file_bytes: u64,
    offset: u64,
    length: u64,
    old: &'a [u8],
}

impl Record<'_> {
    /// The last one may be cut off: then the write after it was never made.
    fn read_all(mut log: &[u8]) -> Vec<Record<'_>> {
        let mut records = Vec::new();
        while let Some((head, rest)) = log.split_first_chunk::<32>() {
            let number = |at: usize| {
                u64::from_ne_bytes(head[8 * at..8 * at + 8].try_into().expect("8 bytes"))
            };
            let Some((old, rest)) = rest.split_at_checked(number(3) as usize) else {
                break;
            };
            records.push(Record {
                file_bytes: number(0),
                offset: number(1),
                length: number(2),
                old,
            });
            log = rest;
        }
        records
    }

    /// Takes the write back, sector by sector: from the newest write of a sector to the oldest,
    /// until one stays. What was not there before becomes zeros.
    fn undo(
        &self,
        data: &File,
        failure: Failure,
        chance: &mut Chance,
        kept: &mut BTreeSet<u64>,
        lost: &mut Lost,
    ) {
        let end = self.offset + self.length;
        for sector in self.offset / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES) {
            if kept.contains(&sector) {
                continue;
            }
            if failure == Failure::Torn && chance.one_in(2) {
                kept.insert(sector);
                lost.kept += 1;
                continue;
            }
            let from = self.offset.max(sector * SECTOR_BYTES) - self.offset;
            let to = end.min((sector + 1) * SECTOR_BYTES) - self.offset;
            let mut bytes = vec![0; (to - from) as usize];
            let old = self.old.get(from as usize..).unwrap_or_default();
            let there = old.len().min(bytes.len());
            bytes[..there].copy_from_slice(&old[..there]);
            data.write_all_at(&bytes, self.offset + from)
                .expect("a file of ours");
            lost.sectors += 1;
        }
    }
}

/// The shim, compiled once for each process of tests.
fn shim() -> &'static Path {
    static SHIM: OnceLock<PathBuf> = OnceLock::new();
    SHIM.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/crash/shim.c");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let library = folder.join("crash-shim.so");
        let new = folder.join(format!("crash-shim-{}.so", std::process::id()));
        let mut command = Command::new(std::env::var_os("CC").unwrap_or("cc".into()));
        command.args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-O2"]);
        command.args(["-shared", "-fPIC", "-o"]);
        command.arg(&new).arg(source).arg("-lpthread");
        let output = command.output().expect("a C compiler");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}");
        fs::rename(&new, &library).expect("a folder of ours");
        library
    })
}

#[test]
fn a_cut_off_record_is_no_record() {
    let mut log = Vec::new();
    for number in [4_096_u64, 10, 3, 2] {
        log.write_all(&number.to_ne_bytes()).expect("to memory");
    }
    log.extend(*b"ab");
    assert_eq!(Record::read_all(&log).len(), 1);
    assert_eq!(Record::read_all(&log[..33]).len(), 0);
    assert_eq!(
        Record::read_all(&[log.clone(), log[..5].to_vec()].concat()).len(),
        1
    );
}
