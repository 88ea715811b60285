//! The field side: no wrong value ever, recovery without help.

mod crowd;
mod emulated;
mod faults;
mod frames;
mod identity;
mod late;
mod learning;
mod libmodbus;
mod maps;
mod peers;
mod reports;
pub(crate) mod rig;
mod shares;
mod sockets;
mod unplug;
