//! A store that goes on only when told to, and what is asked of its records.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use forebay::reading::{
    Body, Clock, Detail, EventName, Outlet, RangeSet, Record, Schema, SystemClock,
};
use forebay::store::engine::Medium;
use forebay::store::settings::StoreSettings;
use forebay::store::{self, Inlet, Store, Writer};

use super::sample::{LIMIT, scan, settings, told};

pub(super) fn plain() -> StoreSettings {
    settings(Path::new("/nowhere"))
}

/// So small that a few hundred scans are too many.
pub(super) fn small() -> StoreSettings {
    StoreSettings {
        max_size: 60_000,
        ..plain()
    }
}

pub(super) fn schema(device: &str) -> Arc<Schema> {
    match scan(device, 0, 1).body {
        Body::Scan(scan) => scan.schema,
        _ => unreachable!(),
    }
}

pub(super) fn scans(records: &[Arc<Record>]) -> usize {
    let scans = records
        .iter()
        .filter(|record| matches!(record.body, Body::Scan(_)));
    scans.count()
}

pub(super) fn events(records: &[Arc<Record>], what: EventName) -> usize {
    let named =
        |record: &&Arc<Record>| matches!(&record.body, Body::Event(event) if event.name == what);
    records.iter().filter(named).count()
}

pub(super) fn ranges(record: &Record, what: EventName, key: &str) -> RangeSet {
    match told(record, what, key) {
        Some(Detail::Ranges(ranges)) => ranges,
        _ => RangeSet::new(),
    }
}

/// Every number up to the last is there or was dropped, and that is told.
pub(super) fn assert_complete(records: &[Arc<Record>]) {
    let mut known = RangeSet::new();
    for record in records {
        known.insert(record.seq, record.seq);
        known.extend(&ranges(record, EventName::RecordsDropped, "seq"));
    }
    let last = records.last().unwrap().seq;
    assert_eq!(known.first_missing(1), last + 1, "{known:?}");
}

/// Puts scans until something is dropped.
pub(super) fn fill(stepped: &mut Stepped) {
    for n in 0..2000 {
        stepped.inlet.put(scan("press", n, 20));
        stepped.writer.turn();
        if stepped.store.status().first > 1 {
            return;
        }
    }
    panic!("nothing was dropped: {:?}", stepped.store.status());
}

/// A store whose writer goes on only when told to.
pub(super) struct Stepped {
    pub(super) store: Store,
    pub(super) inlet: Inlet,
    pub(super) writer: Writer,
}

impl Stepped {
    pub(super) fn open(medium: impl Medium + 'static, settings: &StoreSettings) -> Self {
        let inlet = Inlet::new(Clock::new(SystemClock::new()));
        Self::open_with(medium, settings, &inlet)
    }

    pub(super) fn open_with(
        medium: impl Medium + 'static,
        settings: &StoreSettings,
        inlet: &Inlet,
    ) -> Self {
        let settings = StoreSettings {
            commit_window: Duration::ZERO,
            ..settings.clone()
        };
        Self::open_as_set(medium, &settings, inlet)
    }

    /// With the commit window of the settings.
    pub(super) fn open_as_set(
        medium: impl Medium + 'static,
        settings: &StoreSettings,
        inlet: &Inlet,
    ) -> Self {
        let clock = Clock::new(SystemClock::new());
        let (store, writer) = store::open_on(medium, settings, clock, inlet).unwrap();
        Self {
            store,
            inlet: inlet.clone(),
            writer,
        }
    }

    /// All records from `from` on.
    pub(super) async fn records(&self, from: u64) -> Vec<Arc<Record>> {
        let mut found: Vec<Arc<Record>> = Vec::new();
        loop {
            let next = found.last().map_or(from, |record| record.seq + 1);
            let read = self.store.read(next, LIMIT).await.unwrap();
            if read.is_empty() {
                return found;
            }
            found.extend(read);
        }
    }

    /// Goes on until the disk is out of trouble and nothing waits.
    pub(super) fn settle(&mut self) {
        for _ in 0..10 {
            self.writer.turn();
        }
        assert_eq!(self.store.status().trouble, None);
    }

    /// The process ends without a word.
    pub(super) fn kill(self) {
        drop(self.writer);
    }
}
