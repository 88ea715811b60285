//! What goes wrong with acknowledgements: how a proxy treats the n-th coming of a record.

use std::collections::HashMap;

use serde_json::Value;

use super::Fault;
use crate::harness::tamper::Treatment;

/// By number of the record, and how often it came before.
pub(super) type Answers = fn(seq: u64, before: u32) -> Treatment;

/// Where the fault is one of acknowledgements. In the end all records are taken.
pub(super) fn to(fault: Fault) -> Option<Answers> {
    use Treatment::{AckLater, Close, Pass, Refuse, Swallow};
    match fault {
        Fault::SwappedAnswers => Some(|seq, before| match (seq % 3, before) {
            (0, 0) => AckLater,
            _ => Pass,
        }),
        Fault::NoAnswers => Some(|seq, before| match (seq % 30, before) {
            (0, 0) => Swallow,
            _ => Pass,
        }),
        Fault::Failures => Some(|seq, before| match (seq % 10, before) {
            (0, 0 | 1) => Refuse,
            _ => Pass,
        }),
        Fault::ClosedByRecords => Some(|seq, before| match (seq % 10, before) {
            (0, 0) => Close,
            _ => Pass,
        }),
        Fault::MixedAnswers => Some(|seq, before| match (mixed(seq, before) % 40, before) {
            // In the end it is taken, and before so many closings make a dead letter.
            (_, 4..) => Pass,
            (0, _) => Swallow,
            (1, _) => Close,
            (2..5, _) => Refuse,
            (5..15, _) => AckLater,
            _ => Pass,
        }),
        _ => None,
    }
}

/// The same for the same coming of the same record, and without any pattern (SplitMix64).
fn mixed(seq: u64, before: u32) -> u64 {
    let mut mixed = (seq << 8 | u64::from(before)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ mixed >> 31
}

/// The script of it. What is no record passes.
pub(super) fn script(answers: Answers) -> impl FnMut(&[u8]) -> Treatment + Send {
    let mut times: HashMap<u64, u32> = HashMap::new();
    move |payload| {
        let message: Value = serde_json::from_slice(payload).unwrap();
        let Some(seq) = message["seq"].as_u64() else {
            return Treatment::Pass;
        };
        let before = times.entry(seq).or_default();
        *before += 1;
        answers(seq, *before - 1)
    }
}
