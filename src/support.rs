//! What every layer may use; a closed list.

pub mod backoff;
pub mod units;
