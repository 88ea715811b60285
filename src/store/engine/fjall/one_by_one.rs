//! Reading blocks so that no more of them come from the disk than are asked for.
//!
//! fjall's ranges read ahead, each of their sources by itself: for the first value two more behind it, and the next one of
//! every level. Most readers want a single block. So the first is fetched by its key, and only whoever wants more gets a
//! range.

use std::ops::Bound::{Excluded, Unbounded};

use fjall::{AbstractTree, UserKey, UserValue};

use super::super::memory::number;
use super::super::{Blocks, EngineError, one_by_one};
use super::FjallEngine;
use super::errors::guarded;

/// What comes next.
enum Next {
    /// The block with the greatest key that is not above this.
    First(u64),
    /// What follows, in a range that nobody has asked for yet. It would keep the files of dropped tables.
    Behind(u64),
    /// What is left of the range.
    Of(fjall::Iter),
}

impl FjallEngine {
    /// [`super::Engine::blocks`].
    pub(super) fn blocks_from(&self, from: u64) -> Blocks<'_> {
        let mut next = Next::First(from);
        one_by_one(move || guarded(|| self.step(&mut next)))
    }

    fn step(&self, next: &mut Next) -> Result<Option<(u64, Vec<u8>)>, EngineError> {
        if let Next::First(from) = *next {
            if let Some((key, value)) = self.last_up_to(from)? {
                *next = Next::Behind(key);
                return Ok(Some((key, value.to_vec())));
            }
            *next = Next::Behind(from);
        }
        if let Next::Behind(key) = *next {
            let range = (Excluded(key.to_be_bytes()), Unbounded);
            *next = Next::Of(self.blocks.range(range));
        }
        let Next::Of(range) = next else {
            return Ok(None);
        };
        let Some((key, value)) = range.next().map(fjall::Guard::into_inner).transpose()? else {
            return Ok(None);
        };
        Ok(Some((number(&key)?, value.to_vec())))
    }

    /// The block with the greatest key that is not above `from`.
    fn last_up_to(&self, mut from: u64) -> Result<Option<(u64, UserValue)>, EngineError> {
        loop {
            // Whoever has read the block before knows the key of this one.
            if let Some(value) = self.blocks.get(from.to_be_bytes())? {
                return Ok(Some((from, value)));
            }
            let low = self.key_in_tables(from)?;
            let range = low.unwrap_or(0).to_be_bytes()..=from.to_be_bytes();
            if let Some(last) = self.blocks.range(range).next_back() {
                let (key, value) = last.into_inner()?;
                return Ok(Some((number(&key)?, value)));
            }
            // What the table has was taken out.
            let Some(below) = low.and_then(|low| low.checked_sub(1)) else {
                return Ok(None);
            };
            from = below;
        }
    }

    /// The greatest key in any table that is not above `from`, whether or not it was taken out since.
    fn key_in_tables(&self, from: u64) -> Result<Option<u64>, EngineError> {
        let (version, mut greatest) = (self.blocks.tree.current_version(), None);
        for table in version.iter_tables() {
            let range = &table.metadata.key_range;
            let (first, last) = (number(range.min())?, number(range.max())?);
            let key = if last <= from {
                Some(last)
            } else if first <= from {
                let mut up_to = table.range(..=UserKey::from(from.to_be_bytes()));
                let found = up_to.next_back().transpose()?;
                found.map(|found| number(&found.key.user_key)).transpose()?
            } else {
                None
            };
            greatest = greatest.max(key);
        }
        Ok(greatest)
    }
}
