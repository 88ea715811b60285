//! When the embedded broker is away. Pure.

use std::str::FromStr;
use std::time::Duration;

use crate::support::units::parse_duration;

/// The broker is there for a while, away for a while, and so on; or always there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outages(Option<(Duration, Duration)>);

impl Outages {
    /// Whether it is away `elapsed` after the start, and how long that lasts from there; `None`: there are no outages.
    pub(super) fn at(self, elapsed: Duration) -> Option<(bool, Duration)> {
        let (away, there) = self.0?;
        let cycle = (away + there).as_nanos().max(1);
        let into = Duration::from_nanos(u64::try_from(elapsed.as_nanos() % cycle).unwrap_or(0));
        Some(if into < there {
            (false, there - into)
        } else {
            (true, away + there - into)
        })
    }
}

impl FromStr for Outages {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(None));
        }
        let (away, there) = text
            .split_once('/')
            .ok_or("two durations are wanted, such as 20s/40s, or none")?;
        let part = |text| parse_duration(text).map_err(|error| error.to_string());
        Ok(Self(Some((part(away)?, part(there)?))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_broker_goes_and_comes() {
        let outages: Outages = "20s/40s".parse().unwrap();
        let at = |seconds| outages.at(Duration::from_secs(seconds)).unwrap();
        assert_eq!(at(0), (false, Duration::from_secs(40)));
        assert_eq!(at(39), (false, Duration::from_secs(1)));
        assert_eq!(at(40), (true, Duration::from_secs(20)));
        assert_eq!(at(59), (true, Duration::from_secs(1)));
        assert_eq!(at(61), (false, Duration::from_secs(39)));
        assert_eq!("none".parse::<Outages>().unwrap().at(Duration::ZERO), None);
        assert!("20s".parse::<Outages>().is_err());
    }
}
