//! What a run took, and the table of all runs.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::shared::{Spread, Usage};

/// The clocks when a run begins.
pub(crate) struct Start {
    at: Instant,
    usage: Usage,
}

impl Start {
    pub(crate) fn now() -> Self {
        Self {
            usage: Usage::of("self"),
            at: Instant::now(),
        }
    }

    pub(crate) fn end(&self, records: usize) -> Figures {
        let seconds = self.at.elapsed().as_secs_f64();
        let usage = Usage::of("self");
        Figures {
            records: records as f64,
            seconds,
            cpu: (usage.cpu - self.usage.cpu).as_secs_f64(),
            rss_mib: usage.peak_mib,
        }
    }
}

/// The figures of one run, as its process tells them.
#[derive(Serialize, Deserialize)]
pub(crate) struct Figures {
    records: f64,
    seconds: f64,
    cpu: f64,
    rss_mib: f64,
}

impl Figures {
    /// One row each, set against the first.
    pub(crate) fn print(title: &str, rows: &[(&str, Vec<Self>)]) {
        type Column = (&'static str, fn(&Figures) -> f64);
        let columns: [Column; 3] = [
            ("1000 records/s", |f| f.records / f.seconds / 1e3),
            ("CPU s a million records", |f| f.cpu / f.records * 1e6),
            ("RSS at most, MiB", |f| f.rss_mib),
        ];
        print!("{title:<24}");
        columns.iter().for_each(|(title, _)| print!(" {title:>25}"));
        println!("  records/s and CPU to the first's");
        let to_first = |runs: &[Self], (_, figure): Column| {
            Spread::of(runs, figure).median / Spread::of(&rows[0].1, figure).median
        };
        for (name, runs) in rows {
            print!("  {name:<22}");
            for (_, figure) in columns {
                print!(" {:>25}", Spread::of(runs, figure));
            }
            let [rate, cpu, _] = columns.map(|column| to_first(runs, column));
            println!("  {rate:.2} {cpu:.2}");
        }
    }
}
