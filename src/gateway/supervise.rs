//! A task that panics is restarted and told (invariant 9).

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::reading::{Body, Clock, Event, EventName, Observation, Outlet};
use crate::support::backoff::Backoff;

/// What a task runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The common runtime.
    Runtime,
    /// A thread of its own: a serial port's flush blocks until the last bit is out.
    OwnThread,
}

/// Pause before a task that panicked is started again: long enough not to burn a core, short enough for a trend.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Runs what `make` builds until it ends by itself or `stop` is cancelled; after a panic it is built and run anew.
pub(super) fn spawn<M, T>(
    title: String,
    place: Place,
    (clock, outlet): (Clock, impl Outlet + 'static),
    stop: CancellationToken,
    mut make: M,
) -> JoinHandle<()>
where
    M: FnMut() -> T + Send + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    tokio::spawn(async move {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            backoff.connected(Instant::now());
            let end = match catch_unwind(AssertUnwindSafe(&mut make)) {
                Ok(task) => run(place, &title, task).await,
                Err(panic) => Err(panic),
            };
            let Err(panic) = end else { return };
            let reason = panic_text(panic.as_ref());
            tracing::error!("{title}: internal error, the task starts anew: {reason}");
            let event = Event::gateway(EventName::TaskRestarted)
                .text("task", &title)
                .text("reason", reason);
            outlet.put(Observation {
                stamp: clock.now(),
                body: Body::Event(event),
            });
            let pause = backoff.failed(Instant::now());
            if stop
                .run_until_cancelled(tokio::time::sleep(pause))
                .await
                .is_none()
            {
                return;
            }
        }
    })
}

async fn run(
    place: Place,
    title: &str,
    task: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Box<dyn Any + Send>> {
    let guarded = AssertUnwindSafe(task).catch_unwind();
    match place {
        Place::Runtime => guarded.await,
        Place::OwnThread => on_own_thread(title, guarded).await,
    }
}

/// Runs `task` on a thread and runtime of its own. Where the system gives neither, that counts as its failure.
async fn on_own_thread(
    title: &str,
    task: impl Future<Output = Result<(), Box<dyn Any + Send>>> + Send + 'static,
) -> Result<(), Box<dyn Any + Send>> {
    let (tell, told) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Box::new(error.to_string()) as Box<dyn Any + Send>)?;
    // The kernel shows at most 15 characters of a thread's name.
    let name: String = title.chars().filter(char::is_ascii).take(15).collect();
    std::thread::Builder::new()
        .name(name)
        .spawn(move || drop(tell.send(runtime.block_on(task))))
        .map_err(|error| Box::new(error.to_string()) as Box<dyn Any + Send>)?;
    told.await
        .unwrap_or_else(|_| Err(Box::new("the thread ended without a result")))
}

/// The message of a panic.
pub(super) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::reading::ManualClock;

    #[derive(Clone, Default)]
    struct Seen(Arc<Mutex<Vec<Observation>>>);

    impl Outlet for Seen {
        fn put(&self, observation: Observation) {
            self.0.lock().unwrap().push(observation);
        }
    }

    async fn panics_once_then_ends(place: Place) {
        let (runs, seen) = (Arc::new(AtomicU32::new(0)), Seen::default());
        let counted = runs.clone();
        let make = move || {
            let first = counted.fetch_add(1, Ordering::SeqCst) == 0;
            async move { assert!(!first, "broken on purpose") }
        };
        let clock = Clock::new(ManualClock::at(0, 0));
        let stop = CancellationToken::new();
        spawn(
            "line x".to_owned(),
            place,
            (clock, seen.clone()),
            stop,
            make,
        )
        .await
        .unwrap();
        assert_eq!(runs.load(Ordering::SeqCst), 2);
        let seen = seen.0.lock().unwrap();
        let Body::Event(event) = &seen[0].body else {
            panic!("{seen:?}")
        };
        assert_eq!(event.name, EventName::TaskRestarted);
        assert!(
            format!("{:?}", event.detail).contains("broken on purpose"),
            "{event:?}"
        );
    }

    #[tokio::test]
    async fn a_task_that_panics_is_restarted_and_told() {
        panics_once_then_ends(Place::Runtime).await;
        panics_once_then_ends(Place::OwnThread).await;
    }
}
