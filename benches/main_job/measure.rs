//! CPU time and memory of a process, and the figures of a run.

use std::time::Duration;

use crate::{DEVICES, PERIOD, VALUES};

/// What a process has used so far.
pub(crate) struct Usage {
    cpu: Duration,
    rss_kib: u64,
}

impl Usage {
    /// Reads `/proc/PID`; the kernel counts CPU time in clock ticks of 10 ms.
    pub(crate) fn of(pid: u32) -> Self {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
        let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        let rss_kib = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        Self {
            cpu: Duration::from_millis(ticks * 10),
            rss_kib,
        }
    }
}

/// The figures of one run.
pub(crate) struct Figures {
    cpu_per_million: f64,
    rss_mib: f64,
    values_per_second: f64,
    requests_per_cycle: f64,
    p50_ms: f64,
    p99_ms: f64,
}

impl Figures {
    pub(crate) fn new(
        elapsed: Duration,
        before: &Usage,
        after: &Usage,
        messages: u64,
        requests: u64,
        mut latencies: Vec<Duration>,
    ) -> Self {
        latencies.sort();
        let at = |share: f64| {
            let place = (latencies.len() as f64 * share) as usize;
            latencies
                .get(place.min(latencies.len().saturating_sub(1)))
                .map_or(f64::NAN, |d| d.as_secs_f64() * 1e3)
        };
        let values = messages as f64 * VALUES as f64;
        let cycles = elapsed.as_secs_f64() / PERIOD.as_secs_f64() * DEVICES as f64;
        Self {
            cpu_per_million: (after.cpu - before.cpu).as_secs_f64() / values * 1e6,
            rss_mib: after.rss_kib as f64 / 1024.0,
            values_per_second: values / elapsed.as_secs_f64(),
            requests_per_cycle: requests as f64 / cycles,
            p50_ms: at(0.5),
            p99_ms: at(0.99),
        }
    }

    /// Floor, forebay and ratio side by side.
    pub(crate) fn print(floors: &[Self], ours: &[Self]) {
        type Row = (&'static str, fn(&Figures) -> f64);
        let rows: [Row; 6] = [
            ("CPU s per million values", |f| f.cpu_per_million),
            ("RSS MiB", |f| f.rss_mib),
            ("values/s delivered", |f| f.values_per_second),
            ("requests per device and cycle", |f| f.requests_per_cycle),
            ("latency reading -> subscriber p50 ms", |f| f.p50_ms),
            ("latency reading -> subscriber p99 ms", |f| f.p99_ms),
        ];
        println!(
            "{:<38} {:>32} {:>32} {:>7}",
            "", "floor", "forebay", "ratio"
        );
        for (title, figure) in rows {
            let (floor, our) = (spread(floors, figure), spread(ours, figure));
            println!(
                "{title:<38} {:>32} {:>32} {:>7.2}",
                show(floor),
                show(our),
                our.1 / floor.1
            );
        }
    }
}

fn spread(runs: &[Figures], figure: fn(&Figures) -> f64) -> (f64, f64, f64) {
    let mut values: Vec<f64> = runs.iter().map(figure).collect();
    values.sort_by(f64::total_cmp);
    (
        values[0],
        values[values.len() / 2],
        values[values.len() - 1],
    )
}

fn show((least, median, most): (f64, f64, f64)) -> String {
    format!("{median:.2} ({least:.2} to {most:.2})")
}
