//! What a line tells of its load: when it needs more than its time, and from time to time how it does.

use std::time::Duration;

use super::schedule::Share;
use super::session::Session;
use crate::reading::{Detail, Event, EventName, Stamp};

/// How often a line tells of itself in the log.
const SUMMARY: Duration = Duration::from_secs(3600);

/// How many classes are worth reading of.
const SHOWN: usize = 3;

/// The counts that were told last.
#[derive(Debug, Default)]
pub(super) struct Told {
    at_ns: u64,
    busy: Duration,
}

impl Session {
    /// Tells that the line is overloaded, or no longer, where that has changed.
    pub(super) fn tell_overload(&mut self) {
        let Some(is_on) = self.schedule.news() else {
            return;
        };
        let (line, load) = (&self.settings.name, self.schedule.load());
        let event = Event::gateway(EventName::Overload)
            .text("line", line.as_str())
            .with("over", Detail::Bool(!is_on))
            .with("load_percent", Detail::Int(percent(load)));
        if !is_on {
            tracing::info!(
                "line {line} has time for all again: load {} %",
                percent(load)
            );
            return self.tell(event);
        }
        let heaviest = self.schedule.heaviest();
        let shown: Vec<_> = heaviest.iter().take(SHOWN).map(|s| self.show(s)).collect();
        let (shown, kept) = (shown.join("; "), percent(self.schedule.kept()));
        tracing::warn!(
            "line {line}: {load:.2} s of bus time per second; every class keeps {kept} % of its ticks; slowest classes: {shown}"
        );
        let event = event.with("kept_percent", Detail::Int(kept));
        self.tell(event.text("slowest", shown));
    }

    fn show(&self, share: &Share) -> String {
        let device = self.devices.get(share.device);
        let class = device.and_then(|device| device.classes.get(share.class));
        let (Some(device), Some(class)) = (device, class) else {
            return String::new();
        };
        let (cost, period) = (share.cost.as_secs_f64() * 1e3, share.period);
        let (name, scan) = (&device.name, class.name());
        format!("{name} {scan} {cost:.1} ms every {period:?}")
    }

    /// Tells in the log how the line did: it stops.
    pub(super) fn sum_up(&mut self) {
        let now = self.clock.now();
        self.summarise(now);
    }

    /// Tells in the log how the line does, from time to time.
    pub(super) fn summarise_in_time(&mut self, now: Stamp) {
        let due = Duration::from_nanos(self.told.at_ns) + SUMMARY;
        if self.told.at_ns == 0 || Duration::from_nanos(now.boot_ns) >= due {
            self.summarise(now);
        }
    }

    /// Tells in the log how the line did since that was told last, and in all.
    pub(super) fn summarise(&mut self, now: Stamp) {
        let elapsed = Duration::from_nanos(now.boot_ns.saturating_sub(self.told.at_ns));
        let busy = self.status.busy();
        let load = busy.saturating_sub(self.told.busy).as_secs_f64() / elapsed.as_secs_f64();
        if self.told.at_ns > 0 && !elapsed.is_zero() {
            let (line, minutes) = (&self.settings.name, elapsed.as_secs_f64() / 60.0);
            tracing::info!(
                "line {line}: load {} % in {minutes:.0} min; since the start {}",
                percent(load),
                self.status
            );
        }
        self.told = Told {
            at_ns: now.boot_ns,
            busy,
        };
    }
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "a share that is told to people"
)]
fn percent(share: f64) -> i64 {
    (share * 100.0).round() as i64
}
