//! What travels from the field to the brokers: readings in scans, events, descriptions, and the records they
//! become once they have a place in the queue.
//!
//! Nothing here derives `Serialize`: the bytes on disk ([`crate::store`]), on the wire ([`crate::payload`]) and
//! the layout in memory change apart.

mod catalogue;
mod clock;
mod decimal;
mod description;
mod event;
mod name;
mod ranges;
mod record;
mod scan;
mod stamp;
mod system_clock;
mod value;

pub use catalogue::Catalogue;
pub use clock::{Clock, ClockSource, ManualClock};
pub use decimal::{Decimal, DecimalError, nearest_f64};
pub use description::{Description, MapHash, PointDescription, PointKind, ValueType};
pub use event::{Detail, Event, EventName};
pub use name::{Name, NameError};
pub use ranges::RangeSet;
pub use record::{Body, Observation, Outlet, Record, StreamId};
pub use scan::{Scan, Schema, SchemaPoint};
pub use stamp::{BootId, Stamp};
#[cfg(test)]
pub(crate) use system_clock::set_by_a_nanosecond;
pub use system_clock::{SystemClock, clock_is_synchronised};
pub use value::{Quality, Reading, Value, ValueRef};
