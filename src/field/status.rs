//! What a line and its devices did so far; read by the log, the status page and the metrics.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::reading::Name;

/// Counts up.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Requests and what became of them.
#[derive(Debug, Default)]
pub struct Counters {
    /// Requests sent, repetitions included.
    pub requests: Counter,
    /// Answers with values.
    pub answers: Counter,
    /// Requests without any answer.
    pub timeouts: Counter,
    /// Answers that were no valid frames, or did not fit the request.
    pub garbled: Counter,
    /// Refusals.
    pub exceptions: Exceptions,
    /// Valid frames that were not the answer waited for: late, or of another conversation.
    pub stale: Counter,
    /// How long answers took.
    pub answer_times: AnswerTimes,
    /// Time that the line was taken by requests, answers, silences and waiting, in microseconds.
    pub busy_us: Counter,
}

/// Refusals by exception code (Application Protocol V1.1b3, 7).
#[derive(Debug, Default)]
pub struct Exceptions([Counter; Exceptions::CODES]);

impl Exceptions {
    /// The standard's codes end at 11; what is beyond is counted as 0, which is no code.
    const CODES: usize = 12;

    /// Counts one.
    pub fn add(&self, code: u8) {
        let place = self.0.get(usize::from(code));
        if let Some(counter) = place.or(self.0.first()) {
            counter.add(1);
        }
    }

    /// All of them.
    pub fn get(&self) -> u64 {
        self.0.iter().map(Counter::get).sum()
    }

    /// Those that occurred, with their codes.
    pub fn by_code(&self) -> impl Iterator<Item = (u8, u64)> {
        let codes = (0..).zip(&self.0);
        codes.filter_map(|(code, counter)| Some((code, counter.get())).filter(|&(_, n)| n > 0))
    }
}

/// How long answers took: counts by durations that grow by a fourth of an octave, about a fifth, from 32 µs to 9 min.
#[derive(Debug)]
pub struct AnswerTimes([Counter; AnswerTimes::STEPS]);

impl Default for AnswerTimes {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Counter::default()))
    }
}

impl AnswerTimes {
    const STEPS: usize = 96;
    const FIRST_US: f64 = 32.0;

    /// Notes the time of an answer.
    pub fn add(&self, took: Duration) {
        let octaves = (took.as_secs_f64() * 1e6 / Self::FIRST_US).log2();
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a small number that is not negative"
        )]
        let step = (octaves * 4.0).ceil().max(0.0) as usize;
        if let Some(counter) = self.0.get(step.min(Self::STEPS - 1)) {
            counter.add(1);
        }
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.0.iter().map(Counter::get).sum()
    }

    /// The time within which `percent` of the answers came, rounded up by a fifth at the most; `None`: there were none.
    pub fn within(&self, percent: u64) -> Option<Duration> {
        Self::quantile(self.0.iter().map(Counter::get), percent)
    }

    fn quantile(counts: impl Iterator<Item = u64> + Clone, percent: u64) -> Option<Duration> {
        let wanted = (counts.clone().sum::<u64>() * percent).div_ceil(100).max(1);
        let mut seen = 0;
        let mut steps = (0_u32..).zip(counts);
        let (step, _) = steps.find(|&(_, count)| {
            seen += count;
            seen >= wanted
        })?;
        let us = Self::FIRST_US * 2_f64.powf(f64::from(step) / 4.0);
        Some(Duration::from_secs_f64(us / 1e6))
    }
}

/// A switch that others can look at.
#[derive(Debug, Default)]
pub struct Flag(AtomicBool);

impl Flag {
    /// Sets it.
    pub fn set(&self, on: bool) {
        self.0.store(on, Ordering::Relaxed);
    }

    /// Whether it is set.
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a line did so far.
#[derive(Debug)]
pub struct LineStatus {
    /// The line.
    pub line: Name,
    /// Whether it is open and something answers.
    pub up: Flag,
    /// Requests that belong to no device: reads on demand.
    pub other: Counters,
    /// Its devices, in the order of the settings.
    pub devices: Vec<DeviceStatus>,
}

/// What a device did so far.
#[derive(Debug)]
pub struct DeviceStatus {
    /// The device.
    pub device: Name,
    /// Whether it answered when it was asked last.
    pub online: Flag,
    /// Its requests.
    pub counters: Counters,
}

impl LineStatus {
    /// Time that the line was taken.
    pub fn busy(&self) -> Duration {
        Duration::from_micros(self.sum(|counters| &counters.busy_us))
    }

    fn all(&self) -> impl Iterator<Item = &Counters> + Clone {
        let devices = self.devices.iter().map(|device| &device.counters);
        devices.chain(std::iter::once(&self.other))
    }

    fn sum(&self, counter: impl Fn(&Counters) -> &Counter) -> u64 {
        self.all().map(|counters| counter(counters).get()).sum()
    }
}

/// One line for the log: all its requests and what became of them.
impl fmt::Display for LineStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (requests, answers) = (self.sum(|c| &c.requests), self.sum(|c| &c.answers));
        let (timeouts, garbled) = (self.sum(|c| &c.timeouts), self.sum(|c| &c.garbled));
        let foreign = self.sum(|c| &c.stale);
        write!(
            f,
            "{requests} requests, {answers} answers, {timeouts} timeouts, {garbled} garbled, {foreign} foreign"
        )?;
        for code in 0..=11 {
            let of_code = |c: &Counters| c.exceptions.by_code().find(|&(other, _)| other == code);
            let count: u64 = self.all().filter_map(of_code).map(|(_, n)| n).sum();
            if count > 0 {
                write!(f, ", {count} exception {code}")?;
            }
        }
        let times = (0..AnswerTimes::STEPS).map(|step| {
            let of_step = |c: &Counters| c.answer_times.0.get(step).map(Counter::get);
            self.all().filter_map(of_step).sum()
        });
        let within = |percent| AnswerTimes::quantile(times.clone(), percent);
        if let (Some(half), Some(most)) = (within(50), within(99)) {
            write!(f, ", answers p50 {} p99 {}", Ms(half), Ms(most))?;
        }
        let away = self.devices.iter().filter(|device| !device.online.get());
        match away.count() {
            0 => Ok(()),
            away => write!(f, ", {away} of {} devices away", self.devices.len()),
        }
    }
}

/// A duration in milliseconds with one place.
struct Ms(Duration);

impl fmt::Display for Ms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} ms", self.0.as_secs_f64() * 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_times_are_right_within_a_fifth() {
        let times = AnswerTimes::default();
        assert_eq!(times.within(50), None);
        for ms in 1..=100 {
            times.add(Duration::from_millis(ms));
        }
        for percent in [1, 50, 99, 100] {
            let exact = Duration::from_millis(percent);
            let told = times.within(percent).unwrap();
            assert!(exact <= told && told < exact * 5 / 4, "{percent}: {told:?}");
        }
        for extreme in [Duration::ZERO, Duration::MAX] {
            times.add(extreme);
        }
        assert_eq!(times.count(), 102);
    }

    #[test]
    fn a_line_tells_of_itself_in_one_line() {
        let status = LineStatus {
            line: Name::new("meters").unwrap(),
            up: Flag::default(),
            other: Counters::default(),
            devices: vec![DeviceStatus {
                device: Name::new("d").unwrap(),
                online: Flag::default(),
                counters: Counters::default(),
            }],
        };
        let counters = &status.devices[0].counters;
        counters.requests.add(7);
        for code in [2, 2, 200] {
            counters.exceptions.add(code);
        }
        assert_eq!(counters.exceptions.get(), 3);
        counters.answer_times.add(Duration::from_millis(10));
        assert_eq!(
            status.to_string(),
            "7 requests, 0 answers, 0 timeouts, 0 garbled, 0 foreign, 1 exception 0, 2 exception 2, \
             answers p50 11.6 ms p99 11.6 ms, 1 of 1 devices away"
        );
    }
}
