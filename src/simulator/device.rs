//! A simulated Modbus device: tables that its owner fills, and faults to order.

mod encode;
mod pty;
mod serve;

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use encode::own_bits;
pub use encode::{encode, raw_value};
pub use pty::PseudoTerminal;
pub use serve::{serve_mbap, serve_rtu, serve_tcp};

use crate::field::modbus::map::{DeviceMap, Point, Table};
use crate::reading::Value;

/// A device on a simulated line; clones are handles on the same device.
#[derive(Debug, Clone)]
pub struct SimulatedDevice {
    unit: u8,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Bits are 0 or 1. What is not in here does not exist.
    places: BTreeMap<(Table, u16), u16>,
    /// What is in there and does not exist all the same.
    holes: Vec<(Table, RangeInclusive<u16>)>,
    behaviour: Behaviour,
    /// How it answers now and then instead, which share of the requests, and the dice that say which.
    sometimes: Option<(Behaviour, f64, fastrand::Rng)>,
    script: VecDeque<Behaviour>,
    requests: u64,
}

/// How a device answers; by default at once and rightly.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Behaviour {
    /// It does not answer.
    pub silent: bool,
    /// It does not answer requests that begin at this address.
    pub deaf_to: Option<u16>,
    /// It answers only after so long, and goes on taking requests meanwhile.
    pub late: Duration,
    /// It refuses with this exception code.
    pub exception: Option<u8>,
    /// It refuses to read more places than this at once, with exception 3.
    pub most: Option<u16>,
    /// It answers with this many registers at the most, whatever was asked for.
    pub short: Option<u16>,
    /// A bit of each answer is wrong: on RTU the CRC does not fit.
    pub wrong_bit: bool,
    /// These bytes come before the answer.
    pub noise: Vec<u8>,
    /// The answer comes twice.
    pub twice: bool,
    /// The answer is torn in two, with so much time between.
    pub torn: Option<Duration>,
    /// The connection is broken off in place of an answer.
    pub reset: bool,
    /// So long does each character of request and answer take, and the silences between: a serial bus.
    pub character: Duration,
}

/// How many unnamed places may be read over; of bits 16 times as many.
fn gap(map: &DeviceMap, table: Table) -> u16 {
    let factor = if table.is_bits() { 16 } else { 1 };
    map.limits.gap.saturating_mul(factor)
}

impl SimulatedDevice {
    /// A device without any place.
    pub fn new(unit: u8) -> Self {
        Self {
            unit,
            state: Arc::default(),
        }
    }

    /// A device that has the places of `map`, all zero but for those that say what it is, and those between them that the map allows to be read over.
    pub fn of(unit: u8, map: &DeviceMap) -> Self {
        let this = Self::new(unit);
        let mut points: Vec<&Point> = map.points.iter().collect();
        points.sort_by_key(|point| (point.table, point.address));
        let mut end = None;
        for point in points {
            let from = match end {
                Some((table, end))
                    if table == point.table
                        && point.address.saturating_sub(end) <= gap(map, table) =>
                {
                    point.address.min(end)
                }
                _ => point.address,
            };
            let behind = point.address.saturating_add(point.raw.width());
            this.set(
                point.table,
                from,
                &vec![0; behind.saturating_sub(from).into()],
            );
            end = Some((point.table, behind));
        }
        if let Some(identity) = &map.identity
            && let Some(value) = identity.is.first()
            && let Some(words) = encode(&identity.raw, identity.order, value)
        {
            this.set(identity.table, identity.address, &words);
        }
        this
    }

    /// Its unit id.
    pub fn unit(&self) -> u8 {
        self.unit
    }

    /// Sets registers, or bits (0 or 1), from `address` on; they exist from now on.
    pub fn set(&self, table: Table, address: u16, values: &[u16]) {
        let mut state = self.state();
        for (address, &value) in (address..=u16::MAX).zip(values) {
            state.places.insert((table, address), value);
        }
    }

    /// Makes places unreadable for good, also when they are set later: reading them is refused with exception 2.
    pub fn remove(&self, table: Table, addresses: RangeInclusive<u16>) {
        self.state().holes.push((table, addresses));
    }

    /// Sets the places of `point` so that reading it gives `value`, as near as its type has it; bits beside its own stay.
    /// `factor` is the value of the point that it is scaled by. `false`: it cannot.
    pub fn set_point(&self, point: &Point, value: &Value, factor: Option<f64>) -> bool {
        let raw = raw_value(point, value, factor);
        let Some(mut words) = raw.and_then(|raw| encode(&point.raw, point.order, &raw)) else {
            return false;
        };
        if let Some(own) = own_bits(point) {
            let state = self.state();
            let addresses = point.address..=u16::MAX;
            for ((word, own), address) in words.iter_mut().zip(own).zip(addresses) {
                let old = state.places.get(&(point.table, address)).copied();
                *word = *word & own | old.unwrap_or(0) & !own;
            }
        }
        self.set(point.table, point.address, &words);
        true
    }

    /// How it answers from now on; what is left of a script is forgotten.
    pub fn behave(&self, behaviour: Behaviour) {
        let mut state = self.state();
        state.behaviour = behaviour;
        state.script.clear();
    }

    /// How it answers that `share` (0 to 1) of its requests that dice with this `seed` choose.
    pub fn behave_sometimes(&self, behaviour: Behaviour, share: f64, seed: u64) {
        self.state().sometimes = Some((behaviour, share, fastrand::Rng::with_seed(seed)));
    }

    /// How it answers the next requests, one after the other; then as [`SimulatedDevice::behave`] says.
    pub fn script(&self, script: impl IntoIterator<Item = Behaviour>) {
        self.state().script.extend(script);
    }

    /// How many requests it has got.
    pub fn requests(&self) -> u64 {
        self.state().requests
    }

    /// What it does with the request `pdu`.
    fn answer(&self, pdu: &[u8]) -> (Behaviour, Vec<u8>) {
        let mut state = self.state();
        state.requests += 1;
        let next = state.script.pop_front();
        let mut behaviour = next.unwrap_or_else(|| state.usual());
        let address = pdu
            .get(1..3)
            .map(|address| address.iter().fold(0, |a, &b| a << 8 | u16::from(b)));
        behaviour.silent |= behaviour.deaf_to.is_some() && behaviour.deaf_to == address;
        let function = pdu.first().copied().unwrap_or(0);
        let count = pdu.get(3..5).map_or(0, |count| {
            count
                .iter()
                .fold(0, |sum, &byte| sum << 8 | u16::from(byte))
        });
        let answer = match behaviour.exception {
            Some(code) => Err(code),
            None if behaviour.most.is_some_and(|most| count > most) => Err(3),
            None => match (behaviour.short, pdu) {
                (Some(most), [head @ .., _, _]) if count > most => {
                    state.read(&[head, &most.to_be_bytes()].concat())
                }
                _ => state.read(pdu),
            },
        };
        let answer = answer.unwrap_or_else(|code| vec![function | 0x80, code]);
        (behaviour, answer)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn usual(&mut self) -> Behaviour {
        if let Some((behaviour, share, dice)) = &mut self.sometimes
            && dice.f64() < *share
        {
            return behaviour.clone();
        }
        self.behaviour.clone()
    }

    /// The answer to a read, or the exception code (Application Protocol V1.1b3, 6.1 to 6.4).
    fn read(&self, pdu: &[u8]) -> Result<Vec<u8>, u8> {
        let (table, most) = match pdu.first() {
            Some(1) => (Table::Coil, 2000),
            Some(2) => (Table::DiscreteInput, 2000),
            Some(3) => (Table::HoldingRegister, 125),
            Some(4) => (Table::InputRegister, 125),
            _ => return Err(1),
        };
        let &[function, a0, a1, c0, c1] = pdu else {
            return Err(3);
        };
        let (address, count) = (u16::from_be_bytes([a0, a1]), u16::from_be_bytes([c0, c1]));
        if !(1..=most).contains(&count) {
            return Err(3);
        }
        let last = address.checked_add(count - 1).ok_or(2)?;
        let is_hit = |(of, hole): &(Table, RangeInclusive<u16>)| {
            *of == table && *hole.start() <= last && address <= *hole.end()
        };
        if self.holes.iter().any(is_hit) {
            return Err(2);
        }
        let values: Option<Vec<u16>> = (address..=last)
            .map(|address| self.places.get(&(table, address)).copied())
            .collect();
        let values = values.ok_or(2)?;
        let data: Vec<u8> = if table.is_bits() {
            let byte = |bits: &[u16]| {
                let bits = bits.iter().zip(0_u32..);
                bits.fold(0, |sum, (&bit, place)| sum | u8::from(bit != 0) << place)
            };
            values.chunks(8).map(byte).collect()
        } else {
            values.iter().flat_map(|word| word.to_be_bytes()).collect()
        };
        let count = u8::try_from(data.len()).map_err(|_| 3)?;
        Ok([&[function, count], data.as_slice()].concat())
    }
}
