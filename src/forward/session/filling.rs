//! What a connection is given, as long as there is room.

use tokio::time::Instant;

use super::{Pause, Session};
use crate::forward::desk::Next;
use crate::forward::source::Source;
use crate::upstream::error::UpstreamError;
use crate::upstream::message::Message;

impl<S: Source> Session<'_, S> {
    /// Submits as much as there is room for.
    pub(super) fn fill(&mut self) -> Result<(), UpstreamError> {
        self.throttled = None;
        self.held = false;
        self.say()?;
        if self.pause.is_some() {
            return Ok(());
        }
        self.greet()?;
        // Only what is sent while this holds may come again after a crash, beside what is out.
        self.held = !self.desk.source.may_send(&self.desk.name);
        if self.held {
            return Ok(());
        }
        for index in 0..self.feeds.len() {
            while let Some(message) = self.next_of(index) {
                self.desk.count.submitted += 1;
                self.connection.submit(message)?;
            }
        }
        Ok(())
    }

    /// Tells of coming, and of going once all else is answered.
    fn say(&mut self) -> Result<(), UpstreamError> {
        let leaving = matches!(self.pause, Some(Pause::Leaving(_)));
        if self.pause.is_none() || leaving && self.desk.window.is_empty() {
            let status = self.say.take().filter(|_| self.desk.window.takes_copies());
            if let Some(message) = status.and_then(|status| self.desk.say(status)) {
                self.desk.count.submitted += 1;
                self.connection.submit(message)?;
            }
        }
        Ok(())
    }

    fn greet(&mut self) -> Result<(), UpstreamError> {
        let Some(feed) = self.feeds.first().filter(|feed| feed.rest.is_none()) else {
            return Ok(());
        };
        if !self.desk.window.takes_copies() {
            self.greetings.clear();
        }
        while self.desk.window.has_room(feed.lane)
            && let Some(greeting) = self.greetings.pop_front()
        {
            self.desk.count.submitted += 1;
            let message = self.desk.greet(feed.lane, &greeting);
            self.connection.submit(message)?;
        }
        Ok(())
    }

    /// The next message of a lane, where one may go now.
    fn next_of(&mut self, index: usize) -> Option<Message> {
        let feed = self.feeds.get_mut(index)?;
        loop {
            if feed.rest.is_some() || !self.desk.window.has_room(feed.lane) {
                return None;
            }
            let Some(record) = feed.front() else {
                let behind = feed.read_from().min(self.desk.window.end(feed.lane));
                self.desk.pass_over(feed.lane, behind, &mut self.fresh);
                return None;
            };
            match self.desk.next(feed.lane, &record, &mut self.fresh) {
                Next::Send(message) => {
                    feed.pop();
                    return Some(message);
                }
                Next::Before(message) => return Some(message),
                Next::Pass => feed.pop(),
                Next::Leap(from) => {
                    feed.restart(from);
                    self.again = true;
                    return None;
                }
                Next::End => {
                    feed.restart(record.seq);
                    return None;
                }
                Next::Wait => return None,
                Next::Until(due) => {
                    let due = Instant::from_std(due);
                    self.throttled = Some(self.throttled.map_or(due, |at| at.min(due)));
                    return None;
                }
            }
        }
    }
}
