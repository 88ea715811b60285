//! Devices -> scans: one task a line polls its devices and hands what it read to an [`crate::reading::Outlet`].

mod asking;
mod class;
mod device;
pub mod error;
pub mod explain;
mod identifying;
pub mod inbox;
mod keeper;
pub mod learned;
pub mod lessons;
pub mod line;
pub mod load;
pub mod modbus;
pub mod once;
mod pass;
mod poll;
pub mod probing;
pub mod report;
pub mod schedule;
mod session;
pub mod settings;
pub mod status;
mod told;

pub use error::FieldError;
pub use inbox::LineRequest;
pub use line::LineTask;
