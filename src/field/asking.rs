//! What is asked next of a scan class, and what an answer or a refusal means for the rest of its scan; no I/O.
//!
//! A read that is refused as a whole (exception 2 or 3, or a short answer) is searched for the fault. What is found is
//! learned, and what the read should have given is planned anew around it, within the same scan: the points that can be
//! read have their values all the same.

use super::class::Class;
use super::error::{FieldError, Verdict};
use super::lessons::Lessons;
use super::modbus::client::Answer;
use super::modbus::frame::ReadRequest;
use super::modbus::plan::{Block, Place, parts};
use super::modbus::search::{Finding, Search};
use super::pass::{Job, Pass};
use crate::reading::Quality;

impl Class {
    /// The request that the scan needs now; `None`: nothing more.
    pub(super) fn next_request(&mut self, lessons: &Lessons, now_ns: u64) -> Option<ReadRequest> {
        let mut pass = self.pass.take()?;
        let request = self.next_of(&mut pass, lessons, now_ns);
        self.pass = Some(pass);
        request
    }

    fn next_of(&mut self, pass: &mut Pass, lessons: &Lessons, now_ns: u64) -> Option<ReadRequest> {
        if let Some(Ok(block)) = pass.search.as_ref().map(Search::next) {
            return self.request(&block);
        }
        while let Some(&job) = pass.jobs.front() {
            let request = match job {
                Job::Planned(home) => match self.blocks.get(home)?.resting(now_ns) {
                    Some(quality) => {
                        pass.set(Some(home), Err(quality));
                        None
                    }
                    None if self.is_outdated(home, lessons) => {
                        self.split(pass, home, lessons);
                        continue;
                    }
                    None => self.blocks.get(home)?.request.or_else(|| {
                        // No device could answer it: what the standard says to such a request.
                        self.note_trouble(pass, home, Quality::Exception(3));
                        None
                    }),
                },
                Job::Part { block, .. } => self.request(&block),
                Job::Again(hole) => {
                    ReadRequest::new(self.unit, hole.table, hole.address, hole.count)
                }
            };
            if request.is_some() {
                return request;
            }
            pass.jobs.pop_front();
        }
        None
    }

    /// Notes what the request of [`Class::next_request`] gave. Gives the block at which the device showed no sign of life,
    /// or the line broke: then nothing more is asked in this scan.
    pub(super) fn took(
        &mut self,
        result: Result<Answer, &FieldError>,
        lessons: &mut Lessons,
        now_ns: u64,
    ) -> Option<usize> {
        let mut pass = self.pass.take()?;
        let failed = match result {
            Ok(answer) => {
                pass.alive = true;
                self.answered(&mut pass, answer, lessons, now_ns);
                None
            }
            Err(error) => self.refused(&mut pass, error, lessons, now_ns),
        };
        self.pass = Some(pass);
        failed
    }

    fn answered(&mut self, pass: &mut Pass, answer: Answer, lessons: &mut Lessons, now_ns: u64) {
        if let Some(search) = &mut pass.search {
            if let Ok(block) = search.next() {
                pass.parts.push((block, answer));
                search.took(true);
            }
            return self.conclude(pass, lessons, now_ns);
        }
        match pass.jobs.pop_front() {
            Some(Job::Planned(home)) => {
                pass.set(Some(home), Ok(answer));
                if let Some(block) = self.blocks.get_mut(home) {
                    block.answered();
                    block.trouble = None;
                }
            }
            Some(Job::Part { block, .. }) => pass.parts.push((block, answer)),
            Some(Job::Again(hole)) => {
                lessons.tried(hole, true, now_ns);
                let block = Block {
                    table: hole.table,
                    address: hole.address,
                    count: hole.count,
                };
                pass.parts.push((block, answer));
            }
            None => {}
        }
    }

    fn refused(
        &mut self,
        pass: &mut Pass,
        error: &FieldError,
        lessons: &mut Lessons,
        now_ns: u64,
    ) -> Option<usize> {
        let &job = pass.jobs.front()?;
        let quality = error.quality();
        pass.alive |= error.verdict() == Verdict::Refused;
        if !pass.alive || error.verdict() == Verdict::Broken {
            pass.give_up(quality);
            return Some(job.home().unwrap_or(0));
        }
        let (home, block) = match job {
            Job::Again(hole) => {
                pass.jobs.pop_front();
                lessons.tried(hole, false, now_ns);
                return None;
            }
            Job::Planned(home) => (home, self.plan.blocks.get(home).copied()?),
            Job::Part { home, block } => (home, block),
        };
        if let (Job::Planned(_), Some(read)) = (job, self.blocks.get_mut(home)) {
            match error.verdict() {
                // The device is there, so it is this block that it passes over.
                Verdict::Silent => read.passed_over(now_ns),
                _ => read.answered(),
            }
        }
        match (error.lesson(), &mut pass.search) {
            (Some(_), Some(search)) => search.took(false),
            (Some(code), None) => {
                let parts = parts(&self.map, &self.plan.points, &block);
                pass.search = Some(Search::new(block, parts, code, pass.after_hole));
            }
            (None, _) => {
                pass.search = None;
                pass.jobs.pop_front();
                self.note_trouble(pass, home, quality);
                return None;
            }
        }
        self.conclude(pass, lessons, now_ns);
        None
    }

    /// Where the search has come to an end: learns what it found, and plans the rest of the block around it.
    fn conclude(&mut self, pass: &mut Pass, lessons: &mut Lessons, now_ns: u64) {
        let Some(Err(finding)) = pass.search.as_ref().map(Search::next) else {
            return;
        };
        let (Some(search), Some(home)) =
            (pass.search.take(), pass.jobs.front().and_then(|j| j.home()))
        else {
            return;
        };
        pass.after_hole = search.is_at_beginning();
        match finding {
            // Even one point by itself comes too short: that is no hole, that is not Modbus.
            Finding::Hole(_) if search.was_short() => {
                pass.jobs.pop_front();
                self.note_trouble(pass, home, Quality::Crc);
                return;
            }
            Finding::Hole(hole) => {
                let points = self.points_in(&hole);
                if !points.is_empty() {
                    let quality = Quality::Exception(hole.exception);
                    pass.lost.push((points, quality));
                }
            }
            Finding::Limit(_) => {}
        }
        lessons.learn(search.table(), finding, now_ns);
        self.split(pass, home, lessons);
    }

    /// Plans anew what is still missing of the block `home`.
    fn split(&self, pass: &mut Pass, home: usize, lessons: &Lessons) {
        pass.jobs.retain(|job| job.home() != Some(home));
        let is_missing = |place: usize| {
            let Some(placed) = self.plan.points.get(place) else {
                return false;
            };
            let point = self.map.points.get(placed.point);
            matches!(placed.place, Place::Read { block, .. } if block == home)
                && point.is_some_and(|point| pass.part_of(point).is_none())
        };
        let known = lessons.known();
        let rest = self.plan.rest(&self.map, is_missing, &self.cost, known);
        for block in rest.into_iter().rev() {
            pass.jobs.push_front(Job::Part { home, block });
        }
    }

    /// Whether more is known by now than when the block was planned, and it would be refused.
    fn is_outdated(&self, home: usize, lessons: &Lessons) -> bool {
        let known = lessons.known();
        self.generation != lessons.generation()
            && self.plan.blocks.get(home).is_some_and(|block| {
                block.count > known.limit(&self.map, block.table)
                    || known
                        .hole(block.table, block.address.into(), block.end())
                        .is_some()
            })
    }

    fn note_trouble(&mut self, pass: &mut Pass, home: usize, quality: Quality) {
        pass.set(Some(home), Err(quality));
        let points = self.points_of(home);
        if let Some(block) = self.blocks.get_mut(home)
            && block.trouble.replace(quality) != Some(quality)
        {
            pass.lost.push((points, quality));
        }
    }

    fn request(&self, block: &Block) -> Option<ReadRequest> {
        ReadRequest::new(self.unit, block.table, block.address, block.count)
    }
}
