//! What a subscriber or consumer has collected, and waiting for more.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

/// Things that arrive, in order.
#[derive(Debug, Clone)]
pub struct Collected<T> {
    all: Arc<Mutex<Vec<T>>>,
    count: watch::Sender<usize>,
}

impl<T: Clone + Debug> Collected<T> {
    /// Nothing yet.
    pub fn new() -> Self {
        Self {
            all: Arc::default(),
            count: watch::Sender::new(0),
        }
    }

    /// One more.
    pub fn push(&self, one: T) {
        self.all.lock().unwrap().push(one);
        // Not under the lock: whoever waits looks at `all` while it holds the count.
        self.count.send_modify(|count| *count += 1);
    }

    /// All so far.
    pub fn all(&self) -> Vec<T> {
        self.all.lock().unwrap().clone()
    }

    /// Waits until what has arrived fulfils the condition, and returns it; panics after `bound`.
    pub async fn wait_for(
        &self,
        bound: Duration,
        mut fulfilled: impl FnMut(&[T]) -> bool,
    ) -> Vec<T> {
        let mut count = self.count.subscribe();
        let waiting = count.wait_for(|_| fulfilled(&self.all.lock().unwrap()));
        match timeout(bound, waiting).await {
            Ok(_) => self.all(),
            Err(_) => {
                let all = self.all();
                panic!(
                    "not within {bound:?}; {} arrived, last: {:?}",
                    all.len(),
                    all.last()
                )
            }
        }
    }
}
