//! Tables for people, JSON for programs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{json, Value};

use crate::stats::now_ns;

/// Where the JSON goes. Cargo says it to benches, not to programs: these are started at the top.
pub fn folder() -> PathBuf {
    let target = option_env!("CARGO_TARGET_TMPDIR").unwrap_or("target/tmp");
    Path::new(target).with_file_name("bench")
}

/// Something that must hold, and whether it did.
#[derive(Clone, Debug, Serialize)]
pub struct Criterion {
    pub what: String,
    pub held: bool,
}

/// What a bench has found.
pub struct Outcome {
    pub name: &'static str,
    pub table: Table,
    pub settings: Value,
    pub figures: Value,
    pub criteria: Vec<Criterion>,
    /// What `numbers.rs` asks for, by its names.
    pub numbers: BTreeMap<String, f64>,
}

impl Outcome {
    /// Writes `target/bench/NAME.json`, and says where.
    pub fn write(&self) -> PathBuf {
        let folder = folder();
        fs::create_dir_all(&folder).expect("the target folder can be written");
        let path = folder.join(format!("{}.json", self.name));
        let all = json!({
            "bench": self.name,
            "date": date(now_ns() / 1_000_000_000),
            "machine": machine(),
            "settings": self.settings,
            "figures": self.figures,
            "criteria": self.criteria,
            "numbers": self.numbers,
        });
        let text = serde_json::to_string_pretty(&all).expect("plain data");
        fs::write(&path, text + "\n").expect("the target folder can be written");
        path
    }

    /// Prints the table and what held.
    pub fn print(&self) {
        println!("\n{}", self.table.text());
        for criterion in &self.criteria {
            let verdict = if criterion.held { "held  " } else { "FAILED" };
            println!("  {verdict}  {}", criterion.what);
        }
    }

    pub fn held(&self) -> bool {
        self.criteria.iter().all(|criterion| criterion.held)
    }
}

/// Rows of text: the first column to the left, the others to the right.
pub struct Table {
    pub title: String,
    pub rows: Vec<Vec<String>>,
    pub notes: Vec<String>,
}

impl Table {
    pub fn new(title: &str, head: &[&str]) -> Table {
        let mut table = Table {
            title: title.to_owned(),
            rows: Vec::new(),
            notes: Vec::new(),
        };
        table.row(head);
        table
    }

    pub fn row<S: AsRef<str>>(&mut self, cells: &[S]) {
        self.rows
            .push(cells.iter().map(|cell| cell.as_ref().to_owned()).collect());
    }

    pub fn text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let cell = |row: &Vec<String>, column: usize| row.get(column).map_or(0, String::len);
        let widest = |column| {
            self.rows
                .iter()
                .map(|row| cell(row, column))
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(widest).collect();
        let mut text = format!("{}\n", self.title);
        for row in &self.rows {
            let cells = row
                .iter()
                .zip(&widths)
                .enumerate()
                .map(|(column, (cell, width))| {
                    if column == 0 {
                        format!("{cell:<width$}")
                    } else {
                        format!("{cell:>width$}")
                    }
                });
            let cells: Vec<String> = cells.collect();
            text += &format!("  {}\n", cells.join("  ").trim_end());
        }
        self.notes
            .iter()
            .for_each(|note| text += &format!("  {note}\n"));
        text
    }
}

/// Microseconds as milliseconds.
pub fn ms(us: u64) -> String {
    let ms = us as f64 / 1e3;
    if ms < 100.0 {
        format!("{ms:.2}")
    } else {
        format!("{ms:.0}")
    }
}

/// What the figures depend on.
fn machine() -> Value {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let read = |path| {
        fs::read_to_string(path)
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    json!({
        "cpu": model.unwrap_or("unknown"),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "memory": memory.lines().next().and_then(|line| line.split_whitespace().nth(1)),
        "kernel": read("/proc/sys/kernel/osrelease"),
        "load_average": read("/proc/loadavg"),
        "directory": std::env::temp_dir(),
    })
}

/// Unix time as `YYYY-MM-DDThh:mm:ssZ`, after Hinnant's `civil_from_days`.
fn date(unix_s: u64) -> String {
    let (days, seconds) = (unix_s / 86_400 + 719_468, unix_s % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let leap_days = day_of_era / 1_460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - (leap_days)) / 365;
    let before = 365 * year_of_era + year_of_era / 4 - year_of_era / 100;
    let day_of_year = day_of_era - before; // from the first of March
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    let year = era * 400 + year_of_era + next;
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Stops the bench when the arithmetic above is wrong.
pub fn self_check() {
    assert_eq!(date(951_782_399), "2000-02-28T23:59:59Z");
    assert_eq!(date(1_709_164_800), "2024-02-29T00:00:00Z");
}
