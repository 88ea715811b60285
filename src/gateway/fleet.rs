//! Named tasks, kept in step with what the configuration wants: starting is applying to nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::reading::Name;

/// The running tasks of one kind, each with the settings it was started with.
pub(super) struct Fleet<S> {
    running: BTreeMap<Name, Running<S>>,
}

struct Running<S> {
    settings: S,
    stop: CancellationToken,
    join: JoinHandle<()>,
}

impl<S: PartialEq> Fleet<S> {
    pub(super) fn new() -> Self {
        Self {
            running: BTreeMap::new(),
        }
    }

    /// Stops what is gone or changed, then starts what is new or changed; the rest runs on untouched.
    pub(super) async fn apply(
        &mut self,
        wanted: BTreeMap<Name, S>,
        bound: Duration,
        mut start: impl FnMut(&S, CancellationToken) -> JoinHandle<()>,
    ) {
        let stays = |name: &Name, running: &Running<S>| {
            wanted
                .get(name)
                .is_some_and(|settings| *settings == running.settings)
        };
        let (keep, go) = std::mem::take(&mut self.running)
            .into_iter()
            .partition(|(name, running)| stays(name, running));
        self.running = keep;
        finish(go, bound).await;
        for (name, settings) in wanted {
            if self.running.contains_key(&name) {
                continue;
            }
            let stop = CancellationToken::new();
            let join = start(&settings, stop.clone());
            self.running.insert(
                name,
                Running {
                    settings,
                    stop,
                    join,
                },
            );
        }
    }

    /// Stops all of them; whatever has not ended within `bound` is aborted and named in the log.
    pub(super) async fn stop(&mut self, bound: Duration) {
        finish(std::mem::take(&mut self.running), bound).await;
    }
}

async fn finish<S>(tasks: BTreeMap<Name, Running<S>>, bound: Duration) {
    for running in tasks.values() {
        running.stop.cancel();
    }
    let deadline = tokio::time::Instant::now() + bound;
    for (name, mut running) in tasks {
        if tokio::time::timeout_at(deadline, &mut running.join)
            .await
            .is_err()
        {
            tracing::warn!("{name}: did not stop within {bound:?}, aborted");
            running.join.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    fn wanted(list: &[(&str, u32)]) -> BTreeMap<Name, u32> {
        list.iter()
            .map(|(name, value)| (Name::new(name).unwrap(), *value))
            .collect()
    }

    #[tokio::test]
    async fn applies_only_the_difference() {
        let started = Arc::new(Mutex::new(Vec::new()));
        let mut fleet = Fleet::new();
        let start = |settings: &u32, stop: CancellationToken| {
            started.lock().unwrap().push(*settings);
            tokio::spawn(async move { stop.cancelled().await })
        };
        let bound = Duration::from_secs(5);
        fleet
            .apply(wanted(&[("a", 1), ("b", 2)]), bound, start)
            .await;
        fleet
            .apply(wanted(&[("b", 2), ("c", 3)]), bound, start)
            .await;
        fleet
            .apply(wanted(&[("b", 4), ("c", 3)]), bound, start)
            .await;
        assert_eq!(*started.lock().unwrap(), [1, 2, 3, 4]);
        assert_eq!(
            fleet.running.keys().map(Name::as_str).collect::<Vec<_>>(),
            ["b", "c"]
        );
        fleet.stop(bound).await;
        assert!(fleet.running.is_empty());
    }
}
