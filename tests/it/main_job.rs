//! Field device -> disk -> broker, through outages and crashes: the daemon as a user runs it, real Modbus servers, real
//! brokers.

mod both;
mod crashes;
mod outages;
mod points;
mod restart;
mod rig;
mod tls;
