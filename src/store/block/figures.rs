//! How small blocks get, of scans such as plants send. What was chosen by these figures: `docs/store.md`.
//!
//! `FOREBAY_LONG=1 cargo test --release --lib block::figures -- --nocapture` prints them, those of zstd by its program.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::*;
use crate::reading::{MapHash, Reading, Scan, SchemaPoint, Stamp, Value, ValueType};

const DEVICES: usize = 50;
const POINTS: usize = 50;
const STATES: [&str; 4] = ["running", "stopped", "fault", "maintenance"];

/// What the points are.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Plant {
    /// Meters that compute `f32`: voltages, currents, powers, frequencies walk, energies rise; all bits are in use.
    FloatMeters,
    /// The same, of meters that show a decimal.
    RoundedMeters,
    /// Scaled integers with one or two decimals, counters, codes, states as text, switches.
    Mixed,
}

struct Devices {
    plant: Plant,
    rng: fastrand::Rng,
    levels: Vec<Vec<f64>>,
    schemas: Vec<Arc<Schema>>,
    time: u64,
    seq: u64,
    device_seqs: Vec<u64>,
}

impl Devices {
    fn new(plant: Plant) -> Self {
        let mut rng = fastrand::Rng::with_seed(7);
        let name = |text: String| Name::new(&text).unwrap();
        let schema = |device| {
            let point = |point| SchemaPoint {
                name: name(format!("p{point}")),
                value_type: ValueType::F32,
                unit: None,
            };
            Arc::new(Schema {
                line: name("hall".to_owned()),
                device: name(format!("meter-{device}")),
                scan: name("default".to_owned()),
                labels: Vec::new(),
                map: MapHash(7),
                points: (0..POINTS).map(point).collect(),
            })
        };
        let mut level = |point: usize| match point % 5 {
            0 => 230.0 + bell(&mut rng) * 2.0,
            1 => 12.0 + bell(&mut rng) * 4.0,
            2 => 2_800.0 + bell(&mut rng) * 500.0,
            3 => 50.0,
            _ => rng.f64() * 1e6,
        };
        let levels = (0..DEVICES).map(|_| (0..POINTS).map(&mut level).collect());
        Self {
            plant,
            levels: levels.collect(),
            schemas: (0..DEVICES).map(schema).collect(),
            rng,
            time: 1_000_000_000,
            seq: 1,
            device_seqs: vec![1; DEVICES],
        }
    }

    /// One scan: about 2 ms after the one before, with steps of a two thousandth.
    fn scan(&mut self, device: usize) -> Arc<Record> {
        let readings = (0..POINTS).map(|point| {
            let (step, level) = (bell(&mut self.rng), &mut self.levels[device][point]);
            match point % 5 {
                4 => *level += self.rng.f64() * 0.002,
                3 => *level += step * 0.0005,
                _ => *level += *level * step * 0.0005,
            }
            let on = self.rng.u8(..) < 250;
            Some(Reading::good(value(self.plant, point, *level, on)))
        });
        let body = Body::Scan(Scan {
            readings: readings.collect(),
            schema: Arc::clone(&self.schemas[device]),
            full: false,
        });
        self.time += 1_900_000 + self.rng.u64(0..200_000);
        let record = Record {
            stream: StreamId(1),
            seq: self.seq,
            device_seq: self.device_seqs[device],
            stamp: Stamp {
                wall_ns: 1_700_000_000_000_000_000 + self.time.cast_signed() + self.rng.i64(20..90),
                boot_ns: self.time,
                boot: BootId(1),
                synced: true,
            },
            body,
        };
        self.seq += 1;
        self.device_seqs[device] += 1;
        Arc::new(record)
    }
}

fn bell(rng: &mut fastrand::Rng) -> f64 {
    (0..12).map(|_| rng.f64()).sum::<f64>() - 6.0
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn value(plant: Plant, point: usize, level: f64, on: bool) -> Value {
    let rounded = |digits: f64| (level * digits).round() / digits;
    match (plant, point % 10) {
        (Plant::FloatMeters, _) => Value::F32(level as f32),
        (Plant::RoundedMeters, _) => Value::F32(rounded(10.0) as f32),
        (Plant::Mixed, 0 | 1 | 2 | 5) => Value::F64(rounded(10.0)),
        (Plant::Mixed, 6 | 7) => Value::F64(rounded(100.0)),
        (Plant::Mixed, 3) => Value::Int(level as i64 & 7),
        (Plant::Mixed, 4) => Value::Int((level * 100.0) as i64),
        (Plant::Mixed, 8) => Value::Bool(on),
        (Plant::Mixed, _) => Value::Text(STATES[(level as usize / 1_000) % 4].into()),
    }
}

/// The readings as they are in memory: what a byte written is counted against.
fn raw(records: &[Arc<Record>]) -> Vec<u8> {
    let mut out = Vec::new();
    for record in records {
        let Body::Scan(scan) = &record.body else {
            continue;
        };
        for reading in scan.readings.iter().flatten() {
            match reading.value() {
                Some(Value::F32(number)) => out.extend_from_slice(&number.to_le_bytes()),
                Some(Value::F64(number)) => out.extend_from_slice(&number.to_le_bytes()),
                Some(Value::Int(number)) => out.extend_from_slice(&number.to_le_bytes()),
                Some(Value::Bool(on)) => out.push(u8::from(on)),
                Some(Value::Text(text)) => out.extend_from_slice(text.as_bytes()),
                _ => {}
            }
        }
    }
    out
}

/// Bytes of `body` by the zstd program; `None`: it is not asked for, or not installed.
fn zstd(body: &[u8], level: u8) -> Option<usize> {
    std::env::var_os("FOREBAY_LONG")?;
    let mut child = Command::new("zstd")
        .args([&format!("-{level}"), "--no-check", "-q", "-c"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    child.stdin.take()?.write_all(body).ok()?;
    Some(child.wait_with_output().ok()?.stdout.len())
}

/// A plant's blocks of `count` records: bytes per raw byte of value, differences, block and zstd; time in ms a million readings.
fn row(plant: Plant, count: usize, blocks: usize) -> (f64, String) {
    let mut devices = Devices::new(plant);
    let (mut sizes, mut plain, mut times) = ([0usize; 6], 0, [Duration::ZERO; 2]);
    for _ in 0..blocks {
        let records: Vec<_> = (0..count).map(|n| devices.scan(n % DEVICES)).collect();
        let raw = raw(&records);
        let start = Instant::now();
        let value = encode(&records, |schema| {
            schema.device.as_str()[6..].parse().unwrap()
        })
        .unwrap();
        times[0] += start.elapsed();
        let payload = envelope::exactly(&value).unwrap().payload;
        let start = Instant::now();
        let again = decode(payload, |id| devices.schemas.get(id as usize).cloned());
        times[1] += start.elapsed();
        assert_eq!(again, Some(records));
        let (header, stored) = header(payload).unwrap();
        let body = match header.flags & COMPRESSED {
            0 => stored.0.to_vec(),
            _ => lz4_flex::block::decompress(stored.0, header.body).unwrap(),
        };
        plain += raw.len();
        sizes[0] += lz4_flex::block::compress(&raw).len();
        sizes[1] += body.len();
        sizes[2] += value.len();
        let head = value.len() - stored.0.len();
        for (size, level) in sizes[3..].iter_mut().zip([1, 3, 9]) {
            *size += zstd(&body, level).map_or(0, |bytes| bytes + head);
        }
    }
    let share = |size: usize| size as f64 / plain as f64;
    let mut line = format!(
        "{plant:?} {count:>4}: {} B raw a record; ",
        plain / blocks / count
    );
    for (title, size) in ["raw+lz4", "differences", "block", "zstd -1", "-3", "-9"]
        .iter()
        .zip(sizes)
    {
        let _ = write!(line, "{title} {:.3}, ", share(size));
    }
    let million = |time: Duration| time.as_secs_f64() * 1e9 / (blocks * count * POINTS) as f64;
    let _ = write!(
        line,
        "encode {:.0} ms, decode {:.0} ms",
        million(times[0]),
        million(times[1])
    );
    (share(sizes[2]), line)
}

#[test]
fn blocks_of_real_scans_are_far_smaller_than_the_readings() {
    use Plant::{FloatMeters, Mixed, RoundedMeters};
    // Twice as much is written, as journal and as table: 1.5 bytes a byte are allowed, 0.6 are aimed at.
    let bounds = [
        (FloatMeters, 1, 2.0),
        (FloatMeters, 50, 1.0),
        (FloatMeters, 100, 0.8),
        (FloatMeters, 500, 0.6),
        (RoundedMeters, 100, 0.45),
        (RoundedMeters, 500, 0.3),
        (Mixed, 1, 1.0),
        (Mixed, 100, 0.3),
        (Mixed, 500, 0.2),
    ];
    for (plant, count, most) in bounds {
        let (share, line) = row(plant, count, (500 / count).clamp(1, 20));
        println!("{line}");
        assert!(share < most, "{line}");
    }
}
