//! Messages that are no records: copies of descriptions, the state of the gateway.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{Desk, Next};
use crate::forward::source::Source;
use crate::forward::window::{Lane, Parcel};
use crate::payload::{Greeting, Status};
use crate::reading::{Body, Catalogue, Record, Schema};
use crate::upstream::message::{Address, Message};

impl<S: Source> Desk<S> {
    /// The codec's greetings to a new connection.
    pub(in crate::forward) fn greetings(&mut self) -> VecDeque<Greeting> {
        let (_, now) = self.now();
        let catalogue = self.catalogue.borrow_and_update().clone();
        let ours = catalogue
            .iter()
            .filter(|description| self.filter.admits_device(&description.device));
        self.codec.open(&Catalogue::new(ours.cloned()), now).into()
    }

    /// A greeting as a message.
    pub(in crate::forward) fn greet(&mut self, lane: Lane, greeting: &Greeting) -> Message {
        let address = self.router.of_description(&greeting.description);
        self.described.went(&greeting.description);
        self.copy(lane, address, greeting.payload.clone(), true)
    }

    /// What a scan's schema tells of its device, as a message: of a map that is not the current one.
    fn sketch(&mut self, lane: Lane, schema: &Schema) -> Message {
        let (_, now) = self.now();
        let address = self.router.of_sketch(schema);
        self.described.was_sketched(schema);
        let payload = self.codec.sketch(schema, now);
        self.copy(lane, address, payload, false)
    }

    fn copy(&mut self, lane: Lane, address: Address, payload: Bytes, retain: bool) -> Message {
        let (moment, _) = self.now();
        let size = payload.len() + address.key.len();
        self.rates.take(false, size as u64, moment);
        Message {
            token: self.window.submit(lane, Parcel::Copy, moment),
            address,
            payload,
            retain,
            content_type: self.codec.content_type(),
            expires_in: None,
            properties: None,
        }
    }

    /// The state of the gateway as a message, where it is told.
    pub(in crate::forward) fn say(&mut self, status: Status) -> Option<Message> {
        let address = self.router.of_status()?;
        let (moment, now) = self.now();
        // A will is given away long before its time.
        let now = (status != Status::Lost).then_some(now);
        let lane = self.window.lanes().next()?;
        Some(Message {
            token: match status {
                Status::Lost => 0,
                _ => self.window.submit(lane, Parcel::Status, moment),
            },
            address,
            payload: self.codec.status(&self.name, status, now),
            retain: true,
            content_type: self.codec.content_type(),
            expires_in: None,
            properties: None,
        })
    }

    /// Descriptions that were out are to be sent again.
    pub(in crate::forward) fn undescribe(&mut self) {
        self.described.failed();
    }

    /// What must go before a scan: its device's description, unless it went already. That of an older map lies before the
    /// scan in the backlog. Where it was passed over or is gone, the scan's own schema stands for it.
    pub(super) fn describe(&mut self, lane: Lane, record: &Record) -> Option<Next> {
        let Body::Scan(scan) = &record.body else {
            return None;
        };
        if self.window.is_describing() {
            return Some(Next::Wait);
        }
        self.described.proved();
        let schema = &scan.schema;
        if self.described.has(&schema.device, schema.map) {
            return None;
        }
        if !self.window.takes_copies() {
            return None;
        }
        let current = self.catalogue.borrow().of(&schema.device).cloned();
        match current {
            Some(description) if description.map == schema.map => {
                let greeting = self.codec.copy(&description, self.now.1);
                Some(Next::Before(self.greet(lane, &greeting)))
            }
            // Its description lies in the backlog, and so does the scan then.
            _ if lane == Lane::Live => Some(self.leave(record.seq)),
            Some(_) if !self.described.has_sketch(schema) => {
                Some(Next::Before(self.sketch(lane, schema)))
            }
            // The device is not configured any more: whoever gets it has been told what it was.
            _ => None,
        }
    }
}
