//! Which records a command is about.

use std::ops::ControlFlow;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::failure::Failure;
use super::site::{self, Site};
use crate::forward::Filter;
use crate::reading::{Name, RangeSet, Record};
use crate::store::StoreError;
use crate::store::inspect::Inspection;
use crate::support::units::parse_duration;

/// Which records; without any of these, all in the store.
#[derive(Debug, clap::Args)]
pub(super) struct Selection {
    /// Only what this upstream has not confirmed, and would get
    #[arg(long, value_name = "NAME")]
    pub(super) upstream: Option<String>,
    /// From this `seq` on
    #[arg(long, value_name = "SEQ")]
    from: Option<u64>,
    /// Up to this `seq`
    #[arg(long, value_name = "SEQ")]
    to: Option<u64>,
    /// Only of devices that fit; `*` and `?` stand for any characters, commas between several
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    device: Vec<String>,
    /// Only what was read at this time or later: "2026-11-20T09:00:00Z", "2026-11-20", or "2h" for two hours ago; UTC
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    since: Option<i64>,
    /// Only what was read before this time
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    until: Option<i64>,
}

/// The selection, made for a store.
pub(super) struct Wanted {
    /// The upstream it is about.
    pub(super) upstream: Option<Name>,
    /// The first `seq` that is of interest.
    pub(super) from: u64,
    /// The last one.
    pub(super) to: u64,
    confirmed: RangeSet,
    /// What the upstream gets.
    admitted: Filter,
    devices: Option<Filter>,
    since: i64,
    until: i64,
}

impl Selection {
    /// Makes the selection for a store.
    ///
    /// # Errors
    /// The upstream is not known.
    pub(super) fn make(&self, site: &Site, inspection: &Inspection) -> Result<Wanted, Failure> {
        let name = self.upstream.as_deref().map(site::upstream_name);
        let upstream = name.transpose()?;
        let confirmed = match &upstream {
            None => RangeSet::new(),
            Some(name) => match inspection.confirmed(name) {
                Some(confirmed) => confirmed.clone(),
                None => return Err(site::unknown(name, inspection)),
            },
        };
        let configured = upstream.as_ref().and_then(|name| site.upstream(name));
        let admitted = configured.map(|settings| settings.devices.clone());
        let last = inspection.end().saturating_sub(1);
        Ok(Wanted {
            upstream,
            from: self.from.unwrap_or(0).max(inspection.floor()),
            to: self.to.map_or(last, |to| to.min(last)),
            confirmed,
            admitted: Filter::new(admitted.unwrap_or_default()),
            devices: (!self.device.is_empty()).then(|| Filter::new(self.device.clone())),
            since: self.since.unwrap_or(i64::MIN),
            until: self.until.unwrap_or(i64::MAX),
        })
    }
}

impl Wanted {
    fn wants(&self, record: &Record) -> bool {
        let time = record.stamp.wall_ns;
        // With devices named, the gateway's own events are not asked for.
        let of_device = self.devices.as_ref().is_none_or(|devices| {
            let device = record.body.device();
            device.is_some_and(|device| devices.admits_device(device))
        });
        of_device
            && time >= self.since
            && time < self.until
            && !self.confirmed.contains(record.seq)
            && self.admitted.admits(record)
    }

    /// Calls `visit` with every record that is wanted, in order, until it breaks off. `passed` learns now and then how far
    /// it has come.
    ///
    /// # Errors
    /// The disk cannot be read.
    pub(super) fn each<B>(
        &self,
        inspection: &mut Inspection,
        mut visit: impl FnMut(&Arc<Record>) -> ControlFlow<B>,
        mut passed: impl FnMut(u64),
    ) -> Result<Option<B>, StoreError> {
        let mut next = self.confirmed.first_missing(self.from);
        while next <= self.to {
            let records = inspection.read(next)?;
            let Some(last) = records.last().map(|last| last.seq) else {
                break;
            };
            for record in records.iter().filter(|record| record.seq <= self.to) {
                if self.wants(record)
                    && let ControlFlow::Break(end) = visit(record)
                {
                    return Ok(Some(end));
                }
            }
            next = self.confirmed.first_missing(last.saturating_add(1));
            passed(last);
        }
        Ok(None)
    }
}

/// A time as people write it, in nanoseconds since 1970.
pub(super) fn parse_time(text: &str) -> Result<i64, String> {
    if let Ok(ago) = parse_duration(text) {
        let ago = i64::try_from(ago.as_nanos()).unwrap_or(i64::MAX);
        return Ok(super::now().saturating_sub(ago));
    }
    let time = text.parse::<Timestamp>().or_else(|_| {
        let civil: DateTime = text.parse()?;
        Ok::<_, jiff::Error>(civil.to_zoned(TimeZone::UTC)?.timestamp())
    });
    let time = time.map_err(|_| {
        "neither a time, as in \"2026-11-20T09:00:00Z\", nor how long ago, as in \"2h\"".to_owned()
    })?;
    i64::try_from(time.as_nanosecond()).map_err(|_| "out of range".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_people_write_them() {
        let nine = 1_763_629_200_000_000_000;
        assert_eq!(parse_time("2025-11-20T09:00:00Z"), Ok(nine));
        assert_eq!(parse_time("2025-11-20T10:00:00+01:00"), Ok(nine));
        assert_eq!(parse_time("2025-11-20 09:00"), Ok(nine));
        assert_eq!(parse_time("2025-11-20"), Ok(nine - 9 * 3_600_000_000_000));
        let ago = super::super::now() - parse_time("2h").unwrap();
        assert!((7_199..7_260).contains(&(ago / 1_000_000_000)), "{ago}");
        assert!(parse_time("yesterday").is_err());
    }
}
