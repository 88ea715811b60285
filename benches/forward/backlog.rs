//! What is drained: a store on disk with so many records, and the first of its messages as they go out.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use forebay::payload::{Codec, Part};
use forebay::reading::{
    Body, Clock, Observation, Outlet, Reading, Scan, Schema, SchemaPoint, SystemClock, Value,
};
use forebay::store::settings::{StoreSettings, WhenFull};
use forebay::store::{self, Inlet, ReadLimit, Store};
use forebay::upstream::settings::UpstreamSettings;
use tempfile::TempDir;

use crate::VALUES;
use crate::memory::{name, schema, settings};

/// Most records that are put and not durable: below what the inlet holds, so that nothing falls out of it.
const OUT: u64 = 2_000;
/// So many different messages the floors publish, in turn.
const MESSAGES: usize = 10_000;

pub(crate) struct Backlog {
    pub(crate) dir: TempDir,
    pub(crate) records: usize,
    pub(crate) message_size: usize,
}

/// An open store, its writer on a thread of its own.
pub(crate) struct Opened {
    pub(crate) store: Store,
    pub(crate) inlet: Inlet,
    clock: Clock,
    writer: std::thread::JoinHandle<()>,
}

impl Opened {
    pub(crate) fn new(dir: &Path) -> Self {
        let settings = StoreSettings {
            dir: dir.join("store"),
            max_size: 32 << 30,
            max_age: None,
            keep_free: None,
            when_full: WhenFull::DropOldest,
            commit_window: Duration::from_millis(100),
        };
        let clock = Clock::new(SystemClock::new());
        let inlet = Inlet::new(clock.clone());
        let (store, writer) = store::open(&settings, clock.clone(), &inlet).unwrap();
        let writer = std::thread::spawn(move || writer.run());
        Self {
            store,
            inlet,
            clock,
            writer,
        }
    }

    pub(crate) fn close(self) {
        self.store.stop();
        self.writer.join().unwrap();
    }
}

/// Fills a store. The records are as old as this takes at most: historical to the forwarder only after its ten seconds.
pub(crate) fn filled(records: usize) -> Backlog {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let opened = Opened::new(dir.path());
    let schema = wide();
    let messages = runtime.block_on(async {
        let mut head = opened.store.head();
        head.wait_for(|head| *head == 1).await.unwrap();
        let mut put = 1;
        while put <= records as u64 {
            let room = OUT - (put - *head.borrow_and_update());
            for _ in 0..room.min(records as u64 + 1 - put) {
                opened.inlet.put(scan(&schema, put, &opened.clock));
                put += 1;
            }
            head.changed().await.unwrap();
        }
        let all = |head: &u64| *head == records as u64 + 1;
        head.wait_for(all).await.unwrap();
        encoded(&opened.store).await
    });
    opened.close();
    let mut file = std::fs::File::create(dir.path().join("messages")).unwrap();
    for message in &messages {
        file.write_all(&(message.len() as u32).to_le_bytes())
            .unwrap();
        file.write_all(message).unwrap();
    }
    Backlog {
        dir,
        records,
        message_size: messages[messages.len() / 2].len(),
    }
}

/// The messages that a floor publishes.
pub(crate) fn messages(dir: &Path) -> Vec<Bytes> {
    let mut file = std::fs::File::open(dir.join("messages")).unwrap();
    let (mut messages, mut length) = (Vec::new(), [0; 4]);
    while file.read_exact(&mut length).is_ok() {
        let mut message = vec![0; u32::from_le_bytes(length) as usize];
        file.read_exact(&mut message).unwrap();
        messages.push(message.into());
    }
    messages
}

fn wide() -> Arc<Schema> {
    let mut wide = Schema::clone(&schema("meter-3"));
    let point = |n| SchemaPoint {
        name: name(&format!("v{n}")),
        ..wide.points[0].clone()
    };
    wide.points = (0..VALUES).map(point).collect();
    Arc::new(wide)
}

fn scan(schema: &Arc<Schema>, n: u64, clock: &Clock) -> Observation {
    let value = |point: usize| (n * 7 % 1_000 + point as u64 * 100) as f64 / 10.0;
    let readings = (0..VALUES).map(|point| Some(Reading::good(Value::F64(value(point)))));
    Observation {
        stamp: clock.now(),
        body: Body::Scan(Scan {
            schema: Arc::clone(schema),
            readings: readings.collect(),
            full: false,
        }),
    }
}

async fn encoded(store: &Store) -> Vec<Bytes> {
    let limit = ReadLimit {
        records: 512,
        bytes: 1 << 20,
    };
    // Any upstream's: the payload is that of all.
    let target = crate::Target {
        port: 1,
        vhost: String::new(),
        inflight: 1,
    };
    let settings = settings(crate::subject::upstream("forebay-3.1.1", &target));
    let mut codec = Codec::new(settings.payload, "hall-2");
    let mut messages = Vec::new();
    let mut from = 2;
    while messages.len() < MESSAGES {
        let records = store.read(from, limit).await.unwrap();
        let Some(last) = records.last() else { break };
        from = last.seq + 1;
        let encode = |record: &Arc<_>| codec.encode(record, Part::WHOLE, true);
        messages.extend(records.iter().map(encode));
    }
    messages.truncate(MESSAGES);
    messages
}
