//! Report by exception: which readings of a scan are worth sending; pure.
//!
//! A consumer that keeps the last report of each point always knows its quality exactly and its value within the
//! deadband: what is left out has not changed since it was sent.

use std::time::Duration;

use crate::field::modbus::map::{Change, ReportRule};
use crate::reading::{Decimal, Reading, Value, ValueRef};

/// What of one scan class was sent last, and by which rules the next readings count as changes.
#[derive(Debug)]
pub struct Reporter {
    rules: Vec<Option<ReportRule>>,
    last: Vec<Reading>,
    /// When the last complete scan was sent.
    full_ns: u64,
    /// So long after a complete scan the next one is due; `None`: no rules, every scan is complete.
    heartbeat_ns: Option<u64>,
}

/// What is sent of a scan.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The readings; `None`: unchanged.
    pub readings: Vec<Option<Reading>>,
    /// A complete scan where others are not.
    pub full: bool,
}

impl Reporter {
    /// A reporter for points with these rules, in the order of the readings, that are read every `period` (`None`: at
    /// each connect only). The shortest heartbeat of the points is that of the class: it makes the whole scan complete.
    pub fn new(rules: Vec<Option<ReportRule>>, period: Option<Duration>) -> Self {
        let shortest = rules.iter().flatten().map(|rule| rule.heartbeat).min();
        // Scans come a little early or late: without this half, the heartbeat of a jittering scan would slip to the
        // next one.
        let early = period.unwrap_or_default() / 2;
        let due = shortest.map(|heartbeat| heartbeat.saturating_sub(early));
        Self {
            last: Vec::new(),
            full_ns: 0,
            heartbeat_ns: due.map(|due| u64::try_from(due.as_nanos()).unwrap_or(u64::MAX)),
            rules,
        }
    }

    /// The next scan is complete: the device has come back.
    pub fn forget(&mut self) {
        self.last.clear();
    }

    /// Picks what is sent of `readings`, read at `now_ns`; `None`: nothing has changed.
    pub fn report(&mut self, readings: Vec<Reading>, now_ns: u64) -> Option<Report> {
        let Some(heartbeat) = self.heartbeat_ns else {
            return Some(Report {
                readings: readings.into_iter().map(Some).collect(),
                full: false,
            });
        };
        if self.last.len() != readings.len() || now_ns.saturating_sub(self.full_ns) >= heartbeat {
            self.full_ns = now_ns;
            self.last.clone_from(&readings);
            return Some(Report {
                readings: readings.into_iter().map(Some).collect(),
                full: true,
            });
        }
        let places = self.rules.iter().zip(&mut self.last).zip(readings);
        let readings: Vec<_> = places
            .map(|((rule, last), reading)| {
                let change = rule.map(|rule| rule.change);
                is_news(change, last, &reading).then(|| last.clone_from(&reading))?;
                Some(reading)
            })
            .collect();
        let any = readings.iter().any(Option::is_some);
        any.then_some(Report {
            readings,
            full: false,
        })
    }
}

/// Whether `new` is sent where `last` was; a point without a rule (`None`) is sent with every scan that has a value for
/// it. A null says nothing new the second time, so a device that is away is silent here too.
fn is_news(change: Option<Change>, last: &Reading, new: &Reading) -> bool {
    if last.quality() != new.quality() {
        return true;
    }
    let (Some(last), Some(new)) = (last.value(), new.value()) else {
        return false;
    };
    let bound = match change {
        None => return true,
        Some(Change::Any) => return last != new,
        Some(Change::Absolute(bound)) => Some(bound),
        Some(Change::Percent(share)) => number(last)
            .and_then(|last| last.abs().checked_mul(share))
            .and_then(|bound| bound.checked_mul(Decimal::new(1, -2))),
    };
    let distance = number(last).zip(number(new));
    let distance = distance.and_then(|(last, new)| Some(new.checked_sub(last)?.abs()));
    match (distance, bound) {
        (Some(distance), Some(bound)) => distance > bound,
        // Not numbers, or so far apart that the digits do not suffice.
        _ => last != new,
    }
}

fn number(value: ValueRef<'_>) -> Option<Decimal> {
    match value {
        Value::Int(number) => Some(Decimal::from(number)),
        Value::UInt(number) => Some(Decimal::from(number)),
        Value::F32(number) => Decimal::from_f32(number),
        Value::F64(number) => Decimal::from_f64(number),
        Value::Bool(_) | Value::Text(_) | Value::Texts(_) => None,
    }
}

#[cfg(test)]
mod tests;
