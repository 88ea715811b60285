//! One task an upstream: reads durable records, has them encoded, submits them, moves the cursor.

mod desk;
mod feed;
mod filter;
mod forwarder;
mod rate;
pub mod route;
mod session;
pub mod settings;
mod source;
mod status;
mod window;

pub use filter::Filter;
pub use forwarder::ForwarderTask;
pub use source::Source;
pub use status::{ForwarderStatus, Link};
