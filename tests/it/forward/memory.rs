//! A store in memory, and a forwarder on it.
#![allow(dead_code, reason = "tests and measurements take what they need of it")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use forebay::forward::route::Template;
use forebay::forward::settings::{Delivery, ForwarderSettings, Pace, Routes, Start};
use forebay::forward::{ForwarderStatus, ForwarderTask, Source};
use forebay::payload::settings::{CodecKind, MessageKind, PayloadSettings};
use forebay::reading::{
    Body, Catalogue, Clock, Description, Event, MapHash, Name, Observation, Outlet, RangeSet,
    Reading, Record, Scan, Schema, SchemaPoint, Stamp, StreamId, SystemClock, Value, ValueType,
};
use forebay::store::{Batch, ReadLimit, Wanted};
use forebay::upstream::settings::UpstreamSettings;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub(crate) const BOUND: Duration = Duration::from_secs(60);

/// Records and one cursor.
#[derive(Clone)]
pub(crate) struct Memory(Arc<Inner>);

struct Inner {
    records: Mutex<BTreeMap<u64, Arc<Record>>>,
    head: watch::Sender<u64>,
    cursor: watch::Sender<RangeSet>,
    refused: Mutex<Vec<(u64, String)>>,
    failing_reads: AtomicUsize,
    behind: watch::Sender<bool>,
    events: Mutex<Vec<Event>>,
}

impl Memory {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner {
            records: Mutex::default(),
            head: watch::Sender::new(0),
            cursor: watch::Sender::default(),
            refused: Mutex::default(),
            failing_reads: AtomicUsize::new(0),
            behind: watch::Sender::new(false),
            events: Mutex::default(),
        }))
    }

    /// Appends a record of now.
    pub(crate) fn add(&self, body: Body) -> u64 {
        self.add_at(Clock::new(SystemClock::new()).now(), body)
    }

    pub(crate) fn add_at(&self, stamp: Stamp, body: Body) -> u64 {
        let mut records = self.0.records.lock().unwrap();
        let seq = *self.0.head.borrow() + 1;
        let record = Record {
            stream: StreamId(0x5f3a_9c1e),
            seq,
            device_seq: seq,
            stamp,
            body,
        };
        records.insert(seq, Arc::new(record));
        self.0.head.send_replace(seq);
        seq
    }

    /// Appends `count` scans of one device.
    pub(crate) fn add_scans(&self, count: u64) {
        let schema = schema("meter-3");
        for n in 0..count {
            self.add(scan(&schema, n as f64));
        }
    }

    /// The number of the last record.
    pub(crate) fn last(&self) -> u64 {
        *self.0.head.borrow()
    }

    /// As if a bound had dropped it.
    pub(crate) fn drop_record(&self, seq: u64) {
        self.0.records.lock().unwrap().remove(&seq);
    }

    pub(crate) fn fail_reads(&self, count: usize) {
        self.0.failing_reads.store(count, Ordering::Relaxed);
    }

    /// Whether it is behind with writing what was confirmed.
    pub(crate) fn set_behind(&self, behind: bool) {
        self.0.behind.send_replace(behind);
    }

    pub(crate) fn cursor(&self) -> RangeSet {
        self.0.cursor.borrow().clone()
    }

    pub(crate) fn refused(&self) -> Vec<(u64, String)> {
        self.0.refused.lock().unwrap().clone()
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.0.events.lock().unwrap().clone()
    }

    /// The cursor is back at the beginning.
    pub(crate) fn forget(&self) {
        self.0.cursor.send_replace(RangeSet::new());
    }

    /// Waits until everything up to the head is confirmed.
    pub(crate) async fn drained(&self) {
        let head = *self.0.head.borrow();
        let mut cursor = self.0.cursor.subscribe();
        let drained = cursor.wait_for(|cursor| cursor.first_missing(1) > head);
        let drained = timeout(BOUND, drained).await.map(|drained| drained.is_ok());
        assert!(
            drained.is_ok(),
            "not drained: {:?} of {head}",
            self.cursor()
        );
    }
}

impl Source for Memory {
    type Error = String;

    fn head(&self) -> watch::Receiver<u64> {
        self.0.head.subscribe()
    }

    fn register(&self, _: &Name, _: Start) -> RangeSet {
        self.cursor()
    }

    async fn read(&self, from: u64, limit: ReadLimit, wanted: Wanted) -> Result<Batch, String> {
        let failing = &self.0.failing_reads;
        if failing.load(Ordering::Relaxed) > 0 {
            failing.fetch_sub(1, Ordering::Relaxed);
            return Err("the disk says no".to_owned());
        }
        let all = self.0.records.lock().unwrap();
        let head = *self.0.head.borrow();
        let records: Vec<_> = all
            .range(from..)
            .filter(|(_, record)| wanted.admits(record.body.device()))
            .take(limit.records)
            .map(|(_, record)| Arc::clone(record))
            .collect();
        let full = records.len() == limit.records;
        let last = records.last().map(|last| last.seq).filter(|_| full);
        let next = last.unwrap_or(head).saturating_add(1).max(from);
        Ok(Batch { records, next })
    }

    fn may_send(&self, _: &Name) -> bool {
        !*self.0.behind.borrow()
    }

    async fn sendable(&self, _: &Name) {
        let mut behind = self.0.behind.subscribe();
        let _ = behind.wait_for(|behind| !behind).await;
    }

    fn confirm(&self, _: &Name, confirmed: &RangeSet) {
        self.0.cursor.send_modify(|cursor| cursor.extend(confirmed));
    }

    fn refuse(&self, _: &Name, seq: u64, reason: String, payload_size: u64) {
        assert!(payload_size > 0);
        self.0.refused.lock().unwrap().push((seq, reason));
        self.0.cursor.send_modify(|cursor| cursor.insert(seq, seq));
    }
}

impl Outlet for Memory {
    fn put(&self, observation: Observation) {
        match observation.body {
            Body::Event(event) => self.0.events.lock().unwrap().push(event),
            other => panic!("{other:?}"),
        }
    }
}

/// A forwarder that runs.
pub(crate) struct Forwarder {
    pub(crate) status: watch::Receiver<ForwarderStatus>,
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

impl Forwarder {
    pub(crate) fn start(settings: ForwarderSettings, store: &Memory) -> Self {
        Self::start_with(settings, store, Catalogue::default())
    }

    pub(crate) fn start_with(
        settings: ForwarderSettings,
        store: &Memory,
        catalogue: Catalogue,
    ) -> Self {
        Self::run(settings, store.clone(), catalogue, Arc::new(store.clone()))
    }

    /// On any store.
    pub(crate) fn on(
        settings: ForwarderSettings,
        source: impl Source,
        outlet: Arc<dyn Outlet>,
    ) -> Self {
        Self::run(settings, source, Catalogue::default(), outlet)
    }

    /// The same for a gateway with these devices.
    pub(crate) fn run(
        settings: ForwarderSettings,
        source: impl Source,
        catalogue: Catalogue,
        outlet: Arc<dyn Outlet>,
    ) -> Self {
        let cancel = CancellationToken::new();
        let (_, catalogue) = watch::channel(catalogue);
        let clock = Clock::new(SystemClock::new());
        let task = ForwarderTask::new(settings, source, catalogue, outlet, clock, cancel.clone());
        Self {
            status: task.status(),
            cancel,
            task: tokio::spawn(task.run()),
        }
    }

    /// Waits until the status fulfils the condition.
    pub(crate) async fn wait_for(
        &mut self,
        mut fulfilled: impl FnMut(&ForwarderStatus) -> bool,
    ) -> ForwarderStatus {
        let found = timeout(BOUND, self.status.wait_for(|status| fulfilled(status))).await;
        let found = found.map(|status| status.unwrap().clone());
        found.unwrap_or_else(|_| panic!("never so: {:?}", self.status.borrow()))
    }

    /// Without taking leave.
    pub(crate) fn abort(self) {
        self.task.abort();
    }

    pub(crate) async fn stop(self) {
        self.cancel.cancel();
        timeout(Duration::from_secs(5), self.task)
            .await
            .expect("it does not end")
            .unwrap();
    }
}

/// To this broker; the first attempts follow at once.
pub(crate) fn settings(upstream: UpstreamSettings) -> ForwarderSettings {
    let template = |text| Template::parse(text).unwrap();
    ForwarderSettings {
        name: name("cloud"),
        gateway: "hall-2".to_owned(),
        upstream,
        payload: PayloadSettings {
            codec: CodecKind::Json,
            integers_as_text: false,
            message: MessageKind::Scan,
        },
        routes: Routes {
            exchange: template(""),
            scan: template("t/{gateway}/{device}/{scan}"),
            event: template("t/{gateway}/event"),
            describe: template("t/{gateway}/{device}/describe"),
            status: None,
        },
        devices: Vec::new(),
        start: Start::Oldest,
        historical_after: Duration::from_secs(10),
        expiry: None,
        delivery: Delivery::default(),
        pace: Pace {
            first: Duration::from_millis(20),
            most: Duration::from_millis(200),
            stopped: Duration::from_millis(100),
        },
    }
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn schema(device: &str) -> Arc<Schema> {
    Arc::new(Schema {
        line: name("meters"),
        device: name(device),
        scan: name("default"),
        labels: Vec::new(),
        map: MapHash(1),
        points: vec![SchemaPoint {
            name: name("voltage"),
            value_type: ValueType::F64,
            unit: None,
        }],
    })
}

pub(crate) fn scan(schema: &Arc<Schema>, value: f64) -> Body {
    Body::Scan(Scan {
        schema: Arc::clone(schema),
        readings: vec![Some(Reading::good(Value::F64(value)))],
        full: false,
    })
}

/// A scan of many bytes.
pub(crate) fn large(bytes: usize) -> Body {
    let schema = Schema {
        points: vec![SchemaPoint {
            name: name("text"),
            value_type: ValueType::Text,
            unit: None,
        }],
        ..Schema::clone(&schema("meter-3"))
    };
    let text = Value::Text("x".repeat(bytes).into());
    Body::Scan(Scan {
        schema: Arc::new(schema),
        readings: vec![Some(Reading::good(text))],
        full: false,
    })
}

pub(crate) fn description(device: &str, map: u32) -> Arc<Description> {
    Arc::new(Description {
        device: name(device),
        line: name("meters"),
        map: MapHash(map),
        title: None,
        labels: Vec::new(),
        points: Vec::new(),
    })
}
