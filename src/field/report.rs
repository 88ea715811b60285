//! Report by exception: which readings of a scan are worth sending; pure.

use crate::field::modbus::map::{Change, ReportRule};
use crate::reading::{Decimal, Reading, Value};

/// What of one scan class was sent last, and by which rules the next readings count as changes.
#[derive(Debug)]
pub struct Reporter {
    rules: Vec<Option<ReportRule>>,
    last: Vec<Reading>,
    /// When the last complete scan was sent.
    full_ns: u64,
    /// Shortest heartbeat; `None`: no rules, every scan is complete.
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
    /// A reporter for points with these rules, in the order of the readings.
    pub fn new(rules: Vec<Option<ReportRule>>) -> Self {
        let shortest = rules.iter().flatten().map(|rule| rule.heartbeat).min();
        Self {
            last: Vec::new(),
            full_ns: 0,
            heartbeat_ns: shortest.map(|d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)),
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
                let keep = rule.is_none_or(|rule| has_changed(rule.change, last, &reading));
                keep.then(|| last.clone_from(&reading))?;
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

fn has_changed(change: Change, last: &Reading, new: &Reading) -> bool {
    if last.quality() != new.quality() {
        return true;
    }
    let (Some(last), Some(new)) = (last.value(), new.value()) else {
        return false;
    };
    let bound = match change {
        Change::Any => return last != new,
        Change::Absolute(bound) => Some(bound),
        Change::Percent(share) => number(last)
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

fn number(value: &Value) -> Option<Decimal> {
    match value {
        Value::Int(number) => Some(Decimal::from(*number)),
        Value::UInt(number) => Some(Decimal::from(*number)),
        Value::F32(number) => Decimal::from_f32(*number),
        Value::F64(number) => Decimal::from_f64(*number),
        Value::Bool(_) | Value::Text(_) | Value::Texts(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::reading::Quality;

    fn rule(change: Change) -> Option<ReportRule> {
        Some(ReportRule {
            change,
            heartbeat: Duration::from_secs(60),
        })
    }

    fn value(number: f64) -> Vec<Reading> {
        vec![Reading::good(Value::F64(number))]
    }

    /// Which of `numbers`, a second apart, are sent.
    fn sent(change: Change, numbers: &[f64]) -> Vec<f64> {
        let mut reporter = Reporter::new(vec![rule(change)]);
        let scans = numbers.iter().enumerate();
        scans
            .filter(|&(second, &number)| {
                let now = u64::try_from(second).unwrap() * 1_000_000_000;
                reporter.report(value(number), now).is_some()
            })
            .map(|(_, &number)| number)
            .collect()
    }

    #[test]
    fn a_change_is_more_than_the_deadband_from_what_was_sent_last() {
        let half = Change::Absolute("0.5".parse().unwrap());
        assert_eq!(
            sent(half, &[230.1, 230.6, 230.7, 230.3, 230.1]),
            [230.1, 230.7, 230.1]
        );
        let percent = Change::Percent("1".parse().unwrap());
        assert_eq!(
            sent(percent, &[100.0, 101.0, 101.1, 100.2, 99.0]),
            [100.0, 101.1, 99.0]
        );
        assert_eq!(sent(percent, &[0.0, 0.0, 1e-9]), [0.0, 1e-9]);
        assert_eq!(sent(Change::Any, &[1.0, 1.0, 2.0, 2.0]), [1.0, 2.0]);
    }

    #[test]
    fn quality_changes_always_pass() {
        let mut reporter = Reporter::new(vec![rule(Change::Absolute("1000".parse().unwrap()))]);
        assert!(reporter.report(value(1.0), 0).unwrap().full);
        let missing = || vec![Reading::missing(Quality::Timeout)];
        let report = reporter.report(missing(), 1).unwrap();
        assert!(!report.full);
        assert_eq!(reporter.report(missing(), 2), None);
        assert!(reporter.report(value(1.0), 3).is_some());
    }

    #[test]
    fn a_heartbeat_and_a_return_make_a_full_scan() {
        let mut reporter = Reporter::new(vec![rule(Change::Any), None]);
        let scan = || vec![Reading::good(Value::Int(1)), Reading::good(Value::Int(2))];
        assert!(reporter.report(scan(), 0).unwrap().full);
        let second = reporter.report(scan(), 1).unwrap();
        assert_eq!(second.readings, [None, Some(Reading::good(Value::Int(2)))]);
        assert!(reporter.report(scan(), 60_000_000_000).unwrap().full);
        reporter.forget();
        assert!(reporter.report(scan(), 60_000_000_001).unwrap().full);
    }

    #[test]
    fn without_rules_every_scan_is_complete_and_unmarked() {
        let mut reporter = Reporter::new(vec![None]);
        for now in 0..3 {
            let report = reporter.report(value(1.0), now).unwrap();
            assert!(!report.full && report.readings[0].is_some());
        }
    }
}
