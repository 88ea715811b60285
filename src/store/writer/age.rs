//! `max_age`: what is too old goes, as far as its age can be known.

use std::time::{Duration, Instant};

use super::Writer;
use super::retention::LOOK_EVERY;
use crate::reading::Stamp;
use crate::store::block::Header;
use crate::store::engine::EngineError;
use crate::store::reader;
use crate::store::recovery::header_of;

/// While the clock is not synchronised it is looked at again after this.
const UNSURE: Duration = Duration::from_secs(60);
/// The age is looked at again after this at the latest: a clock that became synchronised tells that of earlier records.
const LOOK_WITHIN: Duration = Duration::from_secs(3600);

impl Writer {
    /// Drops what is older than `max_age`.
    pub(super) fn bound_age(&mut self) -> Result<(), EngineError> {
        let Some(most) = self.settings.max_age else {
            return Ok(());
        };
        let now = self.clock.now();
        let (end, look) = self.too_old(now, most)?;
        self.drop_while("max_age", |header, _| header.end() <= end)?;
        self.room.age = Some(Instant::now() + look);
        Ok(())
    }

    /// The `seq` behind the last record that is certainly older than `most`, and after what time to look again.
    ///
    /// A record whose own time is not known was read before those that follow it: where one of those is too old, so is it.
    fn too_old(&self, now: Stamp, most: Duration) -> Result<(u64, Duration), EngineError> {
        let Some(earliest) = self.shared.state().clocks.earliest(now) else {
            return Ok((0, UNSURE));
        };
        let oldest = earliest.saturating_sub(i64::try_from(most.as_nanos()).unwrap_or(i64::MAX));
        let (mut end, mut next) = (0, self.shared.state().floor);
        // Nothing goes meanwhile whose space this could keep: only the writer lets blocks go.
        for block in self.shared.engine()?.blocks(next) {
            let (first, value) = block?;
            let header = header_of(&value)
                .ok_or_else(|| EngineError::Damaged(format!("the block at {first}")))?;
            if header.end() <= next {
                continue;
            }
            next = header.end();
            match self.latest(&header, &value) {
                // A time to come is a wrong one.
                Some(latest) if (oldest..=earliest).contains(&latest) => {
                    let left = u64::try_from(latest.saturating_sub(oldest)).unwrap_or(0);
                    let look = Duration::from_nanos(left).clamp(LOOK_EVERY, LOOK_WITHIN);
                    return Ok((end, look));
                }
                Some(latest) if latest < oldest => end = header.end(),
                _ => (),
            }
            self.shared.set_busy(true);
        }
        Ok((end, most.clamp(LOOK_EVERY, LOOK_WITHIN)))
    }

    /// The latest time in a block; `None`: it is not known of all its records.
    fn latest(&self, header: &Header, value: &[u8]) -> Option<i64> {
        if header.synced() {
            return Some(header.latest);
        }
        let records = reader::decode(&self.shared, value)?;
        let state = self.shared.state();
        let times = records.iter().map(|record| {
            let known = state.clocks.truth(record.stamp);
            known.synced.then_some(known.wall_ns)
        });
        times.collect::<Option<Vec<i64>>>()?.into_iter().max()
    }
}
