//! A device as its line sees it: what is read of it, and how it last did. No I/O.

use std::sync::Arc;

use super::class::Class;
use super::error::FieldError;
use super::lessons::Lessons;
use super::modbus::client::{Answer, Manner};
use super::modbus::cost::ReadCost;
use super::modbus::frame::ReadRequest;
use super::settings::{DeviceSettings, LineSettings};
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
    /// What its reads take on the line.
    cost: ReadCost,
    /// Why it does not answer; `None`: it does, or was never asked.
    pub(super) silent: Option<Quality>,
    /// Whether it has ever answered.
    pub(super) seen: bool,
    /// Which block it is probed with next: one that the device does not know must not hide it.
    pub(super) probe: usize,
    /// The class and block at which it fell silent.
    pub(super) suspect: Option<(usize, usize)>,
}

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
            cost,
            silent: None,
            seen: false,
            probe: 0,
            suspect: None,
        }
    }

    /// The block that it is probed with now: class, block, request.
    pub(super) fn next_probe(&mut self) -> Option<(usize, usize, ReadRequest)> {
        let classes = self.classes.iter().enumerate();
        let blocks = classes.flat_map(|(number, class)| {
            let blocks = class.blocks.iter().enumerate();
            blocks.filter_map(move |(block, read)| Some((number, block, read.request?)))
        });
        let all: Vec<_> = blocks.collect();
        let turn = self.probe.checked_rem(all.len())?;
        self.probe = turn + 1;
        all.get(turn).copied()
    }

    /// The next scans are complete.
    pub(super) fn forget_reports(&mut self) {
        for class in &mut self.classes {
            class.forget_report();
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
