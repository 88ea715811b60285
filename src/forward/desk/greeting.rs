//! Messages that are no records: copies of descriptions, the state of the gateway.

use std::collections::VecDeque;

use super::{Desk, Next};
use crate::forward::source::Source;
use crate::forward::window::{Lane, Parcel};
use crate::payload::{Greeting, Status};
use crate::reading::{Body, Catalogue, Record};
use crate::upstream::message::Message;

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
        let (moment, _) = self.now();
        let address = self.router.of_description(&greeting.description);
        let size = greeting.payload.len() + address.key.len();
        self.rates.take(false, size as u64, moment);
        self.described.went(&greeting.description);
        Message {
            token: self.window.submit(lane, Parcel::Copy, moment),
            address,
            payload: greeting.payload.clone(),
            retain: true,
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

    /// What must go before a scan: its device's description, unless it went already.
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
        match current.filter(|description| description.map == schema.map) {
            Some(description) => {
                let greeting = self.codec.copy(&description, self.now.1);
                Some(Next::Before(self.greet(lane, &greeting)))
            }
            // It lies in the backlog, and so does the scan then.
            None if lane == Lane::Live => Some(self.leave(record.seq)),
            // It went before the scan in this lane, or is known to nobody any more.
            None => None,
        }
    }
}
