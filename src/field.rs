//! Devices -> scans: one task a line polls its devices and hands what it read to an [`crate::reading::Outlet`].

mod device;
pub mod error;
pub mod inbox;
pub mod line;
pub mod modbus;
mod poll;
pub mod probing;
pub mod report;
pub mod schedule;
mod session;
pub mod settings;
pub mod status;

pub use error::FieldError;
pub use inbox::LineRequest;
pub use line::LineTask;
