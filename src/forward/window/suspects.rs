//! Records over which the broker closes the connection without a word of which. Pure.
//!
//! A record that was the oldest one out when the connection broke, and again at the next break, is suspected: from then on
//! one message at a time goes out, so that each break has one cause. The record over which the connection was closed is
//! passed over, and another one tried. Where the broker takes that one, it counts against the first, which is tried
//! again; [`Suspects::CLOSINGS`] such rounds condemn it. Where the broker takes no other either, no record is to blame,
//! and all is tried again from the oldest on.

use std::collections::BTreeMap;

use super::parcel::{Letter, Refusal};

/// What is suspected, across connections.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    /// The oldest record that was out at the last break, and at how many in a row.
    breaks: (u64, u32),
    careful: bool,
    /// How often the connection was closed over a record, and the broker then took another one.
    rounds: BTreeMap<u64, u32>,
    /// Over these it was closed since the broker last took one.
    held: Vec<Refusal>,
    /// How often it was closed over a message that is no record.
    copies: u32,
}

impl Suspects {
    /// So many rounds. A link would have to break as often at this record, and hold at others in between, before it is
    /// condemned wrongly; a broker that takes nothing for a while condemns none.
    pub(super) const CLOSINGS: u32 = 5;
    /// Breaks at the same record before messages go one by one.
    const BREAKS: u32 = 2;
    /// So many records passed over, and none taken: the records are not to blame.
    const PROBE: usize = 20;

    /// Whether messages go one by one.
    pub(super) fn is_careful(&self) -> bool {
        self.careful
    }

    /// Whether the record is passed over for now.
    pub(super) fn holds(&self, seq: u64) -> bool {
        self.held.iter().any(|held| held.letter.seq == seq)
    }

    /// Whether messages that are no records may go.
    pub(super) fn takes_copies(&self) -> bool {
        self.copies < Self::CLOSINGS
    }

    /// The connection was closed, for `reason`, while these were out; `None`: no record. The answer: a record that is passed
    /// over from now on.
    pub(super) fn broke(&mut self, out: &[Option<Letter>], reason: &str) -> Option<u64> {
        match out {
            [] => None,
            [None] if self.careful => {
                self.copies += 1;
                None
            }
            [Some(letter)] if self.careful => self.accuse(letter, reason),
            _ => {
                let oldest = out.iter().flatten().map(|letter| letter.seq).min();
                let oldest = oldest.unwrap_or_default();
                let breaks = match self.breaks {
                    (same, breaks) if same == oldest => breaks + 1,
                    _ => 1,
                };
                self.breaks = (oldest, breaks);
                self.careful |= breaks >= Self::BREAKS;
                None
            }
        }
    }

    /// The connection ended in silence: no record is to blame for that.
    pub(super) fn fell_silent(&mut self) {
        self.careful = false;
        self.breaks = (0, 0);
        self.rounds.clear();
        self.held.clear();
    }

    /// The broker has taken a message, which counts against those that are passed over. The answer: those that are
    /// condemned, and whether others are to be tried again.
    pub(super) fn taken(&mut self) -> (Vec<Refusal>, bool) {
        let (mut condemned, mut again) = (Vec::new(), false);
        for refusal in std::mem::take(&mut self.held) {
            let rounds = self.rounds.entry(refusal.letter.seq).or_default();
            *rounds += 1;
            if *rounds >= Self::CLOSINGS {
                self.rounds.remove(&refusal.letter.seq);
                condemned.push(refusal);
            } else {
                again = true;
            }
        }
        if self.rounds.is_empty() {
            self.careful = false;
        }
        (condemned, again)
    }

    /// The record is dealt with.
    pub(super) fn settled(&mut self, seq: u64) {
        self.rounds.remove(&seq);
        if self.breaks.0 == seq {
            self.breaks = (0, 0);
        }
    }

    /// The broker has taken a copy of a description.
    pub(super) fn copy_taken(&mut self) {
        self.copies = 0;
    }

    fn accuse(&mut self, letter: &Letter, reason: &str) -> Option<u64> {
        let reason = format!(
            "the broker closed the connection {} times when it got this record, and took others in between: {reason}",
            Self::CLOSINGS
        );
        self.held.push(Refusal {
            letter: letter.clone(),
            reason,
        });
        if self.held.len() >= Self::PROBE {
            *self = Self::default();
            return None;
        }
        Some(letter.seq)
    }
}
