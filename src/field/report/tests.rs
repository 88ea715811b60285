//! What a consumer knows after each scan, by example and for any readings.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::reading::Quality;

const SECOND: u64 = 1_000_000_000;

fn rule(change: Change) -> Option<ReportRule> {
    Some(ReportRule {
        change,
        heartbeat: Duration::from_secs(60),
    })
}

fn decimal(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn reporter(rules: Vec<Option<ReportRule>>) -> Reporter {
    Reporter::new(rules, Some(Duration::from_secs(1)))
}

fn value(number: f64) -> Vec<Reading> {
    vec![Reading::good(Value::F64(number))]
}

/// Which of `numbers`, a second apart, are sent.
fn sent(change: Change, numbers: &[f64]) -> Vec<f64> {
    let mut reporter = reporter(vec![rule(change)]);
    let scans = numbers.iter().zip(0_u64..);
    scans
        .filter(|&(&number, second)| reporter.report(value(number), second * SECOND).is_some())
        .map(|(&number, _)| number)
        .collect()
}

#[test]
fn a_change_is_more_than_the_deadband_from_what_was_sent_last() {
    let half = Change::Absolute(decimal("0.5"));
    assert_eq!(
        sent(half, &[230.1, 230.6, 230.7, 230.3, 230.1]),
        [230.1, 230.7, 230.1]
    );
    assert_eq!(sent(Change::Any, &[1.0, 1.0, 2.0, 2.0]), [1.0, 2.0]);
}

#[test]
fn a_slow_drift_is_told_when_it_has_left_the_deadband() {
    let one = Change::Absolute(decimal("1"));
    let drift: Vec<f64> = (0..50).map(|step| f64::from(step) * 0.25).collect();
    assert_eq!(sent(one, &drift).len(), 10);
}

#[test]
fn a_percentage_is_of_the_value_sent_last() {
    let percent = Change::Percent(decimal("1"));
    assert_eq!(
        sent(percent, &[100.0, 101.0, 101.1, 100.2, 99.0]),
        [100.0, 101.1, 99.0]
    );
    assert_eq!(sent(percent, &[-100.0, -101.0, -101.1]), [-100.0, -101.1]);
    assert_eq!(sent(percent, &[0.0, 0.0, 1e-9]), [0.0, 1e-9]);
}

#[test]
fn quality_changes_always_pass() {
    let mut reporter = reporter(vec![rule(Change::Absolute(decimal("1000")))]);
    assert!(reporter.report(value(1.0), 0).unwrap().full);
    let outside = || vec![Reading::with_quality(Value::F64(1.0), Quality::OutOfRange)];
    let steps = [
        vec![Reading::missing(Quality::Timeout)],
        vec![Reading::missing(Quality::Crc)],
        outside(),
        value(1.0),
    ];
    for (step, now) in steps.into_iter().zip(1..) {
        let report = reporter.report(step.clone(), now).unwrap();
        assert!(!report.full);
        assert_eq!(report.readings, [Some(step[0].clone())]);
        assert_eq!(reporter.report(step, now), None, "told once");
    }
}

#[test]
fn a_device_that_is_away_says_so_once_even_where_some_points_have_no_rule() {
    let mut reporter = reporter(vec![rule(Change::Any), None]);
    let scan = || vec![Reading::good(Value::Int(1)), Reading::good(Value::Int(2))];
    let away = || vec![Reading::missing(Quality::Timeout); 2];
    assert!(reporter.report(scan(), 0).unwrap().full);
    let gone = reporter.report(away(), SECOND).unwrap();
    assert!(gone.readings.iter().all(Option::is_some) && !gone.full);
    for second in 2..60 {
        assert_eq!(reporter.report(away(), second * SECOND), None);
    }
    assert!(reporter.report(away(), 60 * SECOND).unwrap().full);
}

#[test]
fn a_heartbeat_and_a_return_make_a_complete_scan() {
    let mut reporter = reporter(vec![rule(Change::Any), None]);
    let scan = || vec![Reading::good(Value::Int(1)), Reading::good(Value::Int(2))];
    assert!(reporter.report(scan(), 0).unwrap().full);
    let second = reporter.report(scan(), SECOND).unwrap();
    assert_eq!(second.readings, [None, Some(Reading::good(Value::Int(2)))]);
    assert!(!second.full);
    let late = 60 * SECOND + 3_000_000;
    assert!(reporter.report(scan(), late).unwrap().full);
    let early = 120 * SECOND - 3_000_000;
    assert!(reporter.report(scan(), early).unwrap().full, "jitter");
    reporter.forget();
    assert!(reporter.report(scan(), early + 1).unwrap().full);
}

#[test]
fn the_shortest_heartbeat_is_that_of_the_class() {
    let short = Some(ReportRule {
        change: Change::Any,
        heartbeat: Duration::from_secs(10),
    });
    let mut reporter = reporter(vec![rule(Change::Any), short]);
    let scan = || vec![Reading::good(Value::Int(1)); 2];
    let full = (0..40_u64).filter(|second| {
        let report = reporter.report(scan(), second * SECOND);
        report.is_some_and(|report| report.full)
    });
    assert_eq!(full.collect::<Vec<_>>(), [0, 10, 20, 30]);
}

#[test]
fn without_rules_every_scan_is_complete_and_unmarked() {
    let mut reporter = reporter(vec![None]);
    for now in 0..3 {
        let report = reporter.report(value(1.0), now).unwrap();
        assert!(!report.full && report.readings[0].is_some());
    }
}

/// What a consumer knows of a point: the last reading that was sent.
fn known(view: &mut [Option<Reading>], report: &Report) {
    for (known, new) in view.iter_mut().zip(&report.readings) {
        if new.is_some() {
            known.clone_from(new);
        }
    }
}

fn any_reading() -> impl Strategy<Value = Reading> {
    prop_oneof![
        (-300_i64..300).prop_map(|n| Reading::good(Value::Int(n))),
        (-3.0..3.0).prop_map(|n| Reading::good(Value::F64(n))),
        any::<bool>().prop_map(|bit| Reading::good(Value::Bool(bit))),
        (-300_i64..300).prop_map(|n| Reading::with_quality(Value::Int(n), Quality::OutOfRange)),
        Just(Reading::missing(Quality::Timeout)),
        Just(Reading::missing(Quality::Exception(2))),
    ]
}

fn any_rule() -> impl Strategy<Value = Option<ReportRule>> {
    let change = prop_oneof![
        Just(Change::Any),
        (0_i64..50).prop_map(|n| Change::Absolute(Decimal::from(n))),
        (0_i64..50).prop_map(|n| Change::Percent(Decimal::from(n))),
    ];
    proptest::option::weighted(0.8, change.prop_map(|change| rule(change).unwrap()))
}

/// How far apart the rule lets the known and the true value be.
fn within(rule: Option<ReportRule>, known: ValueRef<'_>, is: ValueRef<'_>) -> bool {
    let as_f64 = |value| number(value).map(Decimal::to_f64);
    let bound = match rule.map(|rule| rule.change) {
        None | Some(Change::Any) => return known == is,
        Some(Change::Absolute(bound)) => bound.to_f64(),
        Some(Change::Percent(share)) => share.to_f64() / 100.0 * as_f64(known).unwrap_or(0.0).abs(),
    };
    match as_f64(known).zip(as_f64(is)) {
        Some((known, is)) => (known - is).abs() <= bound + 1e-9,
        None => known == is,
    }
}

proptest! {
    #[test]
    fn a_consumer_always_knows_the_quality_and_the_value_within_the_deadband(
        rules in vec(any_rule(), 3),
        scans in vec((vec(any_reading(), 3), 0_u64..90, any::<bool>()), 1..60),
    ) {
        let ruled = rules.iter().any(Option::is_some);
        let mut reporter = reporter(rules.clone());
        let mut view = vec![None; 3];
        let mut now = 0;
        let mut full_at = None;
        for (readings, seconds, returned) in scans {
            now += seconds * SECOND;
            if returned {
                reporter.forget();
            }
            let report = reporter.report(readings.clone(), now);
            let due = full_at.is_none_or(|at| now - at >= 60 * SECOND) || returned;
            if let Some(report) = &report {
                prop_assert!(report.readings.iter().any(Option::is_some));
                known(&mut view, report);
                if report.full {
                    full_at = Some(now);
                    prop_assert_eq!(report.readings.iter().flatten().count(), 3);
                }
            }
            if ruled {
                prop_assert!(!due || report.as_ref().is_some_and(|report| report.full));
            } else {
                prop_assert!(report.is_some_and(|report| !report.full));
            }
            for ((rule, known), is) in rules.iter().zip(&view).zip(&readings) {
                let known = known.as_ref().unwrap();
                prop_assert_eq!(known.quality(), is.quality());
                match (known.value(), is.value()) {
                    (Some(known), Some(is)) => prop_assert!(within(*rule, known, is)),
                    (known, is) => prop_assert_eq!(known, is),
                }
            }
        }
    }
}
