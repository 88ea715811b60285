//! What a read was refused for: found by bisecting it once; pure.
//!
//! Sought is the shortest beginning of the read that is refused. Each request halves what is left, and as it begins where
//! the read began, the longest beginning that was answered holds the values of everything before the fault.

use super::known::Hole;
use super::map::Table;
use super::plan::Block;

/// Looks for the first fault in a read that was refused.
#[derive(Debug)]
pub struct Search {
    block: Block,
    /// What the read can be split into, by address.
    parts: Vec<(u32, u32)>,
    /// The exception code of the first refusal; `None`: the answer was too short.
    code: Option<u8>,
    /// So many parts from the first on can be read together.
    good: usize,
    /// So many cannot.
    bad: usize,
    /// Whether the first part is to be tried by itself first.
    first: bool,
    step: Step,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// A beginning of the read, of so many parts.
    Beginning(usize),
    /// The first part behind the longest good beginning, by itself.
    Single,
    /// That part and the one before it.
    Pair,
    Done(Finding),
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// These places cannot be read, or not be read over.
    Hole(Hole),
    /// No more than so many places can be read at once.
    Limit(u16),
}

impl Search {
    /// A search in `block`, which was refused with the exception `code` (`None`: with a short answer) and can be split into
    /// `parts`. `after_hole`: what is just before it was refused too, so that its first part is tried first.
    pub fn new(block: Block, parts: Vec<(u32, u32)>, code: Option<u8>, after_hole: bool) -> Self {
        let mut this = Self {
            block,
            bad: parts.len(),
            parts,
            code,
            good: 0,
            first: after_hole,
            step: Step::Single,
        };
        this.advance();
        this
    }

    /// The read that tells more, or what was found.
    pub fn next(&self) -> Result<Block, Finding> {
        let run = match self.step {
            Step::Done(finding) => return Err(finding),
            Step::Beginning(parts) => self.hull(0, parts),
            Step::Single => self.hull(self.good, self.good + 1),
            Step::Pair => self.hull(self.good.saturating_sub(1), self.good + 1),
        };
        run.ok_or_else(|| self.hole_of(self.block.address.into(), self.block.end()))
    }

    /// Whether the fault is at the very beginning of the read.
    pub fn is_at_beginning(&self) -> bool {
        self.good == 0
    }

    /// Whether the read was answered, but too short.
    pub fn was_short(&self) -> bool {
        self.code.is_none()
    }

    /// The table that is searched.
    pub fn table(&self) -> Table {
        self.block.table
    }

    /// Notes whether that read was answered.
    pub fn took(&mut self, answered: bool) {
        match (self.step, answered) {
            (Step::Beginning(parts), true) => self.good = parts,
            (Step::Beginning(parts), false) => self.bad = parts,
            (Step::Single, false) => return self.found_part(),
            (Step::Single, true) => return self.found_seam(),
            (Step::Pair, true) => return self.found_limit(),
            (Step::Pair, false) => return self.found_gap(),
            (Step::Done(_), _) => return,
        }
        self.advance();
    }

    fn advance(&mut self) {
        self.step = match self.bad - self.good.min(self.bad) {
            0 | 1 if self.good == 0 => return self.found_part(),
            0 | 1 => Step::Single,
            _ if std::mem::take(&mut self.first) => Step::Beginning(1),
            _ => Step::Beginning((self.good + self.bad) / 2),
        };
    }

    /// The part itself cannot be read.
    fn found_part(&mut self) {
        let whole = (self.block.address.into(), self.block.end());
        let (first, end) = self.parts.get(self.good).copied().unwrap_or(whole);
        self.step = Step::Done(self.hole_of(first, end));
    }

    /// The part can be read, but not together with what is before it: the fault is between them, or the read too long.
    /// An illegal address with places between that nobody has named is theirs; else a short read across tells.
    fn found_seam(&mut self) {
        let is_gap = self.gap().is_some_and(|(first, end)| first < end);
        match (self.code, self.good) {
            (Some(2), _) if is_gap => self.found_gap(),
            // The short read across is the one that was refused.
            (Some(2), 1) => self.found_gap(),
            (_, 1) => self.found_limit(),
            _ => self.step = Step::Pair,
        }
    }

    fn found_gap(&mut self) {
        if let Some((first, end)) = self.gap() {
            self.step = Step::Done(self.hole_of(first, end.max(first)));
        }
    }

    fn found_limit(&mut self) {
        if let Some((first, end)) = self.span(0, self.good) {
            let places = u16::try_from(end - first).unwrap_or(u16::MAX);
            self.step = Step::Done(Finding::Limit(places));
        }
    }

    /// What lies between the longest good beginning and the part behind it.
    fn gap(&self) -> Option<(u32, u32)> {
        let (_, end) = self.parts.get(self.good.checked_sub(1)?)?;
        let (next, _) = self.parts.get(self.good)?;
        Some((*end, *next))
    }

    fn hole_of(&self, first: u32, end: u32) -> Finding {
        Finding::Hole(Hole {
            table: self.block.table,
            address: first.try_into().unwrap_or(u16::MAX),
            count: (end - first).try_into().unwrap_or(u16::MAX),
            exception: self.code.unwrap_or(3),
        })
    }

    fn span(&self, from: usize, to: usize) -> Option<(u32, u32)> {
        let (first, _) = self.parts.get(from)?;
        let (_, end) = self.parts.get(to.checked_sub(1)?)?;
        Some((*first, *end))
    }

    fn hull(&self, from: usize, to: usize) -> Option<Block> {
        Block::new(self.block.table, self.span(from, to)?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a device refuses.
    struct Device {
        bad: Vec<u32>,
        seams: Vec<u32>,
        most: u32,
        code: Option<u8>,
    }

    impl Device {
        fn answers(&self, block: &Block) -> bool {
            let (first, end) = (u32::from(block.address), block.end());
            !self.bad.iter().any(|place| (first..end).contains(place))
                && !self.seams.iter().any(|&seam| first < seam && seam < end)
                && end - first <= self.most
        }

        /// What is found in a read of `parts`, and by how many requests.
        fn search(&self, parts: &[(u32, u32)], after_hole: bool) -> (Finding, u32) {
            let block = Block::new(
                Table::HoldingRegister,
                (parts[0].0, parts[parts.len() - 1].1),
            );
            let mut search = Search::new(block.unwrap(), parts.to_vec(), self.code, after_hole);
            let mut requests = 0;
            loop {
                match search.next() {
                    Err(finding) => return (finding, requests),
                    Ok(block) => search.took(self.answers(&block)),
                }
                requests += 1;
            }
        }
    }

    fn singles(count: u32) -> Vec<(u32, u32)> {
        (0..count).map(|at| (at, at + 1)).collect()
    }

    fn hole(address: u16, count: u16, exception: u8) -> Finding {
        Finding::Hole(Hole {
            table: Table::HoldingRegister,
            address,
            count,
            exception,
        })
    }

    fn fine() -> Device {
        Device {
            bad: Vec::new(),
            seams: Vec::new(),
            most: 125,
            code: Some(2),
        }
    }

    #[test]
    fn one_bad_place_is_found_in_log2_requests_and_one() {
        for count in 1..=125_u32 {
            for bad in 0..count {
                let device = Device {
                    bad: vec![bad],
                    ..fine()
                };
                let (found, requests) = device.search(&singles(count), false);
                assert_eq!(found, hole(bad.try_into().unwrap(), 1, 2));
                assert!(
                    requests <= count.next_power_of_two().ilog2() + 1,
                    "{bad} of {count}: {requests}"
                );
            }
        }
    }

    #[test]
    fn a_gap_a_seam_and_a_limit_are_told_apart() {
        let gap = Device {
            bad: vec![12],
            ..fine()
        };
        let parts: Vec<_> = (0..10).map(|n| (n * 5, n * 5 + 2)).collect();
        assert_eq!(gap.search(&parts, false).0, hole(12, 3, 2));
        let seam = Device {
            seams: vec![7],
            ..fine()
        };
        assert_eq!(seam.search(&singles(20), false).0, hole(7, 0, 2));
        for code in [Some(2), Some(3), None] {
            let limit = Device {
                most: 10,
                code,
                ..fine()
            };
            assert_eq!(limit.search(&singles(60), false).0, Finding::Limit(10));
        }
        let gap = Device {
            bad: vec![12],
            code: Some(3),
            ..fine()
        };
        assert_eq!(gap.search(&parts, false).0, hole(12, 3, 3));
        let wide = Device {
            most: 6,
            code: Some(3),
            ..fine()
        };
        let parts: Vec<_> = (0..5).map(|n| (n * 4, n * 4 + 4)).collect();
        assert_eq!(wide.search(&parts, false).0, Finding::Limit(4));
    }

    #[test]
    fn a_run_of_bad_places_is_walked() {
        let device = Device {
            bad: (0..50).collect(),
            ..fine()
        };
        assert_eq!(device.search(&singles(60), true), (hole(0, 1, 2), 1));
    }

    proptest! {
        #[test]
        fn a_search_ends_and_names_a_place_that_is_bad(bad in prop::collection::btree_set(0..60_u32, 1..20), after: bool) {
            let device = Device { bad: bad.iter().copied().collect(), ..fine() };
            let (found, requests) = device.search(&singles(60), after);
            let first = *bad.first().unwrap();
            prop_assert_eq!(found, hole(first.try_into().unwrap(), 1, 2));
            prop_assert!(requests <= 8);
        }
    }
}
