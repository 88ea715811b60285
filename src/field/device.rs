//! A device as its line sees it: what is read of it, and how it last did. No I/O.

use std::sync::Arc;
use std::time::Duration;

use super::class::Class;
use super::error::FieldError;
use super::identifying::Identifying;
use super::lessons::Lessons;
use super::modbus::client::{Answer, Manner};
use super::modbus::cost::ReadCost;
use super::modbus::frame::ReadRequest;
use super::settings::{DeviceSettings, LineSettings, Transport};
use super::status::AnswerTimes;
use crate::reading::{Description, Name, Quality, Stamp};

/// A device of a line.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) name: Name,
    pub(super) enabled: bool,
    pub(super) manner: Manner,
    pub(super) description: Arc<Description>,
    pub(super) classes: Vec<Class>,
    pub(super) lessons: Lessons,
    pub(super) identifying: Identifying,
    /// What its reads take on the line, and the answer time that this is reckoned with, once that is known.
    cost: ReadCost,
    answer_time: Option<Duration>,
    delay: Duration,
    /// How often it was asked.
    asked: u64,
    /// Why it does not answer; `None`: it does, or was never asked.
    pub(super) silent: Option<Quality>,
    /// Whether it has ever answered.
    pub(super) seen: bool,
    /// Which block it is probed with next: one that the device does not know must not hide it.
    pub(super) probe: usize,
    /// The class and block at which it fell silent.
    pub(super) suspect: Option<(usize, usize)>,
}

/// Answers from which the answer time is known.
const ENOUGH: u64 = 16;

/// After so many requests it is looked at again; before, with each power of two.
const ADAPT_EVERY: u64 = 1024;

impl Device {
    pub(super) fn new(line: &LineSettings, settings: &DeviceSettings) -> Self {
        let cost = ReadCost::typical(&line.transport, settings.delay);
        let class = |(name, &period)| Class::new(line, settings, (name, period), cost);
        Self {
            name: settings.name.clone(),
            enabled: settings.enabled,
            manner: Manner {
                timeout: settings.timeout.unwrap_or(line.timeout),
                retries: settings.retries.unwrap_or(line.retries),
                delay: settings.delay,
                lenient: settings.map.quirks.lenient_transaction_id,
                offline: false,
            },
            description: Arc::clone(&settings.description),
            classes: settings.scans.iter().filter_map(class).collect(),
            lessons: Lessons::default(),
            identifying: Identifying::new(settings.map.identity.clone(), settings.unit),
            cost,
            answer_time: None,
            delay: settings.delay,
            asked: 0,
            silent: None,
            seen: false,
            probe: 0,
            suspect: None,
        }
    }

    /// The class and block that it is probed with now.
    pub(super) fn next_probe(&mut self) -> Option<((usize, usize), ReadRequest)> {
        let classes = self.classes.iter().enumerate();
        let blocks = classes.flat_map(|(number, class)| {
            let blocks = class.blocks.iter().enumerate();
            blocks.filter_map(move |(block, read)| Some(((number, block), read.request?)))
        });
        let all: Vec<_> = blocks.collect();
        let turn = self.probe.checked_rem(all.len())?;
        self.probe = turn + 1;
        all.get(turn).copied()
    }

    /// Begins with what was learned of it in an earlier run.
    pub(super) fn remember(&mut self, lessons: Lessons, transport: &Transport) {
        if let Some(time) = lessons.known().answer_time {
            self.answer_time = Some(time);
            self.cost = ReadCost::new(transport, self.delay, time);
        }
        self.lessons = lessons;
    }

    /// The next scans are complete.
    pub(super) fn forget_reports(&mut self) {
        for class in &mut self.classes {
            class.forget_report();
        }
    }

    /// Reckons with the answer time as it was measured, where it is another than it was thought to be.
    pub(super) fn adapt(&mut self, transport: &Transport, times: &AnswerTimes) {
        // Counting all of them costs more than it is worth at every request.
        self.asked += 1;
        if !self.asked.is_power_of_two() && !self.asked.is_multiple_of(ADAPT_EVERY) {
            return;
        }
        let Some(measured) = times.within(50).filter(|_| times.count() >= ENOUGH) else {
            return;
        };
        let is_another = |before: Duration| before.abs_diff(measured) > before / 4;
        if self.answer_time.is_none_or(is_another) {
            self.answer_time = Some(measured);
            self.lessons.measured(measured);
            self.cost = ReadCost::new(transport, self.delay, measured);
        }
    }

    /// Notes what the scan of `class` has taken of the line's time.
    pub(super) fn spent(&mut self, class: usize, time: Duration) {
        let class = self.classes.get_mut(class);
        if let Some(pass) = class.and_then(|class| class.pass.as_mut()) {
            pass.busy += time;
        }
    }

    /// What the scan of `class` needs now; begins it, unless it has begun. `None`: nothing more.
    pub(super) fn next_request(&mut self, class: usize, now: Stamp) -> Option<ReadRequest> {
        let class = self.classes.get_mut(class)?;
        class.begin(&mut self.lessons, self.cost, now);
        class.next_request(&self.lessons, now.boot_ns)
    }

    /// Notes what that gave. Gives the block at which it showed no sign of life, or the line broke.
    pub(super) fn took(
        &mut self,
        class: usize,
        result: Result<Answer, &FieldError>,
        now: Stamp,
    ) -> Option<usize> {
        let class = self.classes.get_mut(class)?;
        class.took(result, &mut self.lessons, now.boot_ns)
    }
}
