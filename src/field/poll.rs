//! Reading the scans of the devices, and noticing when a device falls silent or comes back.

use std::time::Duration;

use super::device::{Class, Results};
use super::error::{FieldError, Verdict};
use super::modbus::client::{Client, Manner};
use super::session::{Session, SessionEnd};
use super::status::Counters;
use crate::reading::{Clock, Event, EventName, Name, Quality, Stamp};

impl Session {
    /// Reads and tells one scan.
    pub(super) async fn scan(
        &mut self,
        client: &mut Client,
        index: usize,
        class: usize,
    ) -> Result<(), SessionEnd> {
        let (Some(device), Some(status)) =
            (self.devices.get_mut(index), self.status.devices.get(index))
        else {
            return Ok(());
        };
        if let Some(quality) = device.silent {
            self.put_missing(index, class, quality);
            return Ok(());
        }
        let Some(read) = device.classes.get_mut(class) else {
            return Ok(());
        };
        let began = self.clock.now();
        let mut pass = Pass::new(&self.clock, client, &device.manner, &status.counters);
        pass.read(read).await;
        let Pass {
            results,
            events,
            failure,
            ..
        } = pass;
        let ended = self.clock.now();
        let first_answer = failure.is_none() && !device.seen;
        let end = failure
            .as_ref()
            .and_then(|(_, error)| SessionEnd::of(error));
        let name = device.name.clone();
        if end.is_none() {
            self.came_up(ended);
            match &failure {
                Some((block, error)) => self.fell_silent(index, (class, *block), error, ended),
                None if first_answer => self.came_back(index, ended),
                None => {}
            }
        }
        for (points, quality) in events {
            self.unreadable(&name, &points, quality);
        }
        // After the line was noted as back, so that the scan that shows it is complete.
        let read = self.devices.get_mut(index);
        let read = read.and_then(|device| device.classes.get_mut(class));
        if let Some(scan) = read.and_then(|read| read.scan(&results, ended.boot_ns)) {
            self.put(began.midpoint(ended), scan);
        }
        self.schedule.served(index, class, ended);
        end.map_or(Ok(()), Err)
    }

    /// Asks a silent device for one block; when it answers, all its classes are due.
    pub(super) async fn probe(
        &mut self,
        client: &mut Client,
        index: usize,
    ) -> Result<(), SessionEnd> {
        let (Some(device), Some(status)) =
            (self.devices.get_mut(index), self.status.devices.get(index))
        else {
            return Ok(());
        };
        let Some((class, block, request)) = device.next_probe() else {
            self.probing.answered(index);
            return Ok(());
        };
        let manner = Manner {
            retries: 0,
            offline: true,
            ..device.manner
        };
        let began = self.clock.now();
        let result = client.read(request, &manner, &status.counters).await;
        let now = self.clock.now();
        if let Some(end) = result.as_ref().err().and_then(SessionEnd::of) {
            return Err(end);
        }
        self.came_up(now);
        match result {
            Err(error) if error.verdict() == Verdict::Silent => {
                if let Some(device) = self.devices.get_mut(index) {
                    device.silent = Some(error.quality());
                }
                let took = Duration::from_nanos(now.boot_ns.saturating_sub(began.boot_ns));
                let mut others = self.status.devices.iter().enumerate();
                let others = others.any(|(other, device)| other != index && device.online.get());
                self.probing.failed(index, took, others, now.boot_ns);
            }
            _ => {
                self.acquit_or_rest(index, (class, block), now);
                self.came_back(index, now);
            }
        }
        Ok(())
    }

    /// A silent device answered a probe of `probed`: where it fell silent at another block, that block is at fault.
    fn acquit_or_rest(&mut self, index: usize, probed: (usize, usize), now: Stamp) {
        let Some(device) = self.devices.get_mut(index) else {
            return;
        };
        let quality = device.silent.unwrap_or(Quality::Timeout);
        let Some((class, block)) = device.suspect.take().filter(|&suspect| suspect != probed)
        else {
            return;
        };
        let name = device.name.clone();
        let Some(class) = device.classes.get_mut(class) else {
            return;
        };
        let points = class.points_of(block);
        if let Some(block) = class.blocks.get_mut(block) {
            block.passed_over(now.boot_ns);
            if block.trouble.replace(quality) != Some(quality) {
                self.unreadable(&name, &points, quality);
            }
        }
    }

    fn fell_silent(&mut self, index: usize, at: (usize, usize), error: &FieldError, now: Stamp) {
        let (Some(device), Some(status)) =
            (self.devices.get_mut(index), self.status.devices.get(index))
        else {
            return;
        };
        device.silent = Some(error.quality());
        device.suspect = Some(at);
        device.seen = true;
        status.online.set(false);
        self.probing.fell_silent(index, now.boot_ns);
        let (name, line) = (device.name.clone(), &self.settings.name);
        let (answers, requests) = (
            status.counters.answers.get(),
            status.counters.requests.get(),
        );
        tracing::warn!(
            "device {name} on line {line} is offline: {error} ({answers} of {requests} requests answered so far)"
        );
        let event = Event::device(EventName::DeviceOffline, name);
        let event = event.text("cause", error.quality().to_string());
        self.tell(event.text("line", line.as_str()));
    }

    /// Notes that a device answers: for the first time, or again.
    fn came_back(&mut self, index: usize, now: Stamp) {
        let (Some(device), Some(status)) =
            (self.devices.get_mut(index), self.status.devices.get(index))
        else {
            return;
        };
        status.online.set(true);
        device.seen = true;
        if device.silent.take().is_none() {
            return;
        }
        self.probing.answered(index);
        device.forget_reports();
        self.schedule.at_once(index, now);
        let (name, line) = (device.name.clone(), &self.settings.name);
        tracing::info!("device {name} on line {line} is online");
        let event = Event::device(EventName::DeviceOnline, name);
        self.tell(event.text("line", line.as_str()));
    }

    fn unreadable(&self, device: &Name, points: &str, quality: Quality) {
        tracing::warn!("device {device}: cannot read {points}: {quality}");
        let event = Event::device(EventName::PointUnreadable, device.clone());
        let event = event.text("points", points);
        self.tell(event.text("quality", quality.to_string()));
    }
}

/// One pass over the blocks of a class.
struct Pass<'a> {
    clock: &'a Clock,
    client: &'a mut Client,
    manner: &'a Manner,
    counters: &'a Counters,
    results: Results,
    /// Points that cannot be read any more, and why.
    events: Vec<(String, Quality)>,
    /// The block at which the device gave no sign of life, or the line broke.
    failure: Option<(usize, FieldError)>,
    /// Whether the device answered anything in this pass.
    alive: bool,
}

impl<'a> Pass<'a> {
    fn new(
        clock: &'a Clock,
        client: &'a mut Client,
        manner: &'a Manner,
        counters: &'a Counters,
    ) -> Self {
        Self {
            clock,
            client,
            manner,
            counters,
            results: Vec::new(),
            events: Vec::new(),
            failure: None,
            alive: false,
        }
    }

    async fn read(&mut self, class: &mut Class) {
        class.wake(self.clock.now().boot_ns);
        for number in 0..class.blocks.len() {
            let result = match &self.failure {
                Some((_, error)) => Err(error.quality()),
                None => self.block(class, number).await,
            };
            self.results.push(result);
        }
    }

    async fn block(
        &mut self,
        class: &mut Class,
        number: usize,
    ) -> Result<super::modbus::client::Answer, Quality> {
        let now_ns = self.clock.now().boot_ns;
        let Some(block) = class.blocks.get_mut(number) else {
            return Err(Quality::Timeout);
        };
        if let Some(quality) = block.resting(now_ns) {
            return Err(quality);
        }
        let result = match block.request {
            Some(request) => self.client.read(request, self.manner, self.counters).await,
            // No device could answer it: what the standard says to such a request.
            None => Err(FieldError::Exception(3)),
        };
        let error = match result {
            Ok(answer) => {
                self.alive = true;
                block.answered();
                block.trouble = None;
                return Ok(answer);
            }
            Err(error) => error,
        };
        let quality = error.quality();
        match error.verdict() {
            Verdict::Refused => {
                self.alive = true;
                block.answered();
            }
            // The device is there, so it is this block that it passes over.
            Verdict::Silent if self.alive => block.passed_over(self.clock.now().boot_ns),
            Verdict::Silent | Verdict::Broken => {
                self.failure = Some((number, error));
                return Err(quality);
            }
        }
        if block.trouble.replace(quality) != Some(quality) {
            self.events.push((class.points_of(number), quality));
        }
        Err(quality)
    }
}
