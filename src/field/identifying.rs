//! Whether a device is the one that its map describes: asked at each connect, and when it has been away; no I/O.

use std::time::Duration;

use super::error::FieldError;
use super::modbus::client::Answer;
use super::modbus::frame::ReadRequest;
use super::modbus::identity::Identity;

/// What is known of a device's identity.
#[derive(Debug)]
pub(super) struct Identifying {
    /// `None`: the map has none, and any device will do.
    identity: Option<Identity>,
    unit: u8,
    /// It is what it should be.
    confirmed: bool,
    /// What it was told to be instead.
    wrong: Option<String>,
    /// A wrong one is asked again after this moment only (`boot_ns`).
    rest_until_ns: u64,
    rest: Duration,
}

/// What an answer says of a device.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// It is what it should be; `again`: after it was another.
    Right { again: bool },
    /// It is another; `news`: than was known.
    Wrong { found: String, news: bool },
    /// It did not say.
    Nothing,
}

/// A wrong device is asked again after so long at first, as a right one may have taken its place; it doubles.
const FIRST_REST: Duration = Duration::from_secs(10);
/// And at the latest after so long.
const MOST_REST: Duration = Duration::from_secs(60);

impl Identifying {
    /// Of the device `unit` with the map's `identity`.
    pub(super) fn new(identity: Option<Identity>, unit: u8) -> Self {
        Self {
            identity,
            unit,
            confirmed: false,
            wrong: None,
            rest_until_ns: 0,
            rest: FIRST_REST,
        }
    }

    /// What it must be, for people.
    pub(super) fn expected(&self) -> String {
        let identity = self.identity.as_ref();
        identity.map(Identity::to_string).unwrap_or_default()
    }

    /// It may be another by now.
    pub(super) fn forget(&mut self) {
        self.confirmed = false;
        self.rest_until_ns = 0;
        self.rest = FIRST_REST;
    }

    /// The request that must come before any other; `None`: it is known, or a wrong one is left alone for now.
    pub(super) fn due(&self, now_ns: u64) -> Option<ReadRequest> {
        if self.confirmed || now_ns < self.rest_until_ns {
            return None;
        }
        self.identity.as_ref()?.request(self.unit)
    }

    /// Whether it is known to be another.
    pub(super) fn is_wrong(&self) -> bool {
        !self.confirmed && self.wrong.is_some()
    }

    /// Notes what the request gave. A device that has no such register is another.
    pub(super) fn took(&mut self, result: &Result<Answer, FieldError>, now_ns: u64) -> Finding {
        let judged = match (result, &self.identity) {
            (Ok(Answer::Registers(words)), Some(identity)) => identity.judge(words),
            (Err(error @ FieldError::Exception(1..=3)), _) => Err(error.to_string()),
            _ => return Finding::Nothing,
        };
        match judged {
            Ok(()) => {
                self.confirmed = true;
                let again = self.wrong.take().is_some();
                Finding::Right { again }
            }
            Err(found) => {
                let rest = u64::try_from(self.rest.as_nanos()).unwrap_or(u64::MAX);
                self.rest_until_ns = now_ns.saturating_add(rest);
                self.rest = (self.rest * 2).min(MOST_REST);
                let news = self.wrong.as_ref() != Some(&found);
                self.wrong = Some(found.clone());
                Finding::Wrong { found, news }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::modbus::map::{Order, RawType, Table};
    use crate::reading::Value;

    const SECOND: u64 = 1_000_000_000;

    fn identifying() -> Identifying {
        let identity = Identity {
            table: Table::InputRegister,
            address: 11,
            raw: RawType::U16,
            order: Order::BIG,
            is: vec![Value::Int(341)],
        };
        Identifying::new(Some(identity), 7)
    }

    fn word(word: u16) -> Result<Answer, FieldError> {
        Ok(Answer::Registers(vec![word]))
    }

    #[test]
    fn a_right_device_is_asked_once_until_it_may_be_another() {
        let mut device = identifying();
        assert!(device.due(0).is_some());
        assert_eq!(device.took(&word(341), 0), Finding::Right { again: false });
        assert_eq!(device.due(u64::MAX), None);
        device.forget();
        assert!(device.due(0).is_some());
        let any = Identifying::new(None, 7);
        assert!(any.due(0).is_none() && !any.is_wrong());
    }

    #[test]
    fn a_wrong_device_is_told_once_and_asked_again_ever_less_often() {
        let mut device = identifying();
        let wrong = |news| Finding::Wrong {
            found: "9".to_owned(),
            news,
        };
        assert_eq!(device.took(&word(9), 0), wrong(true));
        assert!(device.is_wrong());
        assert!(device.due(9 * SECOND).is_none() && device.due(10 * SECOND).is_some());
        assert_eq!(device.took(&word(9), 10 * SECOND), wrong(false));
        assert!(device.due(29 * SECOND).is_none() && device.due(30 * SECOND).is_some());
        let refused = Err(FieldError::Exception(2));
        let finding = device.took(&refused, 30 * SECOND);
        assert!(matches!(finding, Finding::Wrong { news: true, .. }));
        let right = device.took(&word(341), 90 * SECOND);
        assert_eq!(right, Finding::Right { again: true });
        assert!(!device.is_wrong());
    }

    #[test]
    fn a_device_that_does_not_say_is_not_judged() {
        let mut device = identifying();
        for error in [
            FieldError::Timeout,
            FieldError::Short,
            FieldError::Exception(6),
        ] {
            assert_eq!(device.took(&Err(error), 0), Finding::Nothing);
        }
        assert!(!device.is_wrong() && device.due(0).is_some());
    }
}
