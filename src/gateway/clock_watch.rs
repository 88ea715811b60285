//! Watches the wall clock: tells when it becomes synchronised and when it is set, and has the store give earlier records
//! their true time.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

use crate::reading::{Body, Clock, Detail, Event, EventName, Observation, Outlet, Stamp};
use crate::store::Store;

/// The kernel tells when the clock is set, not when it has become synchronised: so it is asked.
const LOOK_UNSYNCED: Duration = Duration::from_secs(2);
/// That it no longer is, shows after hours without a time server only.
const LOOK_SYNCED: Duration = Duration::from_secs(60);
/// A clock that moved by less was not set: it takes as long to read both clocks on a busy machine.
const STEP_NS: u64 = 10_000_000;
/// Readings of both clocks, of which the least disturbed counts.
const SAMPLES: usize = 3;
/// The latest moment that the kernel's nanoseconds hold.
const NEVER: Timespec = Timespec {
    tv_sec: i64::MAX / 1_000_000_000,
    tv_nsec: 0,
};

/// Watches the wall clock of this machine.
pub(super) struct ClockWatch<O> {
    clock: Clock,
    outlet: O,
    store: watch::Receiver<Option<Store>>,
    /// The latest look.
    seen: Stamp,
    /// The latest moment from which on the clock could be trusted.
    trusted: Option<Stamp>,
}

impl<O: Outlet> ClockWatch<O> {
    /// Takes the clock as it is for what it was before.
    pub(super) fn new(clock: Clock, outlet: O, store: watch::Receiver<Option<Store>>) -> Self {
        let seen = sample(&clock);
        Self {
            clock,
            outlet,
            store,
            seen,
            trusted: seen.synced.then_some(seen),
        }
    }

    /// Watches for as long as it is polled.
    pub(super) async fn run(mut self) {
        let alarm = Alarm::new();
        if let Err(error) = &alarm {
            tracing::debug!(
                "the kernel does not tell when the clock is set, it is looked at: {error}"
            );
        }
        // Each store that is opened learns it: one that has been closed meanwhile may not have written it.
        self.store.mark_changed();
        loop {
            let look = if self.seen.synced {
                LOOK_SYNCED
            } else {
                LOOK_UNSYNCED
            };
            tokio::select! {
                () = set(alarm.as_ref().ok()) => self.look(),
                () = tokio::time::sleep(look) => self.look(),
                Ok(()) = self.store.changed() => self.hand_over(),
            }
        }
    }

    fn look(&mut self) {
        let before = std::mem::replace(&mut self.seen, sample(&self.clock));
        let now = self.seen;
        let by = now.offset_ns().saturating_sub(before.offset_ns());
        let stepped = by.unsigned_abs() >= STEP_NS;
        let became = now.synced && !before.synced;
        if now.synced && (stepped || became) {
            self.trusted = Some(now);
            // Before the events, so that it goes to disk with them.
            self.hand_over();
        }
        if stepped {
            let from = now.wall_ns.saturating_sub(by);
            tracing::info!("the clock was set by {} ms", by / 1_000_000);
            self.tell(
                Event::gateway(EventName::ClockStepped)
                    .with("clock", Detail::Times(from, now.wall_ns))
                    .with("by_ms", Detail::Int(by / 1_000_000)),
            );
        }
        if became {
            tracing::info!("the clock is synchronised");
            self.tell(
                Event::gateway(EventName::ClockSynchronised)
                    .with("offset_ms", Detail::Int(now.offset_ns() / 1_000_000)),
            );
        }
    }

    fn hand_over(&mut self) {
        if let (Some(store), Some(trusted)) = (&*self.store.borrow_and_update(), self.trusted) {
            store.trust_clock(trusted);
        }
    }

    fn tell(&self, event: Event) {
        self.outlet.put(Observation {
            stamp: self.seen,
            body: Body::Event(event),
        });
    }
}

/// The present moment, as good as it can be had: the wall clock is read first, so a pause in between makes it seem late.
fn sample(clock: &Clock) -> Stamp {
    let mut best = clock.now_for_sure();
    for _ in 1..SAMPLES {
        let other = clock.now_for_sure();
        if other.offset_ns() > best.offset_ns() {
            best = other;
        }
    }
    best
}

/// Returns when the clock was set; never, where the kernel does not tell.
async fn set(alarm: Option<&Alarm>) {
    match alarm {
        Some(alarm) => alarm.set().await,
        None => std::future::pending().await,
    }
}

/// A timer that is never due, and that the kernel cancels when the clock is set (`timerfd_create(2)`,
/// `TFD_TIMER_CANCEL_ON_SET`).
struct Alarm(AsyncFd<OwnedFd>);

impl Alarm {
    fn new() -> std::io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Realtime, flags)?;
        let spec = Itimerspec {
            it_interval: Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            it_value: NEVER,
        };
        let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
        timerfd_settime(&timer, flags, &spec)?;
        // What takes its place is `unsafe`, for types that are not, as `OwnedFd` is, bound to a descriptor of their own.
        #[allow(deprecated)]
        Ok(Self(AsyncFd::new(timer)?))
    }

    async fn set(&self) {
        loop {
            let Ok(mut ready) = self.0.readable().await else {
                return std::future::pending().await;
            };
            // Fails with `ECANCELED` once for each time that the clock was set.
            match rustix::io::read(self.0.get_ref(), &mut [0u8; 8]) {
                Err(rustix::io::Errno::AGAIN) => ready.clear_ready(),
                _ => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::reading::{ManualClock, set_by_a_nanosecond};
    use crate::store::engine::MemoryEngine;
    use crate::store::settings::{StoreSettings, WhenFull};
    use crate::store::{self, Inlet};

    const SECOND: u64 = 1_000_000_000;
    const DAY_NS: i64 = 86_400_000_000_000;

    #[derive(Clone, Default)]
    struct Told(Arc<Mutex<Vec<String>>>);

    impl Outlet for Told {
        fn put(&self, observation: Observation) {
            let Body::Event(event) = observation.body else {
                return;
            };
            let detail: Vec<String> = event
                .detail
                .iter()
                .map(|(key, detail)| format!("{key}={detail:?}"))
                .collect();
            let line = format!("{} {}", event.name, detail.join(" "));
            self.0.lock().unwrap().push(line);
        }
    }

    fn open(clock: &Clock) -> Store {
        let settings = StoreSettings {
            dir: "/nowhere".into(),
            max_size: StoreSettings::LEAST_SIZE,
            max_age: None,
            keep_free: None,
            when_full: WhenFull::DropOldest,
            commit_window: Duration::ZERO,
        };
        let (memory, inlet) = (MemoryEngine::new(), Inlet::new(clock.clone()));
        store::open_on(memory.clone(), &settings, clock.clone(), &inlet)
            .unwrap()
            .0
    }

    #[tokio::test(start_paused = true)]
    async fn tells_what_becomes_of_the_clock_and_who_must_know() {
        let (hands, told) = (ManualClock::at(0, SECOND), Told::default());
        hands.set(|stamp| stamp.synced = false);
        let early = Clock::new(hands.clone()).now();
        let clock = Clock::new(hands.clone());
        let (stores, opened) = watch::channel(None);
        let watching = tokio::spawn(ClockWatch::new(clock.clone(), told.clone(), opened).run());
        let pass = async |seconds: u64| {
            hands.advance(seconds * SECOND);
            tokio::time::sleep(Duration::from_secs(seconds)).await;
        };
        let store = open(&clock);
        stores.send_replace(Some(store.clone()));
        pass(3600).await;
        assert_eq!(told.0.lock().unwrap().len(), 0);
        assert!(!store.true_time(early).synced);
        hands.set(|stamp| {
            stamp.wall_ns += 20_000 * DAY_NS;
            stamp.synced = true;
        });
        pass(60).await;
        let lines = std::mem::take(&mut *told.0.lock().unwrap());
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(
            lines[0].starts_with("clock-stepped") && lines[0].ends_with("by_ms=Int(1728000000000)")
        );
        assert_eq!(lines[1], "clock-synchronised offset_ms=Int(1727999999000)");
        let known = store.true_time(early);
        assert_eq!((known.wall_ns, known.synced), (20_000 * DAY_NS, true));
        // A store that is opened later learns it as well.
        let other = open(&clock);
        stores.send_replace(Some(other.clone()));
        pass(1).await;
        assert!(other.true_time(early).synced);
        hands.set(|stamp| stamp.wall_ns -= DAY_NS);
        pass(60).await;
        let lines = std::mem::take(&mut *told.0.lock().unwrap());
        assert!(
            lines.len() == 1 && lines[0].ends_with("by_ms=Int(-86400000)"),
            "{lines:?}"
        );
        pass(3600).await;
        assert_eq!(told.0.lock().unwrap().len(), 0, "told once");
        watching.abort();
    }

    /// Whether there is an end to what it tells: others may set the clock, too.
    async fn falls_silent(alarm: &Alarm) -> bool {
        for _ in 0..10 {
            let told = tokio::time::timeout(Duration::from_millis(20), alarm.set()).await;
            if told.is_err() {
                return true;
            }
        }
        false
    }

    #[tokio::test]
    async fn the_kernel_gives_an_alarm_that_is_not_due() {
        assert!(falls_silent(&Alarm::new().unwrap()).await);
    }

    #[tokio::test]
    #[ignore = "needs the right to set the clock"]
    async fn the_kernel_tells_each_time_that_the_clock_was_set() {
        let alarm = Alarm::new().unwrap();
        for _ in 0..2 {
            assert!(falls_silent(&alarm).await);
            if !set_by_a_nanosecond() {
                eprintln!("skipped: this process may not set the clock");
                return;
            }
            let told = tokio::time::timeout(Duration::from_secs(60), alarm.set()).await;
            assert!(told.is_ok());
        }
    }
}
