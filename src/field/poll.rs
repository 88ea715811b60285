//! Reading the scans of the devices, and noticing when a device falls silent or comes back.

use std::time::Duration;

use super::error::{FieldError, Verdict};
use super::identifying::Finding;
use super::modbus::client::{Answer, Client, Manner};
use super::modbus::frame::ReadRequest;
use super::schedule::Took;
use super::session::{Session, SessionEnd};
use crate::reading::{Detail, Event, EventName, Name, Quality, Stamp};

impl Session {
    /// Takes the scan of a class one request further, and tells it when it is complete.
    pub(super) async fn step(
        &mut self,
        client: &mut Client,
        index: usize,
        class: usize,
    ) -> Result<(), SessionEnd> {
        let began = self.clock.now();
        let (Some(device), Some(status)) =
            (self.devices.get_mut(index), self.status.devices.get(index))
        else {
            return Ok(());
        };
        if let Some(quality) = device.silent {
            self.give_up(index, class, quality);
            return Ok(());
        }
        if let Some(request) = device.identifying.due(began.boot_ns) {
            return self.identify(client, (index, class), request).await;
        }
        if device.identifying.is_wrong() {
            self.give_up(index, class, Quality::WrongDevice);
            return Ok(());
        }
        device.adapt(&self.settings.transport, &status.counters.answer_times);
        let Some(request) = device.next_request(class, began) else {
            self.finish(index, class);
            return Ok(());
        };
        let counters = &status.counters;
        let result = client.read(request, &device.manner, counters).await;
        let now = self.clock.now();
        device.spent(class, elapsed(began, now));
        let (failed, error) = match result {
            Ok(answer) => (device.took(class, Ok(answer), now), None),
            Err(error) => (device.took(class, Err(&error), now), Some(error)),
        };
        let end = error.as_ref().and_then(SessionEnd::of);
        if end.is_none() {
            self.came_up(now);
            match (failed, error) {
                (Some(block), Some(error)) => {
                    self.fell_silent(index, Some((class, block)), &error, now);
                }
                _ => self.was_seen(index, now),
            }
        }
        let device = self.devices.get_mut(index);
        let more = device.and_then(|device| device.next_request(class, now));
        if more.is_none() {
            self.finish(index, class);
        }
        end.map_or(Ok(()), Err)
    }

    /// Asks a device whether it is the one that its map describes, before the scan of a class. Its turn comes again then;
    /// where it does not say, that scan has no values.
    async fn identify(
        &mut self,
        client: &mut Client,
        (index, class): (usize, usize),
        request: ReadRequest,
    ) -> Result<(), SessionEnd> {
        let (Some(device), Some(status)) =
            (self.devices.get(index), self.status.devices.get(index))
        else {
            return Ok(());
        };
        let result = client.read(request, &device.manner, &status.counters).await;
        let now = self.clock.now();
        if let Some(end) = result.as_ref().err().and_then(SessionEnd::of) {
            return Err(end);
        }
        self.came_up(now);
        if let Err(error) = &result
            && error.verdict() == Verdict::Silent
        {
            self.give_up(index, class, error.quality());
            self.fell_silent(index, None, error, now);
            return Ok(());
        }
        self.was_seen(index, now);
        if self.judge(index, &result, now) == Finding::Nothing {
            let quality = result.err().map_or(Quality::Crc, |error| error.quality());
            self.give_up(index, class, quality);
        }
        Ok(())
    }

    /// Notes what a device says that it is, and tells where it is another than was known.
    fn judge(&mut self, index: usize, result: &Result<Answer, FieldError>, now: Stamp) -> Finding {
        let Some(device) = self.devices.get_mut(index) else {
            return Finding::Nothing;
        };
        let finding = device.identifying.took(result, now.boot_ns);
        let (name, line) = (device.name.clone(), &self.settings.name);
        let expected = device.identifying.expected();
        let event = Event::device(EventName::DeviceWrong, name.clone())
            .text("line", line.as_str())
            .text("expected", &expected);
        match &finding {
            Finding::Wrong { found, news: true } => {
                tracing::warn!(
                    "device {name} on line {line} is not what its map describes: {expected}, there it is {found}"
                );
                self.tell(event.text("found", found));
            }
            Finding::Right { again: true } => {
                tracing::info!("device {name} on line {line} is what its map describes again");
                device.forget_reports();
                self.schedule.at_once(index, now);
                self.tell(event.with("over", Detail::Bool(true)));
            }
            Finding::Wrong { .. } | Finding::Right { .. } | Finding::Nothing => {}
        }
        finding
    }

    /// Tells the scan of a class, with what was read of it.
    fn finish(&mut self, index: usize, class: usize) {
        let now = self.clock.now();
        let Some(device) = self.devices.get_mut(index) else {
            return;
        };
        let known = device.lessons.known();
        let read = device.classes.get_mut(class);
        let pass = read.and_then(|class| Some((class.pass.take()?, class)));
        let mut took = Took::Unknown;
        if let Some((pass, class)) = pass {
            took = pass.took();
            let scan = class.scan(&pass, known, now.boot_ns);
            let name = device.name.clone();
            for (points, quality) in coalesced(&pass.lost) {
                self.unreadable(&name, &points, quality);
            }
            if let Some(scan) = scan {
                self.put(pass.began.midpoint(now), scan);
            }
        }
        self.keep_lessons(index);
        self.schedule.served(index, class, took, now);
        self.tell_overload();
    }

    /// Ends the scan of a class: what was not read of it is missing with `quality`.
    pub(super) fn give_up(&mut self, index: usize, class: usize, quality: Quality) {
        let device = self.devices.get_mut(index);
        let read = device.and_then(|device| device.classes.get_mut(class));
        match read.and_then(|class| class.pass.as_mut()) {
            Some(pass) => {
                pass.give_up(quality);
                self.finish(index, class);
            }
            None => self.put_missing(index, class, quality),
        }
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
        let began = self.clock.now();
        // One that fell silent at this must show that it answers it.
        let identity = device.identifying.due(began.boot_ns);
        let probe = match identity {
            Some(request) => Some((None, request)),
            None => device.next_probe().map(|(at, request)| (Some(at), request)),
        };
        let Some((at, request)) = probe else {
            self.probing.answered(index);
            return Ok(());
        };
        let manner = Manner {
            retries: 0,
            offline: true,
            ..device.manner
        };
        let result = client.read(request, &manner, &status.counters).await;
        let now = self.clock.now();
        if let Some(end) = result.as_ref().err().and_then(SessionEnd::of) {
            return Err(end);
        }
        self.came_up(now);
        match &result {
            Err(error) if error.verdict() == Verdict::Silent => {
                if let Some(device) = self.devices.get_mut(index) {
                    device.silent = Some(error.quality());
                }
                let took = elapsed(began, now);
                let mut others = self.status.devices.iter().enumerate();
                let others = others.any(|(other, device)| other != index && device.online.get());
                self.probing.failed(index, took, others, now.boot_ns);
            }
            _ => {
                if let Some(at) = at {
                    self.acquit_or_rest(index, at, now);
                }
                self.came_back(index, now);
                if at.is_none() {
                    self.judge(index, &result, now);
                }
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

    /// `at`: the class and block at which it did; `None`: when it was asked what it is.
    fn fell_silent(
        &mut self,
        index: usize,
        at: Option<(usize, usize)>,
        error: &FieldError,
        now: Stamp,
    ) {
        let (Some(device), Some(status)) =
            (self.devices.get_mut(index), self.status.devices.get(index))
        else {
            return;
        };
        device.silent = Some(error.quality());
        device.suspect = at;
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

    /// Notes that a device has answered in a scan.
    fn was_seen(&mut self, index: usize, now: Stamp) {
        if self.devices.get(index).is_some_and(|device| !device.seen) {
            self.came_back(index, now);
        }
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
        // Another one may have taken its place.
        device.identifying.forget();
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

fn elapsed(began: Stamp, now: Stamp) -> Duration {
    Duration::from_nanos(now.boot_ns.saturating_sub(began.boot_ns))
}

/// The points that are missing for one reason in one text.
fn coalesced(lost: &[(String, Quality)]) -> Vec<(String, Quality)> {
    let mut all: Vec<(String, Quality)> = Vec::new();
    for (points, quality) in lost {
        match all.iter_mut().find(|(_, other)| other == quality) {
            Some((names, _)) => {
                names.push_str(", ");
                names.push_str(points);
            }
            None => all.push((points.clone(), *quality)),
        }
    }
    all
}
