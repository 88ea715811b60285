//! A store with its writer running, and things to put into it.

use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::thread::JoinHandle;
use std::time::Duration;

use forebay::reading::{
    Body, Clock, ClockSource, Description, Detail, Event, EventName, MapHash, Name, Observation,
    Reading, Record, Scan, Schema, SchemaPoint, SystemClock, Value, ValueType,
};
use forebay::store::engine::MemoryEngine;
use forebay::store::settings::{StoreSettings, WhenFull};
use forebay::store::{self, Inlet, ReadLimit, Store, StoreStatus, Writer};

pub(super) const LIMIT: ReadLimit = ReadLimit {
    records: 1000,
    bytes: 1 << 20,
};
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) struct Running {
    pub(super) store: Store,
    pub(super) inlet: Inlet,
    writer: JoinHandle<()>,
}

impl Running {
    pub(super) fn open(settings: &StoreSettings) -> Self {
        Self::open_with(settings, Clock::new(SystemClock::new()))
    }

    pub(super) fn open_with(settings: &StoreSettings, clock: Clock) -> Self {
        let inlet = Inlet::new(clock.clone());
        let opened = store::open(settings, clock, &inlet).unwrap();
        Self::run(inlet, opened)
    }

    pub(super) fn open_in(memory: &MemoryEngine, settings: &StoreSettings) -> Self {
        let clock = Clock::new(SystemClock::new());
        let inlet = Inlet::new(clock.clone());
        let opened = store::open_on(memory.clone(), settings, clock, &inlet).unwrap();
        Self::run(inlet, opened)
    }

    fn run(inlet: Inlet, (store, writer): (Store, Writer)) -> Self {
        Self {
            store,
            inlet,
            writer: std::thread::Builder::new()
                .name("writer".to_owned())
                .spawn(|| writer.run())
                .unwrap(),
        }
    }

    /// All records up to `last`, once that is durable.
    pub(super) async fn records_until(&self, last: u64) -> Vec<Arc<Record>> {
        let mut head = self.store.head();
        tokio::time::timeout(PATIENCE, head.wait_for(|head| *head >= last))
            .await
            .expect("committed")
            .unwrap();
        let mut found: Vec<Arc<Record>> = Vec::new();
        while found.last().is_none_or(|record| record.seq < last) {
            let from = found.last().map_or(1, |record| record.seq + 1);
            let read = self.store.read(from, LIMIT).await.unwrap();
            assert!(
                !read.is_empty(),
                "nothing from {from}, head {}",
                *self.store.head().borrow()
            );
            found.extend(read);
        }
        found
    }

    /// `count` records from `seq` on, or the next there is.
    pub(super) async fn records_from(&self, seq: u64, count: usize) -> Vec<Arc<Record>> {
        let mut head = self.store.head();
        loop {
            let found = self.store.read(seq, LIMIT).await.unwrap();
            if found.len() >= count {
                return found;
            }
            tokio::time::timeout(PATIENCE, head.changed())
                .await
                .expect("committed")
                .unwrap();
        }
    }

    pub(super) fn stop(self) -> StoreStatus {
        self.store.stop();
        self.writer.join().unwrap();
        self.store.status()
    }
}

pub(super) fn settings(dir: &Path) -> StoreSettings {
    StoreSettings {
        dir: dir.to_owned(),
        max_size: StoreSettings::LEAST_SIZE,
        max_age: None,
        keep_free: None,
        when_full: WhenFull::DropOldest,
        commit_window: Duration::from_millis(10),
    }
}

pub(super) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// By one clock: a new one reads files of the kernel's.
fn now() -> forebay::reading::Stamp {
    static CLOCK: LazyLock<SystemClock> = LazyLock::new(SystemClock::new);
    CLOCK.now()
}

/// A scan of `points` values that differ with `n`.
pub(super) fn scan(device: &str, n: u64, points: usize) -> Observation {
    let point = |n: usize| SchemaPoint {
        name: name(&format!("p{n}")),
        value_type: ValueType::Int,
        unit: None,
    };
    let schema = Arc::new(Schema {
        line: name("hall"),
        device: name(device),
        scan: name("default"),
        labels: Vec::new(),
        map: MapHash(7),
        points: (0..points).map(point).collect(),
    });
    scan_of(&schema, n)
}

pub(super) fn scan_of(schema: &Arc<Schema>, n: u64) -> Observation {
    let value = |point: u64| {
        Some(Reading::good(Value::Int(
            (n * 1_000_003 + point * 7919) as i64,
        )))
    };
    let readings = (0..schema.points.len() as u64).map(value).collect();
    Observation {
        stamp: now(),
        body: Body::Scan(Scan {
            schema: Arc::clone(schema),
            readings,
            full: false,
        }),
    }
}

pub(super) fn event(device: &str, what: EventName) -> Observation {
    Observation {
        stamp: now(),
        body: Body::Event(Event::device(what, name(device))),
    }
}

pub(super) fn description(device: &str, title: &str) -> Observation {
    let description = Description {
        device: name(device),
        line: name("hall"),
        map: MapHash(7),
        title: Some(title.to_owned()),
        labels: Vec::new(),
        points: Vec::new(),
    };
    Observation {
        stamp: now(),
        body: Body::Description(Arc::new(description)),
    }
}

/// A fact of an event record of that name.
pub(super) fn told(record: &Record, what: EventName, key: &str) -> Option<Detail> {
    match &record.body {
        Body::Event(event) if event.name == what => event
            .detail
            .iter()
            .find(|(found, _)| found == key)
            .map(|(_, detail)| detail.clone()),
        _ => None,
    }
}
