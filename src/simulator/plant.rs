//! Values that look like a plant: a press that works in cycles, an energy meter behind it. Pure functions of time, so
//! that every point of a device tells of the same moment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use super::device::SimulatedDevice;
use super::generator::Signal;
use crate::field::modbus::map::{DeviceMap, Names, Point, RawType, Scale};
use crate::reading::{PointKind, Value};

/// A device whose points move as those of a plant do.
#[derive(Debug, Clone)]
pub struct PlantDevice {
    device: SimulatedDevice,
    map: Arc<DeviceMap>,
    /// The points, by their index, that move by other rules.
    signals: BTreeMap<usize, Signal>,
}

/// How long a press cycle takes.
const CYCLE: f64 = 12.0;

impl PlantDevice {
    /// A device with the places of `map`.
    pub fn new(unit: u8, map: Arc<DeviceMap>) -> Self {
        Self::with(unit, map, BTreeMap::new())
    }

    /// The same, with points (by their index in the map) that move by these signals.
    pub fn with(unit: u8, map: Arc<DeviceMap>, signals: BTreeMap<usize, Signal>) -> Self {
        let mut this = Self {
            device: SimulatedDevice::of(unit, &map),
            map,
            signals,
        };
        this.show(Duration::ZERO);
        this
    }

    /// The device to be served.
    pub fn device(&self) -> &SimulatedDevice {
        &self.device
    }

    /// Sets all points to what they are `elapsed` after the start.
    pub fn show(&mut self, elapsed: Duration) {
        let mut values = BTreeMap::new();
        for (index, point) in self.map.points.iter().enumerate() {
            let value = match (self.signals.get_mut(&index), self.map.scaled_by(index)) {
                (Some(signal), _) => signal.next(elapsed),
                (None, Some((scaled, power))) => Value::Int(factor(scaled, power)),
                (None, None) => value(point, index, elapsed.as_secs_f64()),
            };
            values.insert(index, value);
        }
        for (index, point) in self.map.points.iter().enumerate() {
            let factor = match point.transform.scale {
                Some(Scale::Power10(factor) | Scale::Point(factor, _)) => values.get(&factor),
                _ => None,
            };
            if let Some(value) = values.get(&index) {
                self.device
                    .set_point(point, value, factor.and_then(Value::number));
            }
        }
    }

    /// Moves the points every `step` until dropped.
    pub async fn run(mut self, step: Duration) {
        let began = Instant::now();
        let mut ticks = tokio::time::interval(step);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            let tick = ticks.tick().await;
            self.show(tick.saturating_duration_since(began));
        }
    }
}

/// What the factor of `scaled` is: so that what a plant has fits into 16 bits, with the digits that devices usually give.
fn factor(scaled: &Point, power: bool) -> i64 {
    if !power {
        return 1;
    }
    match scaled.unit.as_deref().unwrap_or_default() {
        "W" | "VA" | "var" => 1,
        "Hz" | "" => -2,
        "Wh" => 0,
        _ => -1,
    }
}

/// What `point` shows `t` seconds after the start. The number of the point sets it apart from its neighbours: three
/// phases are not equal.
fn value(point: &Point, index: usize, t: f64) -> Value {
    let place = f64::from(u32::try_from(index % 16).unwrap_or(0));
    // Two slow waves that never meet again: alive, and the same in every run.
    let wave = (t / 7.3 + place).sin() * 0.6 + (t / 1.9 + 2.0 * place).sin() * 0.4;
    let cycle = Cycle::at(t);
    let name = point.name.as_str();
    let has = |part: &str| name.contains(part);
    match (&point.raw, &point.transform.names) {
        (_, Some(Names::Enum(names))) => {
            return names
                .get(cycle.step.min(names.len().saturating_sub(1)))
                .map_or(Value::Int(0), |(_, text)| Value::Text(text.as_str().into()));
        }
        (_, Some(Names::Flags(_))) => return Value::Texts(Box::new([])),
        (RawType::Bool, _) => return Value::Bool(cycle.step % 2 == index % 2),
        (RawType::Text(_), _) => return Value::Text("SIM-0001".into()),
        (RawType::DateTime(..), _) => return Value::Text("2026-01-01T00:00:00Z".into()),
        (RawType::Bytes(registers), _) => {
            return Value::Text("0".repeat(usize::from(*registers) * 4).into());
        }
        _ => {}
    }
    if point.transform.bits.is_some() {
        return Value::Int(i64::from(cycle.step % 2 == 1));
    }
    let number = match point.unit.as_deref().unwrap_or_default() {
        "V" if has("l1_l2") || has("l2_l3") || has("l3_l1") => 399.0 + 2.0 * wave,
        "V" => 230.4 + 1.2 * wave,
        "A" => 6.0 + 34.0 * cycle.load + 0.4 * wave,
        "kW" => 4.1 + 23.5 * cycle.load + 0.2 * wave,
        "W" | "VA" => 4_100.0 + 23_500.0 * cycle.load + 200.0 * wave,
        "var" => 900.0 + 3_000.0 * cycle.load + 80.0 * wave,
        "Hz" => 50.0 + 0.012 * wave,
        "kWh" => 18_240.0 + t * 11.0 / 3600.0,
        "Wh" => 18_240_000.0 + t * 11_000.0 / 3600.0,
        "°C" => 46.0 + 5.0 * cycle.load + 1.5 * wave,
        "bar" => 12.0 + 168.0 * cycle.load + 0.8 * wave,
        "kN" => 5.0 + 795.0 * cycle.load + 3.0 * wave,
        "mm" => 420.0 - 400.0 * cycle.stroke,
        "%" => 50.0 + 40.0 * wave,
        "s" => (t % CYCLE).floor(),
        _ if has("factor") => 0.91 + 0.04 * cycle.load,
        _ if matches!(point.kind, PointKind::Counter { .. }) || has("count") => {
            (t / CYCLE).floor() + 10_412.0
        }
        _ if has("scrap") || has("alarm") || has("fault") => 0.0,
        _ => (40.0 + 20.0 * wave).round(),
    };
    Value::F64(number)
}

/// Where the press is in its cycle.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Cycle {
    /// 0 open, 1 closing, 2 pressing, 3 opening.
    step: usize,
    /// How far the ram is down, 0 to 1.
    stroke: f64,
    /// How hard the drive works, 0 to 1.
    load: f64,
}

impl Cycle {
    fn at(t: f64) -> Self {
        let ramp = |from: f64, to: f64| ((t % CYCLE - from) / (to - from)).clamp(0.0, 1.0);
        let (closing, opening) = (ramp(3.0, 5.0), ramp(8.0, 10.0));
        let (building, releasing) = (ramp(5.0, 5.8), ramp(7.6, 8.0));
        let step = match t % CYCLE {
            3.0..5.0 => 1,
            5.0..8.0 => 2,
            8.0..10.0 => 3,
            _ => 0,
        };
        Self {
            step,
            stroke: closing - opening,
            load: 0.15 * (closing - building) + building - releasing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cycle_closes_presses_and_opens() {
        let at = Cycle::at;
        assert_eq!(
            (at(1.0).step, at(4.0).step, at(6.5).step, at(9.0).step),
            (0, 1, 2, 3)
        );
        assert_eq!(at(1.0).stroke, 0.0);
        assert_eq!(at(6.5).stroke, 1.0);
        assert!(at(6.5).load > 0.9 && at(9.5).load < 0.2);
        assert_eq!(at(1.0), at(1.0 + 5.0 * CYCLE));
    }
}
