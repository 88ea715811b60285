//! A line on the terminal that says how far a long command has come; elsewhere nothing.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

/// How often it is shown anew.
const SHOW_EVERY: Duration = Duration::from_millis(200);

/// How far a walk through the records has come.
pub(super) struct Progress {
    shown: Option<Instant>,
    is_terminal: bool,
    from: u64,
    to: u64,
}

impl Progress {
    /// Of a walk over these `seq`, both included.
    pub(super) fn new(from: u64, to: u64) -> Self {
        Self {
            shown: None,
            is_terminal: io::stderr().is_terminal(),
            from,
            to,
        }
    }

    /// It has come as far as this.
    pub(super) fn passed(&mut self, seq: u64) {
        if !self.is_terminal || self.shown.is_some_and(|last| last.elapsed() < SHOW_EVERY) {
            return;
        }
        self.shown = Some(Instant::now());
        super::say(&format!("\r{}\x1b[K", bar(self.from, self.to, seq)));
    }

    /// Takes the line away, for what is said next.
    pub(super) fn clear(&mut self) {
        if self.shown.take().is_some() {
            super::say("\r\x1b[K");
        }
    }
}

/// `[##########          ]  50 %  record 12279 of 24557`
fn bar(from: u64, to: u64, at: u64) -> String {
    const WIDTH: u64 = 30;
    let all = u128::from(to.saturating_sub(from)) + 1;
    let done = (u128::from(at.saturating_sub(from)) + 1).min(all);
    let part = |of: u64| usize::try_from(done * u128::from(of) / all).unwrap_or(0);
    let filled = "#".repeat(part(WIDTH));
    format!("[{filled:<30}] {:>3} %  record {at} of {to}", part(100))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_fills() {
        assert_eq!(
            bar(1, 4, 2),
            "[###############               ]  50 %  record 2 of 4"
        );
        assert!(bar(1, 4, 4).contains("100 %"));
        assert!(bar(5, 4, 9).contains("100 %"));
    }
}
