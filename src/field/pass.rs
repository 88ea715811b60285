//! One scan being read: what is still to be asked, and what was answered. No I/O, so that other scans go in between.

use std::collections::VecDeque;
use std::time::Duration;

use super::modbus::client::Answer;
use super::modbus::decode::Places;
use super::modbus::known::Hole;
use super::modbus::map::Point;
use super::modbus::plan::Block;
use super::modbus::search::Search;
use super::schedule::Took;
use crate::reading::{Quality, Stamp};

/// What was asked and answered of one scan so far.
#[derive(Debug)]
pub(super) struct Pass {
    pub(super) began: Stamp,
    /// What is still to be asked.
    pub(super) jobs: VecDeque<Job>,
    /// What the blocks of the plan gave, in their order.
    pub(super) results: Vec<Result<Answer, Quality>>,
    /// What was answered beside them.
    pub(super) parts: Vec<(Block, Answer)>,
    /// Why the first job was refused is being looked for.
    pub(super) search: Option<Search>,
    /// The last hole was at the very beginning of what was refused: the next one may be beside it.
    pub(super) after_hole: bool,
    /// Points that cannot be read any more, and why.
    pub(super) lost: Vec<(String, Quality)>,
    /// Whether the device answered anything in this pass.
    pub(super) alive: bool,
    /// What it has taken of the line's time.
    pub(super) busy: Duration,
}

/// Something to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Job {
    /// A block of the plan.
    Planned(usize),
    /// Part of the block `home` of the plan, which was refused as a whole.
    Part { home: usize, block: Block },
    /// A hole, once more.
    Again(Hole),
}

impl Job {
    /// The block of the plan that it belongs to.
    pub(super) fn home(self) -> Option<usize> {
        match self {
            Self::Planned(home) | Self::Part { home, .. } => Some(home),
            Self::Again(_) => None,
        }
    }
}

impl Pass {
    /// A pass over so many blocks, and then over `again`: first of all the device shows that it is there.
    pub(super) fn new(blocks: usize, again: Option<Hole>, began: Stamp) -> Self {
        let jobs = (0..blocks).map(Job::Planned);
        Self {
            began,
            jobs: jobs.chain(again.map(Job::Again)).collect(),
            results: vec![Err(Quality::Timeout); blocks],
            parts: Vec::new(),
            search: None,
            after_hole: false,
            lost: Vec::new(),
            alive: false,
            busy: Duration::ZERO,
        }
    }

    /// What it took, where it was read as planned.
    pub(super) fn took(&self) -> Took {
        let failed = |result: &Result<Answer, Quality>| {
            matches!(
                result,
                Err(Quality::Timeout | Quality::Crc | Quality::NoConnection)
            )
        };
        if self.parts.is_empty() && !self.results.iter().any(failed) {
            Took::Time(self.busy)
        } else {
            Took::Unknown
        }
    }

    /// Nothing more is asked: what is still to come is missing with `quality`.
    pub(super) fn give_up(&mut self, quality: Quality) {
        for job in std::mem::take(&mut self.jobs) {
            self.set(job.home(), Err(quality));
        }
        self.search = None;
    }

    /// Notes what the block `home` of the plan gave.
    pub(super) fn set(&mut self, home: Option<usize>, result: Result<Answer, Quality>) {
        if let Some(place) = home.and_then(|home| self.results.get_mut(home)) {
            *place = result;
        }
    }

    /// Where `point` stands in what was answered beside the plan.
    pub(super) fn part_of(&self, point: &Point) -> Option<Places<'_>> {
        let first = u32::from(point.address);
        let end = first + u32::from(point.raw.width());
        let holds = |block: &Block| {
            block.table == point.table && u32::from(block.address) <= first && end <= block.end()
        };
        let (block, answer) = self.parts.iter().rev().find(|(block, _)| holds(block))?;
        places(answer, usize::from(point.address - block.address))
    }
}

/// The places of `answer` from `offset` on.
pub(super) fn places(answer: &Answer, offset: usize) -> Option<Places<'_>> {
    match answer {
        Answer::Registers(words) => words.get(offset..).map(Places::Registers),
        Answer::Bits(bits) => bits.get(offset).copied().map(Places::Bit),
    }
}
