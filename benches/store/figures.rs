//! What a run took, and the table of all runs.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::plant::{BYTES, VALUES};
use crate::shared::{Spread, Usage};

/// The clocks when a run begins.
pub(crate) struct Start {
    at: Instant,
    cpu: Duration,
    written: u64,
}

impl Start {
    pub(crate) fn now() -> Self {
        Self {
            at: Instant::now(),
            cpu: Usage::of("self").cpu,
            written: written(),
        }
    }

    /// `seconds`: how long it took until all was durable.
    pub(crate) fn end(&self, records: usize, syncs: usize, seconds: Duration) -> Figures {
        Figures {
            records: records as f64,
            syncs: syncs as f64,
            seconds: seconds.as_secs_f64(),
            cpu: (Usage::of("self").cpu - self.cpu).as_secs_f64(),
            written: (written() - self.written) as f64,
        }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.at.elapsed()
    }
}

fn written() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap();
    let line = io
        .lines()
        .find_map(|line| line.strip_prefix("write_bytes: "));
    line.unwrap().parse().unwrap()
}

/// The figures of one run, as its process tells them.
#[derive(Serialize, Deserialize)]
pub(crate) struct Figures {
    records: f64,
    syncs: f64,
    seconds: f64,
    cpu: f64,
    written: f64,
}

impl Figures {
    /// Records a sync.
    pub(crate) fn batch(&self) -> usize {
        (self.records / self.syncs).round().max(1.0) as usize
    }

    pub(crate) fn print(title: &str, rows: &[(&str, Vec<Self>)]) {
        type Column = (&'static str, fn(&Figures) -> f64);
        let columns: [Column; 5] = [
            ("records a sync", |f| f.records / f.syncs),
            ("records/s", |f| f.records / f.seconds),
            ("1000 values/s", |f| {
                f.records * VALUES as f64 / f.seconds / 1e3
            }),
            ("written a byte", |f| f.written / (f.records * BYTES as f64)),
            ("CPU s a million", |f| f.cpu / f.records * 1e6),
        ];
        print!("{title:<22}");
        columns.iter().for_each(|(title, _)| print!(" {title:>27}"));
        println!("  share of forebay");
        for (name, runs) in rows.iter().filter(|(_, runs)| !runs.is_empty()) {
            print!("  {name:<20}");
            for (_, figure) in columns {
                print!(" {:>27}", Spread::of(runs, figure));
            }
            let rate = |runs: &[Self]| Spread::of(runs, columns[1].1).median;
            println!("  {:.2}", rate(&rows[0].1) / rate(runs));
        }
    }
}
