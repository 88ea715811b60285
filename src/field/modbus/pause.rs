//! Waiting for a moment to a fraction of a millisecond.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep_until};

/// Waits for moments. The runtime's own timers go by the full millisecond and are one or two late, which is as long as
/// the silence of a fast bus; those of the kernel are not.
#[derive(Debug, Default)]
pub(super) struct Pause {
    /// Made when first needed; a system that gives none has the runtime's timers.
    timer: Option<AsyncFd<OwnedFd>>,
}

impl Pause {
    /// Waits for `moment`.
    pub(super) async fn until(&mut self, moment: Instant) {
        loop {
            let left = moment.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            if self.timer.is_none() {
                self.timer = timer().ok();
            }
            let Some(timer) = self.timer.as_ref().filter(|timer| set(timer, left).is_ok()) else {
                return sleep_until(moment).await;
            };
            tokio::select! {
                biased;
                // It may be an earlier one that nobody awaited: hence the loop.
                expired = timer.readable() => match expired {
                    Ok(mut expired) => expired.clear_ready(),
                    Err(_) => return sleep_until(moment).await,
                },
                // Where the runtime's clock is not the kernel's, it is the runtime's that counts.
                () = sleep_until(moment) => return,
            }
        }
    }
}

fn timer() -> io::Result<AsyncFd<OwnedFd>> {
    let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
    let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
    // What takes its place is `unsafe`, for types that are not, as `OwnedFd` is, bound to a descriptor of their own.
    #[allow(deprecated)]
    AsyncFd::with_interest(timer, Interest::READABLE)
}

/// Has the timer expire once, after `left`; what it had to say before is forgotten.
fn set(timer: &AsyncFd<OwnedFd>, left: Duration) -> io::Result<()> {
    let value = Itimerspec {
        it_interval: Timespec::default(),
        it_value: Timespec::try_from(left).map_err(io::Error::other)?,
    };
    timerfd_settime(timer, TimerfdTimerFlags::empty(), &value)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use super::*;

    #[tokio::test]
    async fn no_moment_is_left_early() {
        let mut pause = Pause::default();
        for micros in [0, 1, 200, 1_750, 400, 4_010, 100] {
            let moment = Instant::now() + Duration::from_micros(micros);
            pause.until(moment).await;
            assert!(Instant::now() >= moment, "{micros} µs");
        }
    }

    #[tokio::test]
    async fn a_wait_that_was_given_up_does_not_shorten_the_next() {
        let mut pause = Pause::default();
        let mut given_up = Box::pin(pause.until(Instant::now() + Duration::from_millis(20)));
        std::future::poll_fn(|context| Poll::Ready(given_up.as_mut().poll(context).is_ready()))
            .await;
        drop(given_up);
        std::thread::sleep(Duration::from_millis(25));
        let moment = Instant::now() + Duration::from_millis(5);
        pause.until(moment).await;
        assert!(Instant::now() >= moment);
    }

    #[tokio::test(start_paused = true)]
    async fn time_that_the_runtime_makes_counts() {
        let moment = Instant::now() + Duration::from_secs(3600);
        Pause::default().until(moment).await;
        assert!(Instant::now() >= moment);
    }
}
