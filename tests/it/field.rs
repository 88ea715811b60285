//! The field side: no wrong value ever, recovery without help.

mod faults;
mod late;
mod peers;
mod rig;
mod shares;
