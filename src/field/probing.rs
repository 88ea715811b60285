//! When silent devices are asked again; pure, time is an argument.
//!
//! A request to a dead device holds its line for a whole timeout. So it is asked seldom, and all dead ones together no
//! more than a small share of the line's time while others are alive.

use std::time::Duration;

/// The silent devices of a line.
#[derive(Debug, Default)]
pub struct Probing {
    silent: Vec<Silent>,
    /// No probe before this moment: the share of the line is used up.
    closed_until_ns: u64,
}

#[derive(Debug)]
struct Silent {
    device: usize,
    due_ns: u64,
    wait: Duration,
}

/// The first wait; it doubles with each probe.
const FIRST: Duration = Duration::from_millis(500);
/// The longest wait while other devices of the line are alive.
const MOST: Duration = Duration::from_secs(60);
/// The longest wait where nobody is kept waiting.
const MOST_ALONE: Duration = Duration::from_secs(5);
/// Probes take at most one part in this of the line's time while other devices are alive: the 5 % that the live ones may
/// lose. On a line that is not full they lose nothing: their ticks come later, but in time.
const SHARE: u32 = 20;

impl Probing {
    /// Notes that `device` fell silent.
    pub fn fell_silent(&mut self, device: usize, now_ns: u64) {
        self.answered(device);
        self.silent.push(Silent {
            device,
            due_ns: now_ns.saturating_add(nanoseconds(FIRST)),
            wait: FIRST,
        });
    }

    /// Notes that `device` answers.
    pub fn answered(&mut self, device: usize) {
        self.silent.retain(|silent| silent.device != device);
    }

    /// Whether `device` is silent.
    pub fn is_silent(&self, device: usize) -> bool {
        self.silent.iter().any(|silent| silent.device == device)
    }

    /// The device to ask next, and when (`boot_ns`).
    pub fn next(&self) -> Option<(usize, u64)> {
        let next = self.silent.iter().min_by_key(|silent| silent.due_ns)?;
        Some((next.device, next.due_ns.max(self.closed_until_ns)))
    }

    /// Notes that a probe of `device` took `took` in vain; `others`: other devices of the line are alive.
    pub fn failed(&mut self, device: usize, took: Duration, others: bool, now_ns: u64) {
        if others {
            self.closed_until_ns = now_ns.saturating_add(nanoseconds(took * (SHARE - 1)));
        }
        let most = if others { MOST } else { MOST_ALONE };
        let mut silent = self.silent.iter_mut();
        if let Some(silent) = silent.find(|silent| silent.device == device) {
            silent.wait = (silent.wait * 2).min(most);
            silent.due_ns = now_ns.saturating_add(nanoseconds(silent.wait));
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Probes for an hour; gives the times of the probes by device, in seconds.
    fn hour(devices: usize, timeout: Duration, others: bool) -> Vec<Vec<u64>> {
        let mut probing = Probing::default();
        for device in 0..devices {
            probing.fell_silent(device, 0);
        }
        let mut probes = vec![Vec::new(); devices];
        let mut now = 0;
        while let Some((device, at)) = probing.next() {
            now = at.max(now) + nanoseconds(timeout);
            if now > nanoseconds(Duration::from_secs(3600)) {
                break;
            }
            probes[device].push(now / 1_000_000_000);
            probing.failed(device, timeout, others, now);
        }
        probes
    }

    #[test]
    fn dead_devices_take_a_small_share_and_none_is_forgotten() {
        let timeout = Duration::from_millis(300);
        let probes = hour(16, timeout, true);
        let spent = timeout * u32::try_from(probes.iter().map(Vec::len).sum::<usize>()).unwrap();
        assert!(spent <= Duration::from_secs(3600) / 19, "{spent:?}");
        let counts: Vec<_> = probes.iter().map(Vec::len).collect();
        assert!(counts.iter().all(|&count| count >= 15), "{counts:?}");
    }

    #[test]
    fn first_soon_then_seldom_and_oftener_where_nobody_waits() {
        let timeout = Duration::from_millis(10);
        let with_others = hour(1, timeout, true);
        assert_eq!(with_others[0][..5], [0, 1, 3, 7, 15]);
        assert!((60..80).contains(&with_others[0].len()));
        let alone = hour(1, timeout, false);
        assert!((700..730).contains(&alone[0].len()), "{}", alone[0].len());
    }

    #[test]
    fn an_answer_ends_it() {
        let mut probing = Probing::default();
        probing.fell_silent(3, 0);
        assert!(probing.is_silent(3));
        probing.answered(3);
        assert_eq!(probing.next(), None);
    }
}
