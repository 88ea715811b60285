//! Reads on demand, without a daemon: a line is opened, asked what is wanted, and closed.

use std::collections::BTreeMap;
use std::time::Duration;

use super::error::{FieldError, Verdict};
use super::modbus::client::{Answer, Client, Manner};
use super::modbus::cost::ReadCost;
use super::modbus::decode::{Places, Recipe};
use super::modbus::frame::ReadRequest;
use super::modbus::identity::Identity;
use super::modbus::known::Known;
use super::modbus::map::{DeviceMap, Point, Table};
use super::modbus::plan::{Place, ScanPlan, plan};
use super::modbus::wire::{Bus, opener};
use super::settings::{DeviceSettings, LineSettings, Transport};
use super::status::Counters;
use crate::reading::{Name, Quality, Reading};

/// A point, and what was read of it.
#[derive(Debug, Clone, PartialEq)]
pub struct PointRead {
    /// The point.
    pub point: Point,
    /// Its registers, or its bit as 0 or 1; empty where it could not be read.
    pub words: Vec<u16>,
    /// What they say.
    pub reading: Reading,
    /// Why there is nothing.
    pub error: Option<FieldError>,
}

/// What was read of a device.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceRead {
    /// What it says that it is, where its map describes another device: then no point has a value.
    pub other: Option<String>,
    /// Its points.
    pub points: Vec<PointRead>,
}

/// Reads `count` places over a line that is opened for it, with as many requests as they need.
///
/// # Errors
/// Why there is nothing.
pub async fn read_places(
    transport: &Transport,
    (unit, table): (u8, Table),
    (address, count): (u16, u16),
    timeout: Duration,
) -> Result<Vec<u16>, FieldError> {
    let most = if table.is_bits() {
        ReadRequest::MOST_BITS
    } else {
        ReadRequest::MOST_REGISTERS
    };
    let manner = Manner {
        timeout,
        retries: 1,
        delay: Duration::ZERO,
        lenient: false,
        offline: false,
    };
    let mut line = Line::new(transport, manner, Duration::ZERO);
    let mut words = Vec::new();
    let end = u32::from(address) + u32::from(count);
    let mut from = address;
    while u32::from(from) < end {
        let left = u16::try_from(end - u32::from(from)).unwrap_or(most);
        // The command has checked that all of it is within the table.
        let request = ReadRequest::new(unit, table, from, left.min(most));
        words.extend(line.read(request.ok_or(FieldError::Exception(3))?).await?);
        from = from.saturating_add(left.min(most));
    }
    Ok(words)
}

/// Reads points of a device over a line that is opened for it: all that are sent, or those named. Whatever the device
/// refuses together is read point by point, so that what it does have is seen.
pub async fn read_points(
    line: &LineSettings,
    device: &DeviceSettings,
    wanted: &[Name],
) -> DeviceRead {
    let map = selected(&device.map, wanted);
    let Ok(class) = Name::new(CLASS) else {
        return DeviceRead {
            other: None,
            points: Vec::new(),
        };
    };
    let cost = ReadCost::typical(&line.transport, device.delay);
    let plan = plan(&map, &class, &cost, &Known::default());
    let manner = Manner {
        timeout: device.timeout.unwrap_or(line.timeout),
        retries: device.retries.unwrap_or(line.retries),
        delay: device.delay,
        lenient: map.quirks.lenient_transaction_id,
        offline: false,
    };
    let mut asked = Asked {
        line: Line::new(&line.transport, manner, map.quirks.pause_after_connect),
        unit: device.unit,
        places: BTreeMap::new(),
        answered: false,
        away: None,
    };
    let other = match &map.identity {
        Some(identity) => asked.identify(identity).await,
        None => None,
    };
    let errors = asked.read_all(&map, &plan).await;
    let mut points = results(&map, &plan, &asked, &errors);
    if other.is_some() {
        for point in &mut points {
            point.reading = Reading::missing(Quality::WrongDevice);
        }
    }
    DeviceRead { other, points }
}

/// What became of the points that are sent.
fn results(
    map: &DeviceMap,
    plan: &ScanPlan,
    asked: &Asked,
    errors: &BTreeMap<usize, FieldError>,
) -> Vec<PointRead> {
    let mut readings: Vec<(usize, Reading, Vec<u16>)> = Vec::new();
    for placed in &plan.points {
        let Some(point) = map.points.get(placed.point) else {
            continue;
        };
        let words = asked.words(point);
        let factor = placed.factor.and_then(|factor| readings.get(factor));
        let reading = match errors.get(&placed.point) {
            None if !words.is_empty() => {
                decode(point, &words, factor.map(|(_, reading, _)| reading))
            }
            error => Reading::missing(error.map_or(Quality::Timeout, FieldError::quality)),
        };
        readings.push((placed.point, reading, words));
    }
    let sent = plan.sent.iter().filter_map(|&place| readings.get(place));
    sent.filter_map(|(index, reading, words)| {
        Some(PointRead {
            point: map.points.get(*index)?.clone(),
            words: words.clone(),
            reading: reading.clone(),
            error: errors.get(index).cloned(),
        })
    })
    .collect()
}

/// All points are read as of one scan class, whatever theirs is.
const CLASS: &str = "once";

fn selected(map: &DeviceMap, wanted: &[Name]) -> DeviceMap {
    let mut map = map.clone();
    for point in &mut map.points {
        point.send &= wanted.is_empty() || wanted.contains(&point.name);
        if let Ok(class) = Name::new(CLASS) {
            point.scan = class;
        }
    }
    map
}

fn decode(point: &Point, words: &[u16], factor: Option<&Reading>) -> Reading {
    let places = match words.first() {
        Some(bit) if point.table.is_bits() => Places::Bit(*bit != 0),
        _ => Places::Registers(words),
    };
    Recipe::new(point).read(places, factor)
}

/// What a device was asked, and what it said.
struct Asked {
    line: Line,
    unit: u8,
    places: BTreeMap<(Table, u16), u16>,
    answered: bool,
    /// It, or its line, is not there: the rest is not asked, as each request would cost a timeout.
    away: Option<FieldError>,
}

impl Asked {
    /// Reads all blocks of `plan`, and point by point what is refused together; why there is nothing, by point.
    async fn read_all(&mut self, map: &DeviceMap, plan: &ScanPlan) -> BTreeMap<usize, FieldError> {
        let mut errors: BTreeMap<usize, FieldError> = BTreeMap::new();
        for (number, block) in plan.blocks.iter().enumerate() {
            let Err(error) = self.read(block.table, block.address, block.count).await else {
                continue;
            };
            let is_inside = |place| matches!(place, Place::Read { block, .. } if block == number);
            let inside = plan.points.iter().filter(|placed| is_inside(placed.place));
            let inside: Vec<usize> = inside.map(|placed| placed.point).collect();
            let alone = error.verdict() == Verdict::Refused && inside.len() > 1;
            for index in inside {
                let Some(point) = map.points.get(index) else {
                    continue;
                };
                let result = match alone {
                    true => {
                        self.read(point.table, point.address, point.raw.width())
                            .await
                    }
                    false => Err(error.clone()),
                };
                if let Err(error) = result {
                    errors.insert(index, error);
                }
            }
        }
        errors
    }

    /// What the device says that it is, where that is not what it must be.
    async fn identify(&mut self, identity: &Identity) -> Option<String> {
        let width = identity.raw.width();
        let read = self.read(identity.table, identity.address, width).await;
        match read {
            Ok(()) => {
                let words = self.places(identity.table, identity.address, width);
                identity.judge(&words).err()
            }
            Err(error @ FieldError::Exception(1..=3)) => Some(error.to_string()),
            Err(_) => None,
        }
    }

    async fn read(&mut self, table: Table, address: u16, count: u16) -> Result<(), FieldError> {
        if let Some(error) = &self.away {
            return Err(error.clone());
        }
        let request = ReadRequest::new(self.unit, table, address, count);
        let result = match request {
            Some(request) => self.line.read(request).await,
            None => Err(FieldError::Exception(3)),
        };
        match &result {
            Ok(_) => self.answered = true,
            Err(error) => match error.verdict() {
                Verdict::Refused => self.answered = true,
                Verdict::Silent if self.answered => {}
                Verdict::Silent | Verdict::Broken => self.away = Some(error.clone()),
            },
        }
        let addresses = (address..=u16::MAX).map(|address| (table, address));
        self.places.extend(addresses.zip(result?));
        Ok(())
    }

    /// What was read of a point; nothing where any place is missing.
    fn words(&self, point: &Point) -> Vec<u16> {
        self.places(point.table, point.address, point.raw.width())
    }

    fn places(&self, table: Table, address: u16, count: u16) -> Vec<u16> {
        let end = address.saturating_add(count.saturating_sub(1));
        let places = (address..=end).map(|address| self.places.get(&(table, address)));
        places
            .map(|word| word.copied())
            .collect::<Option<_>>()
            .unwrap_or_default()
    }
}

/// A line that is opened by its first request, and closed when this is dropped.
struct Line {
    client: Client,
    manner: Manner,
    counters: Counters,
}

impl Line {
    fn new(transport: &Transport, manner: Manner, pause: Duration) -> Self {
        Self {
            client: Client::new(opener(transport), Bus::of(transport), pause),
            manner,
            counters: Counters::default(),
        }
    }

    async fn read(&mut self, request: ReadRequest) -> Result<Vec<u16>, FieldError> {
        let answer = self
            .client
            .read(request, &self.manner, &self.counters)
            .await?;
        Ok(match answer {
            Answer::Registers(words) => words,
            Answer::Bits(bits) => {
                let bits = bits.into_iter().take(request.count().into());
                bits.map(u16::from).collect()
            }
        })
    }
}
