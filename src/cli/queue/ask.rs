//! Asking before something goes for good.

use std::io::{self, BufRead, IsTerminal};

use super::failure::Failure;

/// Says what would go, and asks; with `yes` it is neither said nor asked.
///
/// # Errors
/// Whoever was asked does not want it; or nobody is there to be asked.
pub(super) fn before(what: &str, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    super::say(what);
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Failure::usage(
            "nothing was changed: there is nobody to ask",
            "add --yes",
        ));
    }
    super::say("Go on? [y/N] ");
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    let answer = answer.trim().to_lowercase();
    if read.is_ok() && (answer == "y" || answer == "yes") {
        return Ok(());
    }
    Err(Failure::failed("nothing was changed"))
}
