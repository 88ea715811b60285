//! What all measurements share: their options, what a process has used, what several runs gave.
#![allow(dead_code, reason = "each measurement takes what it needs of it")]

pub(crate) mod confirms;
pub(crate) mod socket;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The arguments of a measurement, without what cargo adds.
pub(crate) struct Arguments(Vec<String>);

impl Arguments {
    pub(crate) fn new() -> Self {
        let all = std::env::args().skip(1);
        Self(all.filter(|argument| argument != "--bench").collect())
    }

    /// Those of a process that plays a part of the measurement: `role NAME …`.
    pub(crate) fn role(&self) -> Option<&[String]> {
        let (first, rest) = self.0.split_first()?;
        (first == "role").then_some(rest)
    }

    /// The value behind `--name`.
    pub(crate) fn value<T: FromStr>(&self, name: &str, default: T) -> T {
        let at = self.0.iter().position(|argument| argument == name);
        at.and_then(|at| self.0.get(at + 1))
            .map_or(default, |text| {
                text.parse()
                    .unwrap_or_else(|_| panic!("{name}: what is {text:?}?"))
            })
    }
}

/// What a process has used so far.
pub(crate) struct Usage {
    pub(crate) cpu: Duration,
    pub(crate) rss_mib: f64,
    pub(crate) peak_mib: f64,
}

impl Usage {
    /// Reads `/proc/PROCESS` (a number, or `self`); the kernel counts CPU time in clock ticks of 10 ms.
    pub(crate) fn of(process: impl fmt::Display) -> Self {
        let file = |name| std::fs::read_to_string(format!("/proc/{process}/{name}")).unwrap();
        let (stat, status) = (file("stat"), file("status"));
        let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        let mib = |name| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.unwrap().split_whitespace().next().unwrap();
            kib.parse::<f64>().unwrap() / 1024.0
        };
        Self {
            cpu: Duration::from_millis(ticks * 10),
            rss_mib: mib("VmRSS:"),
            peak_mib: mib("VmHWM:"),
        }
    }
}

/// What several runs gave.
#[derive(Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) least: f64,
    pub(crate) median: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// Of one figure of each run; there is one at least.
    pub(crate) fn of<R>(runs: &[R], figure: impl Fn(&R) -> f64) -> Self {
        let mut values: Vec<f64> = runs.iter().map(figure).collect();
        values.sort_by(f64::total_cmp);
        Self {
            least: values[0],
            median: values[values.len() / 2],
            most: values[values.len() - 1],
        }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = if self.median < 100.0 { 2 } else { 0 };
        let text = format!(
            "{:.digits$} ({:.digits$} to {:.digits$})",
            self.median, self.least, self.most
        );
        f.pad(&text)
    }
}
