//! The figures of a run.

use std::time::Duration;

use crate::shared::{Spread, Usage};
use crate::subscriber::Arrival;
use crate::{Load, VALUES};

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
        load: Load,
        elapsed: Duration,
        before: &Usage,
        after: &Usage,
        arrivals: &[Arrival],
        requests: u64,
    ) -> Self {
        let mut latencies: Vec<Duration> = arrivals.iter().map(|arrival| arrival.age).collect();
        latencies.sort();
        let at = |share: f64| {
            let place = (latencies.len() as f64 * share) as usize;
            latencies
                .get(place.min(latencies.len().saturating_sub(1)))
                .map_or(f64::NAN, |d| d.as_secs_f64() * 1e3)
        };
        let values = arrivals.len() as f64 * VALUES as f64;
        let cycles = elapsed.as_secs_f64() / load.period.as_secs_f64() * load.devices as f64;
        Self {
            cpu_per_million: (after.cpu - before.cpu).as_secs_f64() / values * 1e6,
            rss_mib: after.rss_mib,
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
            let (floor, our) = (Spread::of(floors, figure), Spread::of(ours, figure));
            println!(
                "{title:<38} {floor:>32} {our:>32} {:>7.2}",
                our.median / floor.median
            );
        }
    }
}
