//! What arrived -> what is missing: the consumer's side of `seq` and `device_seq`. Pure.
//!
//! Memory does not grow with the number of messages: numbers are held as ranges, contents as fingerprints of the latest
//! ones. Where a bound is reached the verdict only gets stricter.

mod ledger;
mod line;
mod message;
mod parts;
mod recent;
mod report;
mod stream;

pub use ledger::{Ledger, Terms};
pub use report::{By, Contradiction, Missing, Report, StreamReport};
